//! Times of capture files and ours: ticks of a resolution to nanoseconds and back.
//!
//! Ours are whole nanoseconds. A resolution of a nanosecond or coarser goes there and back unchanged: a power of ten is a
//! multiplication, a power of two is rounded to the nearest nanosecond, and as a tick is then longer than 1.8
//! nanoseconds, the nearest tick of the result is the one it came from. A finer resolution loses what is below a
//! nanosecond (rounded down); there and back it gives a tick of the same nanosecond. A count from 2^63 on is one below
//! zero, in two's complement: a time before 1970, as some captures have it.

use crate::{Interface, Timestamp};

const NANOS: i128 = 1_000_000_000;

/// How fine a capture file's time is: the byte of pcapng's `if_tsresol`. A power of ten below 128, else 128 and a power of
/// two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution(pub u8);

impl Resolution {
    /// Microseconds.
    pub const MICROS: Self = Self(6);
    /// Nanoseconds.
    pub const NANOS: Self = Self(9);
}

/// The largest power of two whose tick is not shorter than a nanosecond.
const COARSE_POWER: u32 = 29;

/// The moment that is `ticks` of this resolution after 1970, `offset` seconds added; at the end of the range where it
/// does not fit (the year 2262).
pub fn from_ticks(ticks: u64, resolution: Resolution, offset: i64) -> Timestamp {
    if let Resolution::NANOS | Resolution::MICROS = resolution
        && offset == 0
    {
        let unit = if resolution == Resolution::NANOS { 1 } else { 1000 };
        return Timestamp(ticks.cast_signed().saturating_mul(unit));
    }
    let power = u32::from(resolution.0 & 0x7f);
    let ticks = i128::from(ticks.cast_signed());
    // No product here reaches 2^127: ticks are below 2^63, the factors at most 10^9 or 2^30.
    let nanos = if resolution.0 & 0x80 == 0 {
        if power <= 9 {
            ticks * 10_i128.pow(9 - power)
        } else {
            10_i128.checked_pow(power - 9).map_or(0, |unit| ticks.div_euclid(unit))
        }
    } else {
        let half = if power == 0 || power > COARSE_POWER { 0 } else { 1 << (power - 1) };
        (ticks * NANOS + half) >> power
    };
    clamp(nanos + i128::from(offset) * NANOS)
}

/// The ticks of an interface's resolution at a moment, its offset taken off; at the end of the range where it does not
/// fit. The counterpart of [`from_ticks`].
pub fn to_ticks(time: Timestamp, interface: &Interface) -> u64 {
    let power = u32::from(interface.resolution.0 & 0x7f);
    let nanos = i128::from(time.0) - i128::from(interface.time_offset) * NANOS;
    // From 2^127 on the result does not fit in any case.
    let ticks = if interface.resolution.0 & 0x80 == 0 {
        if power <= 9 {
            nanos.div_euclid(10_i128.pow(9 - power))
        } else {
            10_i128.checked_pow(power - 9).map_or(i128::MAX * nanos.signum(), |unit| nanos.saturating_mul(unit))
        }
    } else {
        let up = if power <= COARSE_POWER { NANOS / 2 } else { NANOS - 1 };
        match 1_i128.checked_shl(power).filter(|unit| *unit > 0) {
            Some(unit) => nanos.saturating_mul(unit).saturating_add(up).div_euclid(NANOS),
            None => i128::MAX * nanos.signum(),
        }
    };
    clamp(ticks).0.cast_unsigned()
}

fn clamp(nanos: i128) -> Timestamp {
    Timestamp(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LinkType;

    fn interface(resolution: u8, time_offset: i64) -> Interface {
        let (link_type, resolution) = (LinkType::ETHERNET, Resolution(resolution));
        Interface { link_type, snap_length: 0, resolution, time_offset, fcs_length: None, options: Vec::new() }
    }

    fn there_and_back(ticks: u64, interface: &Interface) -> (Timestamp, u64) {
        let time = from_ticks(ticks, interface.resolution, interface.time_offset);
        (time, to_ticks(time, interface))
    }

    /// Ticks of a moment before the year 2262, for a resolution.
    fn ticks_in_range(resolution: u8) -> u64 {
        let seconds = 9_000_000_000_u128;
        let power = u32::from(resolution & 0x7f);
        let unit = if resolution & 0x80 == 0 { 10_u128.checked_pow(power) } else { 1_u128.checked_shl(power) };
        unit.map_or(u64::MAX, |unit| u64::try_from(unit.saturating_mul(seconds)).unwrap_or(u64::MAX))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 1_000_000 } else { 20_000 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn ticks_not_shorter_than_a_nanosecond_come_back_as_they_were(
            resolution in prop_oneof![0_u8..=9, 0x80_u8..=0x80 + 29],
            ticks: u64,
            offset in -200_000_000_i64..200_000_000,
        ) {
            let ticks = ticks % ticks_in_range(resolution);
            prop_assert_eq!(there_and_back(ticks, &interface(resolution, offset)).1, ticks);
        }

        #[test]
        fn shorter_ticks_come_back_to_the_same_nanosecond(
            resolution in prop_oneof![10_u8..=127, 0x80_u8 + 30..=255],
            ticks: u64,
            offset in -200_000_000_i64..200_000_000,
        ) {
            let interface = interface(resolution, offset);
            let ticks = ticks % ticks_in_range(resolution);
            let (time, back) = there_and_back(ticks, &interface);
            prop_assert_eq!(from_ticks(back, interface.resolution, offset), time);
        }

        #[test]
        fn nothing_overflows(resolution: u8, ticks: u64, offset: i64, time: i64) {
            there_and_back(ticks, &interface(resolution, offset));
            to_ticks(Timestamp(time), &interface(resolution, offset));
        }
    }

    #[test]
    fn the_short_way_is_the_long_way() {
        for ticks in [0, 1, 1_700_000_000_000_000, i64::MAX as u64 / 1000 + 1, i64::MAX as u64, u64::MAX] {
            for (resolution, unit) in [(Resolution::MICROS, 1000), (Resolution::NANOS, 1)] {
                let long = clamp(i128::from(ticks.cast_signed()) * unit);
                assert_eq!(from_ticks(ticks, resolution, 0), long);
            }
        }
    }
}
