//! Times and sizes as people write them on a command line.

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

/// Bytes for people: `1.4 GB`.
pub(crate) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(22_968), "23.0 kB");
        assert_eq!(bytes(5_000_000_000_000), "5.0 TB");
    }
}
