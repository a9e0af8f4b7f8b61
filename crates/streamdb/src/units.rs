//! Times and sizes as people write them on a command line.

use streamdb_storage::Room;

/// Nanoseconds, whole seconds of them, of a duration such as `90s`, `5m`, `2h`, `1d`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let wanted = || format!("{text:?} is no duration: write it as 90s, 5m, 2h or 1d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let number: i64 = digits.parse().map_err(|_| wanted())?;
    number.checked_mul(unit * 1_000_000_000).filter(|n| *n > 0).ok_or_else(wanted)
}

/// Bytes of a size such as `64M`, `4G`; a number alone is bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wanted = || format!("{text:?} is no size: write it as 64K, 512M, 4G or 1T");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wanted()),
    };
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(wanted)
}

/// Part of a file system: a size, or hundredths of it, as in `5%`.
pub(crate) fn room(text: &str) -> Result<Room, String> {
    let wanted = || format!("{text:?} is no room: write it as 10G, or as 5% of the file system");
    match text.strip_suffix('%') {
        Some(digits) => match digits.parse() {
            Ok(percent @ 1..=99) => Ok(Room::Percent(percent)),
            _ => Err(wanted()),
        },
        None => size(text).map(Room::Bytes).map_err(|_| wanted()),
    }
}

/// A duration as [`duration`] takes it, in the largest unit that says it exactly: `90d`.
pub(crate) fn span(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let fits = units.iter().find(|(unit, _)| seconds % unit == 0);
    fits.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// So many of something: `1 bucket`, `2 buckets`.
pub(crate) fn counted(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// Bytes for people: `1.4 GB`.
pub(crate) fn bytes(n: u64) -> String {
    decimal(n, ["B", "kB", "MB", "GB", "TB"])
}

/// Bits per second for people: `9.4 Gbit/s`.
pub(crate) fn bits(n: u64) -> String {
    decimal(n, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn decimal(n: u64, [one, units @ ..]: [&str; 5]) -> String {
    if n < 1000 {
        return format!("{n} {one}");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = units.iter();
    let mut name = unit.next();
    while value >= 1000.0
        && let Some(next) = unit.next()
    {
        value /= 1000.0;
        name = Some(next);
    }
    format!("{value:.1} {}", name.unwrap_or(&one))
}

/// A size as [`size`] takes it, in the largest unit that says it exactly: `64M`.
pub(crate) fn binary(n: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let fits = units.iter().find(|(shift, _)| n > 0 && n.is_multiple_of(1 << shift));
    fits.map_or_else(|| n.to_string(), |(shift, unit)| format!("{}{unit}", n >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_people_write_them() {
        for text in ["1", "1023", "64M", "3K", "4G", "1T", "1025"] {
            assert_eq!(binary(size(text).unwrap()), text);
        }
    }

    #[test]
    fn what_people_write_is_understood() {
        assert_eq!(duration("5m"), Ok(300_000_000_000));
        assert_eq!(duration("7"), Ok(7_000_000_000));
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("12"), Ok(12));
        for bad in ["", "m", "5x", "-5m", "0s", "99999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
            assert!(size(bad).is_err() || bad == "5m", "{bad}");
        }
        assert_eq!(room("5%"), Ok(Room::Percent(5)));
        assert_eq!(room("10G"), Ok(Room::Bytes(10 << 30)));
        for bad in ["", "%", "0%", "100%", "-1%", "5 %", "5.5%", "G"] {
            assert!(room(bad).is_err(), "{bad}");
        }
        for text in ["90d", "36h", "90m", "61s"] {
            assert_eq!(span(duration(text).unwrap()), text);
        }
        assert_eq!([0, 1, 2].map(|n| counted(n, "bucket")), ["0 buckets", "1 bucket", "2 buckets"]);
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(22_968), "23.0 kB");
        assert_eq!(bytes(5_000_000_000_000), "5.0 TB");
    }
}
