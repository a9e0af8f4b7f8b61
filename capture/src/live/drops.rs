//! libpcap's drop counters, as what came since they were last read.

use crate::item::Drops;

/// The counters as they stood. They have 32 bits and wrap around; the interface's may also begin anew with its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DropCounts {
    kernel: u32,
    interface: u32,
}

impl DropCounts {
    /// What was dropped since the last reading; `None` when nothing was.
    pub(super) fn advance(&mut self, kernel: u32, interface: u32) -> Option<Drops> {
        let drops = Drops {
            interface: 0,
            by_kernel: since(self.kernel, kernel).into(),
            by_interface: since(self.interface, interface).into(),
        };
        *self = Self { kernel, interface };
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

    fn drops(by_kernel: u64, by_interface: u64) -> Option<Drops> {
        Some(Drops { interface: 0, by_kernel, by_interface })
    }

    #[test]
    fn readings_become_differences_over_a_wrap_and_a_new_beginning() {
        let mut counts = DropCounts::default();
        assert_eq!(counts.advance(0, 0), None);
        assert_eq!(counts.advance(7, 0), drops(7, 0));
        assert_eq!(counts.advance(7, 3), drops(0, 3));
        assert_eq!(counts.advance(7, 3), None);
        assert_eq!(counts.advance(u32::MAX >> 1, 3), drops(u64::from(u32::MAX >> 1) - 7, 0));
        assert_eq!(counts.advance(u32::MAX, 3).unwrap().by_kernel, u64::from(u32::MAX), "too many: it began anew");
        assert_eq!(counts.advance(4, 3), drops(5, 0), "it wrapped");
        assert_eq!(counts.advance(4, 1), drops(0, 1), "it began anew");
    }
}
