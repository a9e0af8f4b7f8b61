//! Moments as people and tools write them: epoch seconds, dates, ISO 8601, and how long ago. Read and shown in UTC, or in a
//! time zone that the operator names.

use jiff::Span;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use streamdb_types::Timestamp;

/// What is accepted, for messages.
pub const ACCEPTED: &str = "epoch seconds or milliseconds, a date as in 2012-03-02 07:51:51 or 2012-03-02T07:51:51Z, or words as in now, \
     yesterday, 2 weeks ago, last tuesday";

const NANOS: i64 = 1_000_000_000;
/// A millisecond.
const MILLI: i64 = 1_000_000;
/// No moment needs more characters.
const LONGEST: usize = 64;

/// The time zone in which moments without an offset are read, and dates are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of this IANA name, as in `Europe/Berlin`, from this machine's own tables or those that come with the
    /// program; `None` when there is none.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// `2012-03-02 07:51:51`.
    pub fn date(&self, moment: Timestamp) -> String {
        self.civil(moment).map_or_else(|| moment.to_string(), |date| date.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    /// `Fri Mar  2 07:51:51 2012`, as asctime of C has it.
    pub fn long_date(&self, moment: Timestamp) -> String {
        self.civil(moment).map_or_else(|| moment.to_string(), |date| date.strftime("%a %b %e %H:%M:%S %Y").to_string())
    }

    /// `UTC`, or the name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    fn civil(&self, moment: Timestamp) -> Option<DateTime> {
        let moment = jiff::Timestamp::from_nanosecond(moment.0.into()).ok()?;
        Some(self.0.to_datetime(moment))
    }

    fn moment(&self, date: DateTime) -> Option<Timestamp> {
        from_jiff(self.0.to_timestamp(date).ok()?)
    }
}

/// Reads a moment: its first nanosecond, and how many nanoseconds the text does not tell apart from it (a second when it
/// names a whole second). `None` when it is none, or lies outside the years 1678 to 2261.
///
/// `2012-03-02 07:51:51`, `2012-03-02`, `2012-03-02T07:51:51.5+01:00`, `1330674711.046917`, `now`, `today`, `yesterday`,
/// `2 weeks ago`, `1h 30m ago`, `last tuesday`, `last week`, `Fri Mar  2 07:51:51 2012`. Without an offset it is a moment of
/// the zone.
pub fn parse_moment(text: &str, now: Timestamp, zone: &Zone) -> Option<(Timestamp, i64)> {
    let text = text.trim();
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let fine = if text.contains('.') { 1 } else { NANOS };
    if let Some(moment) = epoch_millis(text) {
        return Some((moment, MILLI));
    }
    if let Some(moment) = epoch(text) {
        return Some((moment, fine));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some((from_jiff(moment)?, fine));
    }
    if let Ok(date) = text.parse::<DateTime>() {
        return Some((zone.moment(date)?, fine));
    }
    if let Ok(date) = DateTime::strptime("%a %b %e %H:%M:%S %Y", text) {
        return Some((zone.moment(date)?, NANOS));
    }
    Some((zone.moment(words(&text.to_ascii_lowercase(), zone.civil(now)?)?)?, 1))
}

/// Milliseconds since 1970, as log searches have them: thirteen digits, which as seconds would be in 31,000 years or later.
fn epoch_millis(text: &str) -> Option<Timestamp> {
    let millis = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    if millis { text.parse::<i64>().ok()?.checked_mul(MILLI).map(Timestamp) } else { None }
}

/// Seconds since 1970, with up to nine decimals.
fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.checked_mul(NANOS)?.checked_add(nanos).map(Timestamp)
}

fn words(text: &str, now: DateTime) -> Option<DateTime> {
    let midnight = now.date().to_datetime(jiff::civil::Time::midnight());
    match text {
        "now" => return Some(now),
        "today" => return Some(midnight),
        "yesterday" => return midnight.checked_sub(Span::new().days(1)).ok(),
        _ => {}
    }
    if text.ends_with("ago") {
        // jiff reads "2 weeks ago" as a span below zero.
        return now.checked_add(text.parse::<Span>().ok()?).ok();
    }
    let last = text.strip_prefix("last ").map(str::trim_start);
    let back = match last? {
        "hour" => Span::new().hours(1),
        "day" => Span::new().days(1),
        "week" => Span::new().weeks(1),
        "month" => Span::new().months(1),
        "year" => Span::new().years(1),
        day => return midnight.nth_weekday(-1, weekday(day)?).ok(),
    };
    now.checked_sub(back).ok()
}

