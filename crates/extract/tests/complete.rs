//! Whether a stream is complete: every end that it can come to, with and without its beginning and all of its bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use streamdb_extract::{Incomplete, Limits, MemorySource, Side, messages};
use streamdb_types::{Direction, GapKind, Marks, Reason};

const TO_CLIENT: Direction = Direction::ToClient;

fn of(stream: &MemorySource, other: &MemorySource) -> Option<Incomplete> {
    let whole = Incomplete::of_stream(stream, other, TO_CLIENT);
    // As the object that a stream of no known protocol is, it is no more and no less.
    let found = messages(other, stream, &Limits::default());
    assert_eq!(found.of(TO_CLIENT)[0].incomplete, whole);
    whole
}

#[test]
fn every_end_of_a_stream() {
    let ends = Reason::ALL.map(Some).into_iter().chain([None]);
    for (ended, datagrams) in ends.flat_map(|ended| [(ended, false), (ended, true)]) {
        for (fin, midstream, gap) in (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)) {
            // Nothing picks up datagrams in the middle, or closes them.
            if datagrams && (fin || midstream || ended == Some(Reason::Fin)) {
                continue;
            }
            let mut marks = Marks::default();
            for (mark, set) in [(Marks::FIN, fin), (Marks::MIDSTREAM, midstream)] {
                if set {
                    marks.insert(mark);
                }
            }
            let mut stream = MemorySource::new(*b"\x02answer").with_end(ended, marks);
            if gap {
                stream = stream.with_gap(2, 3, GapKind::SnapLength);
            }
            if datagrams {
                stream = stream.of_datagrams();
            }
            let other = MemorySource::new(*b"\x01ask").with_end(ended, Marks::RST);
            let at_end = match ended {
                // It goes on beyond what is kept of its class, however it was closed.
                Some(Reason::SizeCutoff) => Some(Incomplete::Cutoff),
                _ if datagrams && ended.is_some() => None,
                Some(Reason::Fin) => None,
                _ if fin => None,
                None => Some(Incomplete::Open),
                Some(Reason::Rst) => Some(Incomplete::Reset(Some(Side::Client))),
                Some(Reason::SynTimeout | Reason::TimeCutoff) => Some(Incomplete::TimedOut),
                Some(Reason::Exiting) => Some(Incomplete::CaptureEnded),
            };
            let expected = match (gap, midstream) {
                (true, _) => Some(Incomplete::Gap(GapKind::SnapLength)),
                (false, true) => Some(Incomplete::Gap(GapKind::Missing)),
                (false, false) => at_end,
            };
            assert_eq!(of(&stream, &other), expected, "{ended:?} {marks:?} gap {gap} datagrams {datagrams}");
        }
    }
}
