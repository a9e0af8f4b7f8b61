//! Addresses of data connections, as they are told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::transfer::Address;

/// PORT (RFC 959 §4.1.2): `h1,h2,h3,h4,p1,p2`.
pub(super) fn port(argument: &[u8]) -> Option<Address> {
    six(argument).map(Address::Told)
}

/// EPRT (RFC 2428 §2): `|1|132.235.1.2|6275|`.
pub(super) fn extended_port(argument: &[u8]) -> Option<Address> {
    let [protocol, address, port] = between(argument.trim_ascii())?;
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    let fits = match address {
        IpAddr::V4(_) => protocol == b"1",
        IpAddr::V6(_) => protocol == b"2",
    };
    let port = number(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
    fits.then(|| Address::Told(SocketAddr::new(address.to_canonical(), port)))
}

/// The reply to PASV: six numbers somewhere in it, with or without parentheses (RFC 1123 §4.1.2.6).
pub(super) fn passive(text: &[u8]) -> Option<Address> {
    (0..text.len())
        .filter(|at| {
            let digit = |at: &usize| text.get(*at).is_some_and(u8::is_ascii_digit);
            digit(at) && !at.checked_sub(1).is_some_and(|before| digit(&before))
        })
        .take(16)
        .find_map(|at| six(text.get(at..)?))
        .map(|address| match address {
            // Servers that are spoken to over IPv6 say so when they are asked for an address of IPv4.
            address if address.ip().is_unspecified() => Address::OfServer(address.port()),
            address => Address::Told(address),
        })
}

/// The reply to EPSV (RFC 2428 §3): `(|||6446|)`.
pub(super) fn extended_passive(text: &[u8]) -> Option<Address> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let [_, _, port] = between(text.get(open + 1..)?)?;
    number(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).map(Address::OfServer)
}

/// What stands between the first four of the character that comes first.
fn between(text: &[u8]) -> Option<[&[u8]; 3]> {
    let (mark, rest) = text.split_first().filter(|(mark, _)| mark.is_ascii_graphic())?;
    let mut fields = rest.splitn(4, |byte| byte == mark);
    let three = [fields.next()?, fields.next()?, fields.next()?];
    fields.next().map(|_| three)
}

/// Six numbers of one byte with commas between, and whatever follows them.
fn six(text: &[u8]) -> Option<SocketAddr> {
    let mut numbers = [0u8; 6];
    let mut rest = text.trim_ascii_start();
    for (n, place) in numbers.iter_mut().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix(b",")?.trim_ascii_start();
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = rest.split_at_checked(digits)?;
        *place = number(digits).and_then(|number| u8::try_from(number).ok())?;
        rest = after;
    }
    let [a, b, c, d, high, low] = numbers;
    let port = u16::from_be_bytes([high, low]);
    (port > 0).then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port))
}

/// A decimal number of digits alone.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<Address> {
        Some(Address::Told(text.parse().unwrap()))
    }

    #[test]
    fn addresses() {
        assert_eq!(port(b"10,0,0,5,200,10"), told("10.0.0.5:51210"));
        assert_eq!(port(b" 10, 0, 0, 5, 200, 10 "), told("10.0.0.5:51210"));
        assert_eq!(extended_port(b"|1|132.235.1.2|6275|"), told("132.235.1.2:6275"));
        assert_eq!(extended_port(b"!2!1080::8:800:200C:417A!5282!"), told("[1080::8:800:200c:417a]:5282"));
        assert_eq!(passive(b"Entering Passive Mode (192,0,2,1,4,1)."), told("192.0.2.1:1025"));
        assert_eq!(passive(b"=127,0,0,1,4,1"), told("127.0.0.1:1025"));
        assert_eq!(passive(b"Mode 2 on host1 192,0,2,1,4,1"), told("192.0.2.1:1025"));
        assert_eq!(passive(b"(0,0,0,0,4,1)"), Some(Address::OfServer(1025)));
        assert_eq!(extended_passive(b"Entering Extended Passive Mode (|||6446|)"), Some(Address::OfServer(6446)));
        assert_eq!(extended_passive(b"(!!!6446!)"), Some(Address::OfServer(6446)));
    }

    #[test]
    fn no_addresses() {
        for text in ["", "1,2,3,4,5", "1,2,3,4,0,0", "256,0,0,1,4,1", "a,b,c,d,e,f", "1,2,3,4,5,"] {
            assert_eq!(port(text.as_bytes()), None, "{text}");
        }
        for text in ["", "|1|::1|80|", "|2|10.0.0.1|80|", "|1|10.0.0.1|0|", "|1|10.0.0.1|99999|", "|1|10.0.0.1|80"] {
            assert_eq!(extended_port(text.as_bytes()), None, "{text}");
        }
        for text in ["", "(|||)", "|||6446|", "(|||65536|)", "(|||6446"] {
            assert_eq!(extended_passive(text.as_bytes()), None, "{text}");
        }
        assert_eq!(passive(&b"1,2,3,4,5 ".repeat(1000)), None);
    }
}
