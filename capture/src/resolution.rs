//! Times of capture files and ours: ticks of a resolution to nanoseconds and back.
//!
//! Ours are whole nanoseconds. A resolution of a nanosecond or coarser goes there and back unchanged: a power of ten is a
//! multiplication, a power of two is rounded to the nearest nanosecond, and as a tick is then longer than 1.8
//! nanoseconds, the nearest tick of the result is the one it came from. A finer resolution loses what is below a
//! nanosecond (rounded down); there and back it gives a tick of the same nanosecond.

use streamdb_types::{Interface, Resolution, Timestamp};

const NANOS: i128 = 1_000_000_000;

/// The largest power of two whose tick is not shorter than a nanosecond.
const COARSE_POWER: u32 = 29;

/// The moment that is `ticks` of this resolution after 1970, `offset` seconds added; at the end of the range where it
/// does not fit (the year 2262).
pub fn from_ticks(ticks: u64, resolution: Resolution, offset: i64) -> Timestamp {
    if let Resolution::NANOS | Resolution::MICROS = resolution
        && offset == 0
    {
        let unit = if resolution == Resolution::NANOS { 1 } else { 1000 };
        return Timestamp(i64::try_from(ticks).map_or(i64::MAX, |ticks| ticks.saturating_mul(unit)));
    }
    let power = u32::from(resolution.0 & 0x7f);
    let ticks = i128::from(ticks);
    // No product here reaches 2^127: ticks are below 2^64, the factors at most 10^9 or 2^30.
    let nanos = if resolution.0 & 0x80 == 0 {
        if power <= 9 {
            ticks * 10_i128.pow(9 - power)
        } else {
            10_i128.checked_pow(power - 9).map_or(0, |unit| ticks / unit)
        }
    } else {
        let half = if power == 0 || power > COARSE_POWER { 0 } else { 1 << (power - 1) };
        (ticks * NANOS + half) >> power
    };
    clamp(nanos + i128::from(offset) * NANOS)
}

/// The ticks of an interface's resolution at a moment, its offset taken off; 0 or the largest number where it does not
/// fit. The counterpart of [`from_ticks`].
pub fn to_ticks(time: Timestamp, interface: &Interface) -> u64 {
    let power = u32::from(interface.resolution.0 & 0x7f);
    let nanos = i128::from(time.0) - i128::from(interface.time_offset) * NANOS;
    if nanos <= 0 {
        return 0;
    }
    // From 2^127 on the result does not fit in any case.
    let ticks = if interface.resolution.0 & 0x80 == 0 {
        if power <= 9 {
            nanos / 10_i128.pow(9 - power)
        } else {
            10_i128.checked_pow(power - 9).map_or(i128::MAX, |unit| nanos.saturating_mul(unit))
        }
    } else {
        let up = if power <= COARSE_POWER { NANOS / 2 } else { NANOS - 1 };
        match 1_i128.checked_shl(power).filter(|unit| *unit > 0) {
            Some(unit) => nanos.saturating_mul(unit).saturating_add(up) / NANOS,
            None => i128::MAX,
        }
    };
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

fn clamp(nanos: i128) -> Timestamp {
    Timestamp(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}
