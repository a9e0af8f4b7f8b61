//! libpcap's drop counters, as what came since they were last read.

use streamdb_types::Timestamp;

use crate::item::Drops;

/// The counters as they stood. They have 32 bits and wrap around; the interface's may also begin anew with its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DropCounts {
    kernel: u32,
    interface: u32,
    /// When.
    read: Timestamp,
}

impl DropCounts {
    /// None, at this moment.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { read: now, ..Self::default() }
    }

    /// What was dropped since the last reading; `None` when nothing was.
    pub(super) fn advance(&mut self, kernel: u32, interface: u32, now: Timestamp) -> Option<Drops> {
        let drops = Drops {
            interface: 0,
            by_kernel: since(self.kernel, kernel).into(),
            by_interface: since(self.interface, interface).into(),
            // The clock may have been set back.
            between: Some((self.read.min(now), now)),
        };
        *self = Self { kernel, interface, read: now };
        (drops.by_kernel > 0 || drops.by_interface > 0).then_some(drops)
    }
}

/// From one reading to the next, over a wrap. Half the range and more is no second's worth of drops, but a counter that
/// began anew.
const fn since(before: u32, now: u32) -> u32 {
    let more = now.wrapping_sub(before);
    if more < 1 << 31 { more } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between one moment and the next.
    fn drops(by_kernel: u64, by_interface: u64, now: i64) -> Option<Drops> {
        let between = Some((Timestamp(now - 1), Timestamp(now)));
        Some(Drops { interface: 0, by_kernel, by_interface, between })
    }

    #[test]
    fn readings_become_differences_over_a_wrap_and_a_new_beginning() {
        let mut counts = DropCounts::default();
        assert_eq!(counts.advance(0, 0, Timestamp(1)), None);
        assert_eq!(counts.advance(7, 0, Timestamp(2)), drops(7, 0, 2));
        assert_eq!(counts.advance(7, 3, Timestamp(3)), drops(0, 3, 3));
        assert_eq!(counts.advance(7, 3, Timestamp(4)), None);
        assert_eq!(counts.advance(u32::MAX >> 1, 3, Timestamp(5)), drops(u64::from(u32::MAX >> 1) - 7, 0, 5));
        let anew = counts.advance(u32::MAX, 3, Timestamp(6)).unwrap();
        assert_eq!(anew.by_kernel, u64::from(u32::MAX), "too many: it began anew");
        assert_eq!(counts.advance(4, 3, Timestamp(7)), drops(5, 0, 7), "it wrapped");
        assert_eq!(counts.advance(4, 1, Timestamp(8)), drops(0, 1, 8), "it began anew");
        let back = counts.advance(5, 1, Timestamp(3)).unwrap();
        assert_eq!(back.between, Some((Timestamp(3), Timestamp(3))), "the clock was set back");
    }
}
