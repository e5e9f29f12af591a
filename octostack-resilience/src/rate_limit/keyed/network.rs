//! Networks of addresses, such as `10.0.0.0/8`.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR notation, or one address. IPv4 within IPv6 (`::ffff:10.0.0.1`) is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl Network {
    /// Whether `address` lies in it.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

/// The first `prefix` bits of an address, and zeros after them.
pub(super) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = |why: String| NetworkError(format!("`{}` {why}", text.escape_debug()));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let not = || error("is no address and no network such as 10.0.0.0/8 or fd00::/8".into());
        let written: IpAddr = address.parse().map_err(|_| not())?;
        let address = written.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        // `::ffff:10.0.0.0/104` counts its bits from the start of the IPv6 address.
        let lead = if address == written { 0 } else { 96 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let bits: u8 = digits.parse().map_err(|_| not())?;
                let bits = bits.checked_sub(lead).filter(|bits| *bits <= most);
                bits.ok_or_else(|| {
                    error(format!("has a prefix out of range: {lead} to {}", most + lead))
                })?
            }
            Some(_) => return Err(not()),
        };
        let network = Self { address: masked(address, prefix), prefix };
        if network.address == address {
            Ok(network)
        } else {
            Err(error(format!("has bits set after its prefix; the network is {network}")))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::Network;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    #[test]
    fn holds_what_its_prefix_says() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} not in {network}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        for text in ["", "proxy", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/999"] {
            assert!(error(text).contains("no address and no network"), "{}", error(text));
        }
        assert_eq!(error("10.0.0.0/33"), "`10.0.0.0/33` has a prefix out of range: 0 to 32");
        assert_eq!(error("fd00::/129"), "`fd00::/129` has a prefix out of range: 0 to 128");
        assert_eq!(
            error("10.1.0.0/8"),
            "`10.1.0.0/8` has bits set after its prefix; the network is 10.0.0.0/8"
        );
    }

    proptest! {
        #[test]
        fn compares_bit_by_bit(a: u128, b: u128, prefix in 0..=128_u8) {
            let network = super::masked(IpAddr::V6(Ipv6Addr::from_bits(a)), prefix);
            let network = Network { address: network, prefix };
            let address = Ipv6Addr::from_bits(b);
            prop_assume!(address.to_ipv4_mapped().is_none());
            let same = (0..u32::from(prefix)).all(|bit| (a ^ b) << bit >> 127 == 0);
            prop_assert_eq!(network.contains(address.into()), same);
        }

        #[test]
        fn reads_what_it_writes(bits: u32, prefix in 0..=32_u8) {
            let address = super::masked(IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix);
            let network = Network { address, prefix };
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }
    }
}
