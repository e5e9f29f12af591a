//! A socket that is about to close lets nobody begin to connect.
//!
//! The kernel completes a handshake on its own. One that it completes between the last accept and
//! the close is reset, with the request that came with it; and on a busy machine a process can be
//! stopped for milliseconds between the two. So for the last moment the socket drops packets that
//! begin a handshake. Whoever sent one tries again by itself, after a second, and reaches whoever
//! listens by then, or nobody.
use socket2::{SockFilter, SockRef};
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long handshakes that have begun get to be completed: the way to a client and back, within a
/// region.
pub(super) const SETTLE: Duration = Duration::from_millis(2);

/// Where the flags are in the head of TCP (RFC 9293, section 3.1), and two of them.
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Drops packets that begin a handshake, and nothing else: a program of classic BPF.
pub(super) fn turn_away(socket: &TcpListener) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const WHOLE: u32 = u32::MAX;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, WHOLE),
    ])
}

#[cfg(test)]
mod tests {
    use super::turn_away;
    use std::io::{Read as _, Write as _};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
    use std::time::Duration;

    #[tokio::test]
    async fn who_has_connected_is_there_and_nobody_follows() {
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            // Not every machine has IPv6.
            let Ok(socket) = tokio::net::TcpListener::bind((ip, 0)).await else { continue };
            let addr = socket.local_addr().unwrap();
            let mut early = TcpStream::connect(addr).unwrap();
            turn_away(&socket).unwrap();
            let late = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
            assert!(late.is_err(), "{ip}: it is not answered");
            early.write_all(b"ask").unwrap(); // after the filter, and it goes through
            let (accepted, _) = socket.accept().await.unwrap();
            let mut accepted = accepted.into_std().unwrap();
            accepted.set_nonblocking(false).unwrap();
            let mut asked = [0; 3];
            accepted.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"ask");
            let socket = socket.into_std().unwrap();
            assert_eq!(socket.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