fn weekday(name: &str) -> Option<Weekday> {
    let all = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let at = all.iter().position(|day| *day == name || (name.len() == 3 && day.starts_with(name)))?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
}

fn from_jiff(moment: jiff::Timestamp) -> Option<Timestamp> {
    i64::try_from(moment.as_nanosecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Friday.
    const NOW: &str = "2012-03-02T07:51:51.25Z";

    fn read(text: &str) -> Option<String> {
        let (moment, _) = parse_moment(text, NOW.parse().unwrap(), &Zone::UTC)?;
        Some(moment.to_string().replace(".000000000Z", "Z"))
    }

    #[test]
    fn moments_are_read() {
        for (text, moment) in [
            ("1330674711", "2012-03-02T07:51:51Z"),
            ("1330674711046", "2012-03-02T07:51:51.046000000Z"),
            ("1330674711.046917", "2012-03-02T07:51:51.046917000Z"),
            ("2012-03-02 07:51:51", "2012-03-02T07:51:51Z"),
            ("2012-03-02 07:51", "2012-03-02T07:51:00Z"),
            ("2012-03-02", "2012-03-02T00:00:00Z"),
            ("2012-03-02T07:51:51.5", "2012-03-02T07:51:51.500000000Z"),
            ("2012-03-02T07:51:51Z", "2012-03-02T07:51:51Z"),
            ("2012-03-02T08:51:51+01:00", "2012-03-02T07:51:51Z"),
            ("Fri Mar  2 07:51:51 2012", "2012-03-02T07:51:51Z"),
            ("now", "2012-03-02T07:51:51.250000000Z"),
            ("today", "2012-03-02T00:00:00Z"),
            ("Yesterday", "2012-03-01T00:00:00Z"),
            ("2 weeks ago", "2012-02-17T07:51:51.250000000Z"),
            ("1 month ago", "2012-02-02T07:51:51.250000000Z"),
            ("90 minutes ago", "2012-03-02T06:21:51.250000000Z"),
            ("1h 30m ago", "2012-03-02T06:21:51.250000000Z"),
            ("last Tuesday", "2012-02-28T00:00:00Z"),
            ("last fri", "2012-02-24T00:00:00Z"),
            ("last week", "2012-02-24T07:51:51.250000000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(moment), "{text}");
        }
    }

    #[test]
    fn dates_of_a_zone() {
        let moment: Timestamp = "2012-03-02T07:51:51.9Z".parse().unwrap();
        assert_eq!(Zone::UTC.date(moment), "2012-03-02 07:51:51");
        assert_eq!(Zone::UTC.long_date(moment), "Fri Mar  2 07:51:51 2012");
        assert_eq!(Zone::UTC.long_date("1969-12-31T00:00:00Z".parse().unwrap()), "Wed Dec 31 00:00:00 1969");
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.date(moment), "2012-03-02 08:51:51");
        assert_eq!(
            parse_moment("2012-03-02 08:51:51", moment, &berlin).unwrap().0.to_string(),
            "2012-03-02T07:51:51.000000000Z"
        );
        assert_eq!(parse_moment("today", moment, &berlin).unwrap().0.to_string(), "2012-03-01T23:00:00.000000000Z");
        assert!(Zone::named("Mars/Olympus").is_none());
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let long = "1".repeat(65);
        for bad in [
            "",
            "soon",
            "ago",
            "2 weeks",
            "last",
            "last blue",
            "2012-02-30",
            "2012-03-02 25:00:00",
            "-5",
            "1e9",
            "1.",
            "99999999999999",
            &long,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_whole_second_is_as_long_as_a_second() {
        let fine = |text| parse_moment(text, Timestamp(0), &Zone::UTC).unwrap().1;
        assert_eq!(fine("1330674711"), NANOS);
        assert_eq!(fine("1330674711046"), MILLI);
        assert_eq!(fine("2012-03-02 07:51:51"), NANOS);
        assert_eq!(fine("2012-03-02 07:51:51.5"), 1);
        assert_eq!(fine("now"), 1);
    }
}
