//! Time: nanoseconds since 1970 in UTC, without leap seconds; and its RFC 3339 spelling.

use std::fmt;
use std::str::FromStr;

const NANOS: i64 = 1_000_000_000;

/// A moment, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment this many seconds and nanoseconds after 1970, at the ends of the range where it does not fit.
    pub const fn new(seconds: i64, nanos: i64) -> Self {
        Self(seconds.saturating_mul(NANOS).saturating_add(nanos))
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Nanoseconds within the second.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS) as u32
    }

    /// Nanoseconds from `earlier` to here; negative when it is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment this many nanoseconds later.
    #[must_use]
    pub const fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Year, month (1..), day (1..), hour, minute, second.
    pub const fn civil(self) -> (i64, u32, u32, u32, u32, u32) {
        let seconds = self.seconds();
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
        let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
        (year, month, day, rest / 3_600, rest / 60 % 60, rest % 60)
    }

    /// The moment of this date and time of day in UTC; `None` when a field is out of range.
    pub const fn from_civil(year: i64, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<Self> {
        if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 || year < 1678 || year > 2261 {
            return None;
        }
        // The same source, days_from_civil.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let mp = (month as i64 + 9) % 12;
        let doy = (153 * mp + 2) / 5 + day as i64 - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        let days = era * 146_097 + doe - 719_468;
        let moment = Self::new(
            days * 86_400 + hour as i64 * 3_600 + minute as i64 * 60 + if second > 59 { 59 } else { second } as i64,
            0,
        );
        let (_, m, d, ..) = moment.civil();
        if m == month && d == day { Some(moment) } else { None }
    }
}

/// RFC 3339 in UTC with nine decimals: `2012-03-02T07:51:51.000000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        let nanos = self.subsec_nanos();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// What is wrong with a text that should be a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as in 2012-03-02T07:51:51Z is wanted")
    }
}

impl std::error::Error for TimestampError {}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// What [`Display`](fmt::Display) writes, with any number of decimals up to nine or none.
    fn from_str(s: &str) -> Result<Self, TimestampError> {
        let body = s.strip_suffix('Z').ok_or(TimestampError)?;
        let (date, clock) = body.split_once('T').ok_or(TimestampError)?;
        let (clock, decimals) = clock.split_once('.').unwrap_or((clock, "0"));
        let numbers = |text: &str, by: char| -> Option<[u32; 3]> {
            let mut parts =
                text.split(by).map(|p| if p.bytes().all(|b| b.is_ascii_digit()) { p.parse().ok() } else { None });
            let three = [parts.next()??, parts.next()??, parts.next()??];
            if parts.next().is_none() { Some(three) } else { None }
        };
        let [year, month, day] = numbers(date, '-').ok_or(TimestampError)?;
        let [hour, minute, second] = numbers(clock, ':').ok_or(TimestampError)?;
        if decimals.is_empty() || decimals.len() > 9 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TimestampError);
        }
        let nanos: i64 = format!("{decimals:0<9}").parse().map_err(|_| TimestampError)?;
        let moment = Self::from_civil(year.into(), month, day, hour, minute, second).ok_or(TimestampError)?;
        Ok(moment.plus(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (1_330_674_711, 46_917, "2012-03-02T07:51:51.000046917Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (4_294_967_295, 1, "2106-02-07T06:28:15.000000001Z"),
        ] {
            let moment = Timestamp::new(seconds, nanos);
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse(), Ok(moment));
        }
        assert_eq!("2012-03-02T07:51:51Z".parse(), Ok(Timestamp::new(1_330_674_711, 0)));
        assert_eq!("2012-03-02T07:51:51.5Z".parse(), Ok(Timestamp::new(1_330_674_711, 500_000_000)));
        for bad in ["", "2012-03-02", "2012-02-30T00:00:00Z", "2012-03-02T24:00:00Z", "2012-03-02T07:51:51", "x"] {
            assert_eq!(bad.parse::<Timestamp>(), Err(TimestampError), "{bad}");
        }
    }
}
