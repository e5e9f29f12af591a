use super::{Network, client};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

/// Ours are `10.0.0.0/8` and `fd00::/8`.
fn trusted() -> Vec<Network> {
    ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec()
}

fn asks(peer: &str, headers: &[(&'static str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    client(&map, peer.parse().unwrap(), &trusted()).to_string()
}

fn x(peer: &str, value: &str) -> String {
    asks(peer, &[("x-forwarded-for", value)])
}

fn f(peer: &str, value: &str) -> String {
    asks(peer, &[("forwarded", value)])
}

#[test]
fn tower_governor_x_forwarded_for_of_a_client_is_not_believed() {
    // Not from a proxy of ours.
    assert_eq!(x("203.0.113.9", "198.51.100.1"), "203.0.113.9");
    assert_eq!(f("203.0.113.9", "for=198.51.100.1"), "203.0.113.9");
    // Through one: it has appended who that was, and what stands before is made up.
    assert_eq!(x("10.0.0.1", "198.51.100.1, 203.0.113.9"), "203.0.113.9");
    assert_eq!(x("10.0.0.1", "10.0.0.2, 203.0.113.9"), "203.0.113.9");
    assert_eq!(f("10.0.0.1", "for=198.51.100.1, for=203.0.113.9"), "203.0.113.9");
}

#[test]
fn what_a_proxy_puts_into_quotes_names_nobody() {
    // The `Host` of a client, as a proxy hands it on.
    for host in [r#""x,for=6.6.6.6;y=z""#, r#""x,for=6.6.6.6""#, r#""x\",for=6.6.6.6;y=\"z""#] {
        for around in [format!("for=203.0.113.9;host={host};proto=http"), format!("host={host}")] {
            assert_eq!(f("10.0.0.1", &around), "10.0.0.1", "{around}");
        }
    }
    let fine = r#"for="[2001:db8::1]:4711";host="shop.example";proto=https"#;
    assert_eq!(f("10.0.0.1", fine), "2001:db8::1");
}

#[test]
fn goes_from_the_right_past_all_that_is_trusted() {
    assert_eq!(asks("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(x("10.0.0.1", "203.0.113.9, 10.0.0.3,10.0.0.2"), "203.0.113.9");
    assert_eq!(x("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "one of ours asks");
    assert_eq!(x("fd00::1", "2001:db8::9"), "2001:db8::9");
    assert_eq!(x("::ffff:10.0.0.1", "::ffff:203.0.113.9"), "203.0.113.9");
    // Lines are one list.
    let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(asks("10.0.0.1", &lines), "203.0.113.9");
}

#[test]
fn reads_the_forms_that_proxies_write() {
    for (value, expected) in [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        (" 203.0.113.9 ", "203.0.113.9"),
    ] {
        assert_eq!(x("10.0.0.1", value), expected, "{value}");
    }
    for (value, expected) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("by=10.0.0.1;FOR=\"203.0.113.9:80\";proto=http", "203.0.113.9"),
        ("for=203.0.113.9;by=10.0.0.1, for=10.0.0.2", "203.0.113.9"),
    ] {
        assert_eq!(f("10.0.0.1", value), expected, "{value}");
    }
}

#[test]
fn what_cannot_be_read_ends_at_the_last_address_known() {
    for value in ["", "unknown", "203.0.113", "203.0.113.9, ", "1.2.3.4, nonsense", "[2001:db8::9"]
    {
        assert_eq!(x("10.0.0.1", value), "10.0.0.1", "{value}");
        let further = format!("{value}, 10.0.0.2");
        assert_eq!(x("10.0.0.1", &further), "10.0.0.2", "{further}");
    }
    for value in [
        "203.0.113.9",
        "for=_hidden",
        "for=unknown",
        "proto=https",
        "for=\"203.0.113.9",
        "for=203.0.113.9;for=198.51.100.1",
        "for=1.2.3.4;by=\"a,b\"",
    ] {
        assert_eq!(f("10.0.0.1", value), "10.0.0.1", "{value}");
    }
}

#[test]
fn a_header_that_the_proxy_hands_on_unread_is_not_believed() {
    // It appends to one of them, and the other is the client's.
    let both = |forwarded, x| asks("10.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", x)]);
    assert_eq!(both("for=198.51.100.1", "203.0.113.9"), "10.0.0.1");
    assert_eq!(both("for=203.0.113.9", "198.51.100.1"), "10.0.0.1");
    assert_eq!(both("for=unknown", "203.0.113.9"), "10.0.0.1");
    assert_eq!(both("for=203.0.113.9;proto=https", "203.0.113.9"), "203.0.113.9", "they agree");
}

proptest! {
    /// Whatever a client sends along, through our proxies it is who it is.
    #[test]
    fn a_client_cannot_choose_who_it_is(
        made_up in "[ -~]{0,40}", client: u32, hops in prop::collection::vec(0..256_u32, 1..4),
    ) {
        let client = Ipv4Addr::from_bits(client);
        prop_assume!(client.octets()[0] != 10);
        let ours = |hop: &u32| Ipv4Addr::from_bits(0x0a00_0000 | hop).to_string();
        let (peer, proxies) = hops.split_last().unwrap();
        let mut chain = vec![made_up, client.to_string()];
        chain.extend(proxies.iter().map(ours));
        prop_assert_eq!(x(&ours(peer), &chain.join(", ")), client.to_string());
        // Without our proxies in front, nothing that it sends counts.
        prop_assert_eq!(x(&client.to_string(), &chain.join(", ")), client.to_string());
    }

    #[test]
    fn nothing_that_is_sent_makes_it_fail(value in prop::collection::vec(any::<u8>(), 0..60)) {
        for name in ["forwarded", "x-forwarded-for"] {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            let map = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
            let peer: IpAddr = "10.0.0.1".parse().unwrap();
            let _ = client(&map, peer, &trusted());
        }
    }
}
