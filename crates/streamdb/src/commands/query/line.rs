//! What a line of a log asks for: an oid, or the first two addresses on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use streamdb_types::Oid;

/// Fewer digits at the begin of a line are no time: this many there are since 1973.
const EPOCH_DIGITS: std::ops::RangeInclusive<usize> = 9..=11;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Object(Oid),
    Pair(Pair),
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) first: IpAddr,
    pub(super) second: Option<IpAddr>,
    /// When, in seconds since 1970.
    pub(super) time: Option<i64>,
}

/// What this line asks for, if anything.
pub(super) fn wanted(line: &str) -> Option<Wanted> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '-');
    if let Some(oid) = words.find_map(|word| word.parse().ok()) {
        return Some(Wanted::Object(oid));
    }
    let mut found = line.split(|c: char| !c.is_alphanumeric() && c != ':' && c != '.').filter_map(address);
    let first = found.next()?;
    Some(Wanted::Pair(Pair { first, second: found.next(), time: epoch(line) }))
}

/// The seconds in front of `<epoch> <ip> <ip>`.
fn epoch(line: &str) -> Option<i64> {
    let mut words = line.split_whitespace();
    let (whole, fraction) = words.next().map(|word| word.split_once('.').unwrap_or((word, "")))?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let time = EPOCH_DIGITS.contains(&whole.len()) && digits(whole) && digits(fraction);
    // Elsewhere a number may be anything.
    let ends = words.take(2).filter(|word| address(word.trim_matches(['[', ']'])).is_some()).count();
    if time && ends == 2 { whole.parse().ok() } else { None }
}

/// The address in a word: alone, with a port behind it, or with a name and a colon in front.
fn address(word: &str) -> Option<IpAddr> {
    let word = word.trim_end_matches('.');
    let parsed = word
        .parse::<IpAddr>()
        .ok()
        .or_else(|| word.parse::<SocketAddrV4>().ok().map(|end| (*end.ip()).into()))
        .or_else(|| word.strip_suffix(':')?.parse().ok())
        .or_else(|| dotted_port(word.trim_end_matches(':')))
        .or_else(|| {
            let (name, rest) = word.split_once(':')?;
            let rest = rest.split(':').next().unwrap_or_default();
            // A mere number is no name: it would belong to a time.
            let named = !name.is_empty() && !name.contains('.') && !name.bytes().all(|b| b.is_ascii_digit());
            if named { rest.parse::<Ipv4Addr>().ok().map(IpAddr::V4) } else { None }
        })?;
    // `::` alone stands between words of programs.
    Some(parsed.to_canonical()).filter(|addr| !addr.is_unspecified())
}

/// `10.0.0.5.49211` and `fd00::1.80`, as tcpdump writes them.
fn dotted_port(word: &str) -> Option<IpAddr> {
    let (addr, port) = word.rsplit_once('.')?;
    port.parse::<u16>().ok()?;
    addr.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> String {
        match wanted(line) {
            None => "nothing".to_owned(),
            Some(Wanted::Object(oid)) => format!("oid {oid}"),
            Some(Wanted::Pair(Pair { first, second, time })) => {
                let second = second.map(|addr| format!(" {addr}")).unwrap_or_default();
                format!("{first}{second}{}", time.map(|time| format!(" @{time}")).unwrap_or_default())
            }
        }
    }

    #[test]
    fn lines_are_read_as_people_and_programs_write_them() {
        for (line, wanted) in [
            ("1330674711.520 10.0.0.5 203.0.113.9 GET bad.example/", "10.0.0.5 203.0.113.9 @1330674711"),
            ("1330674711 fd00::1 [fd00::2]\r\n", "fd00::1 fd00::2 @1330674711"),
            ("1330674711 alert 10.0.0.5 203.0.113.9", "10.0.0.5 203.0.113.9"),
            ("12345 10.0.0.5 203.0.113.9", "10.0.0.5 203.0.113.9"),
            (
                "03/02-07:51:51.520 [**] [1:2014:3] A [**] {TCP} 10.0.0.5:49211 -> 203.0.113.9:80",
                "10.0.0.5 203.0.113.9",
            ),
            ("from [fd00::1]:80 to [fd00::2]:443", "fd00::1 fd00::2"),
            ("IP 10.0.0.5.49211 > 203.0.113.9.80: Flags [S]", "10.0.0.5 203.0.113.9"),
            ("IP6 fd00::1.49211 > fd00::2.80: Flags [S]", "fd00::1 fd00::2"),
            ("{\"src_ip\":\"10.0.0.5\",\"dest_ip\":\"2001:db8::30\"}", "10.0.0.5 2001:db8::30"),
            ("src:10.0.0.5 dst=203.0.113.9.", "10.0.0.5 203.0.113.9"),
            ("client ::ffff:10.0.0.5, http://203.0.113.9/x", "10.0.0.5 203.0.113.9"),
            ("10.0.0.5 alone, 999.0.0.1 and 1.2.3", "10.0.0.5"),
            ("07:51:51 std::fmt :: nothing at 12", "nothing"),
            ("", "nothing"),
            ("/streamdb/?oid=18043-3966843079-22968-0", "oid 18043-3966843079-22968-0"),
            ("10.0.0.5 <- 203.0.113.9 18043-3966843079-22968-0\n", "oid 18043-3966843079-22968-0"),
            ("a 2012-03-02 b", "nothing"),
        ] {
            assert_eq!(found(line), wanted, "{line:?}");
        }
    }
}
