//! What happened to every frame and every payload byte. The numbers add up; [`Counters::unaccounted`] says by how much
//! they do not.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that is counted, for one bucket, one run or one capture.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The names, in the order of [`values`](Self::values): part of the format on disk, so only ever added to at
            /// the end.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The values, in the order of [`NAMES`](Self::NAMES).
            pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
                [$(self.$name),*].into_iter()
            }

            /// Counters of these values, in the order of [`NAMES`](Self::NAMES); missing ones are 0, further ones left out.
            pub fn from_values(values: impl IntoIterator<Item = u64>) -> Self {
                let mut values = values.into_iter();
                Self { $($name: values.next().unwrap_or(0),)* }
            }

            /// Adds another set.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }

            /// What came since an earlier state of the same set.
            #[must_use]
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    /// Frames taken.
    frames,
    /// Bytes of them as captured.
    captured_bytes,
    /// Bytes of them as they were on the wire.
    wire_bytes,
    /// Frames left out by the capture filter.
    filtered_frames,
    /// Connections begun.
    connections,
    /// Streams begun: directions of connections that had a frame.
    streams,
    /// Frames that carried a TCP segment.
    tcp_frames,
    /// Frames that carried a UDP datagram.
    udp_frames,
    /// Frames that carried a fragment of an IP packet.
    fragment_frames,
    /// Frames of nothing that is decoded further: they are in the journal whole.
    other_frames,
    /// Frames whose headers are cut short or contradict themselves: they are in the journal whole.
    malformed_frames,
    /// Payload bytes captured, of TCP and UDP. This and the next ones: captured = stored + duplicate + conflicting +
    /// unchecked + outside + not_kept + shed + lost.
    payload_captured,
    /// Payload bytes stored in streams.
    payload_stored,
    /// Payload bytes that were there already and equal; the journal refers to them.
    payload_duplicate,
    /// Payload bytes that were there already and differ; the journal has them.
    payload_conflicting,
    /// Payload bytes sent again after the first copy had left memory: not compared; the journal has them.
    payload_unchecked,
    /// Payload bytes of segments that lie outside the stream (before its first byte, after its end, far out of window);
    /// the journal has them.
    payload_outside,
    /// Payload bytes of a class that is configured not to be kept, or beyond its cut-off.
    payload_not_kept,
    /// Payload bytes let go under load.
    payload_shed,
    /// Payload bytes lost to a failed write.
    payload_lost,
    /// Payload bytes of the wire that the snap length cut off.
    payload_cut,
    /// Gap bytes in streams that ended, by kind.
    gap_missing,
    /// See [`gap_missing`](Self::gap_missing).
    gap_snaplen,
    /// See [`gap_missing`](Self::gap_missing).
    gap_shed,
    /// See [`gap_missing`](Self::gap_missing).
    gap_cutoff,
    /// See [`gap_missing`](Self::gap_missing).
    gap_lost,
    /// Frames whose checksums were wrong, when they are looked at.
    bad_checksums,
    /// IP packets put together from fragments.
    reassembled_packets,
    /// Fragments given up: incomplete at their time limit, or the pool was full.
    expired_fragments,
    /// Connections ended early because the table was full.
    evicted_connections,
    /// Times held out-of-order bytes were written early because their bound was reached.
    released_early,
    /// Times the frames' clock went back by more than a tick.
    clock_steps_back,
    /// Frames dropped by the kernel before us.
    dropped_kernel,
    /// Frames dropped by the interface before us.
    dropped_interface,
    /// Frames lost to a failed write: they would have come back, and do not.
    lost_frames,
    /// Buckets ended before their time, as they had as much as they may have.
    full_buckets,
    /// Of the connections ended early those of TCP that two ends had agreed upon, as there were no others.
    evicted_established,
    /// Holes that cannot be filled any more, as there were too many: what came for them later is outside.
    closed_gaps,
    /// Of the malformed frames: those that the snap length cut in their headers.
    malformed_cut,
    /// Of them: a header below IP is cut short or contradicts itself.
    malformed_link,
    /// Of them: a header of IP.
    malformed_ip,
    /// Of them: a header of TCP.
    malformed_tcp,
    /// Of them: a header of UDP.
    malformed_udp,
    /// Of them: a header of a tunnel.
    malformed_tunnel,
    /// Of the other frames: those of an unknown link type.
    other_link_type,
    /// Of them: the link layer carries something that is not IP.
    other_not_ip,
    /// Of them: an IP protocol other than TCP and UDP, or something in a tunnel, that is not decoded.
    other_protocol,
    /// Of them: more headers or tunnels than are gone through.
    other_depth,
    /// Of the fragments given up: those that went as there was no room.
    evicted_fragments,
    /// Times a live capture had to wait for the disk, or for the blocks before to be compressed.
    disk_stalls,
    /// How long it waited, in milliseconds.
    disk_stalled_millis,
    /// Frames that a worker gave to another, whose frames they are then: to the one whose connection they belong to, or, of fragments in
    /// tunnels, to one that finds out whose they are, and may give them on, so that they count each time.
    handed_frames,
    /// Frames that a worker let go, as the one that they were for was too far behind to take them.
    shed_frames,
    /// Frames that were dropped where they were captured, before they were sent here: the word of who sends.
    dropped_sender,
}

impl Counters {
    /// Captured payload bytes less what became of them: 0, or something was not counted. Counters that were read from a
    /// damaged bucket may be anything, so the sum wraps.
    pub const fn unaccounted(&self) -> i64 {
        let known = self
            .payload_stored
            .wrapping_add(self.payload_duplicate)
            .wrapping_add(self.payload_conflicting)
            .wrapping_add(self.payload_unchecked)
            .wrapping_add(self.payload_outside)
            .wrapping_add(self.payload_not_kept)
            .wrapping_add(self.payload_shed)
            .wrapping_add(self.payload_lost);
        self.payload_captured.wrapping_sub(known).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_there_and_back() {
        let n = Counters::NAMES.len() as u64;
        let counters = Counters::from_values(1..=n);
        assert_eq!(counters.frames, 1);
        assert_eq!(counters.dropped_sender, n);
        assert!(counters.values().eq(1..=n));
        let mut twice = counters;
        twice.add(&counters);
        assert_eq!(twice.since(&counters), counters);
    }

    #[test]
    fn what_is_not_counted_shows() {
        let counters =
            Counters { payload_captured: 10, payload_stored: 7, payload_duplicate: 2, ..Counters::default() };
        assert_eq!(counters.unaccounted(), 1);
        let hostile = Counters::from_values(std::iter::repeat_n(u64::MAX, Counters::NAMES.len()));
        assert_ne!(hostile.unaccounted(), 0);
        let mut twice = hostile;
        twice.add(&hostile);
        assert_eq!(twice.frames, u64::MAX);
    }
}
