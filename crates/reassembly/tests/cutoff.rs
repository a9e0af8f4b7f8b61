//! What is kept of a connection: the first bytes of each direction, decided when it opens or by its payload.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{ACK, FIN, Fate, Frame, Wire, data, frame};
use streamdb_reassembly::{Config, Keep};
use streamdb_types::{
    Direction::{ToClient, ToServer},
    GapKind, Marks, Reason,
};

fn limited(first: u64) -> Wire {
    let mut wire = Wire::new(Config::default());
    wire.keeper.keep = Keep::First(first);
    wire.handshake();
    wire
}

#[test]
fn the_first_bytes_of_each_direction_are_kept() {
    let mut wire = limited(6);
    wire.c(data(1001, 5001, "abcd"));
    wire.c(data(1005, 5001, "efgh"));
    let straddling = wire.tag;
    wire.c(data(1009, 5001, "ijkl"));
    wire.s(data(5001, 1013, "xyz"));
    wire.flush();
    let seen = wire.only();
    assert_eq!((wire.said().as_str(), seen.text(ToClient).as_str()), ("abcdef", "xyz"));
    assert_eq!(seen.gaps(ToServer), [(6, 6, GapKind::Cutoff)]);
    assert_eq!(seen.states[0].length.0, 12);
    assert!(seen.states[0].limited && !seen.states[1].limited);
    assert_eq!(wire.fate(straddling), Some(&Fate::Placed(ToServer, 4, 2)));
    assert_eq!(wire.fate(straddling + 1), None);
    let counters = wire.table.counters();
    assert_eq!((counters.payload_stored, counters.payload_not_kept, counters.payload_cut), (9, 6, 0));
    wire.c(Frame { ack: 5004, ..frame(ACK | FIN, 1013) });
    wire.s(Frame { ack: 1014, ..frame(ACK | FIN, 5004) });
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Fin));
    wire.finish();
    assert_eq!(wire.table.counters().gap_cutoff, 6);
}

#[test]
fn copies_beyond_the_limit_cost_nothing_and_are_no_conflict() {
    let mut wire = limited(4);
    wire.c(data(1001, 5001, "abcdefgh"));
    wire.c(data(1005, 5001, "EFGH"));
    wire.c(data(1003, 5001, "cdXX"));
    wire.c(data(1007, 5001, "ghij"));
    let compared = wire.keeper.log.iter().filter(|line| line.starts_with("compare")).count();
    assert_eq!(compared, 1, "what lies before the limit is still looked at");
    wire.c(data(1003, 5001, "XX"));
    wire.flush();
    assert_eq!(wire.only().states[0].length.0, 10);
    assert_eq!(wire.table.counters().payload_conflicting, 2);
    assert_eq!(wire.table.counters().payload_not_kept, 4 + 4 + 2 + 4);
    assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT), "that was a copy of what is kept");
}

#[test]
fn beyond_the_limit_nothing_waits() {
    let mut wire = limited(4);
    wire.c(data(1001, 5001, "abcd"));
    wire.c(data(1101, 5001, "far"));
    assert_eq!(wire.table.held_bytes(), 0);
    wire.c(data(1051, 5001, "between"));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(4, 99, GapKind::Cutoff)]);
    // A hole below the limit is still one, and is still filled.
    let mut wire = limited(4);
    wire.c(data(1003, 5001, "cdef"));
    wire.c(data(1007, 5001, "gh"));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(0, 2, GapKind::Missing), (4, 4, GapKind::Cutoff)]);
    wire.c(data(1001, 5001, "abcd"));
    wire.flush();
    assert_eq!((wire.said().as_str(), wire.only().gaps(ToServer)), ("abcd", vec![(4, 4, GapKind::Cutoff)]));
}

#[test]
fn of_nothing_the_true_length_is_known() {
    let mut wire = limited(0);
    wire.c(Frame { cut: 5, ..data(1001, 5001, "abc") });
    wire.c(data(1020, 5001, "x"));
    wire.s(data(5001, 1050, ""));
    wire.flush();
    assert_eq!((wire.said().as_str(), wire.keeper.pieces), ("", 0));
    assert_eq!(wire.only().gaps(ToServer), [(0, 48, GapKind::Cutoff)], "also what was acknowledged alone, less a FIN");
    wire.finish();
    assert_eq!(wire.only().gaps(ToServer), [(0, 49, GapKind::Cutoff)], "and none came");
}

#[test]
fn what_the_snap_length_cut_before_the_limit_stays_told_apart() {
    let mut wire = limited(5);
    wire.c(Frame { cut: 6, ..data(1001, 5001, "abc") });
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(3, 2, GapKind::SnapLength), (5, 4, GapKind::Cutoff)]);
    assert_eq!(wire.table.counters().payload_cut, 6);
}

#[test]
fn payload_decides() {
    let mut wire = Wire::new(Config::default());
    (wire.keeper.keep, wire.keeper.looks) = (Keep::First(6), 2);
    wire.handshake();
    wire.c(data(1001, 5001, "abcd"));
    wire.c(data(1005, 5001, "efgh"));
    wire.c(data(1009, 5001, "ijkl"));
    wire.flush();
    assert_eq!(wire.keeper.looked, [(ToServer, 0, b"abcd".to_vec()), (ToServer, 4, b"efgh".to_vec())]);
    assert_eq!(wire.said(), "abcdef", "decided before the second segment went anywhere");
    // What was given before is kept.
    let mut wire = Wire::new(Config::default());
    (wire.keeper.keep, wire.keeper.looks) = (Keep::First(2), 2);
    wire.handshake();
    wire.c(data(1001, 5001, "abcd"));
    wire.s(data(5001, 1005, "xyz"));
    wire.c(data(1005, 5004, "efgh"));
    wire.flush();
    assert_eq!((wire.said().as_str(), wire.only().text(ToClient).as_str()), ("abcd", "xy"));
    assert_eq!(wire.only().gaps(ToServer), [(4, 4, GapKind::Cutoff)]);
}

#[test]
fn datagrams_keep_their_lengths() {
    let mut wire = Wire::new(Config::default());
    wire.keeper.keep = Keep::First(6);
    wire.udp(true, "abcd", 0);
    wire.udp(true, "efgh", 3);
    wire.udp(true, "ijkl", 0);
    wire.flush();
    let datagrams: Vec<_> =
        wire.only().datagrams.iter().map(|(_, at, bytes, wire)| (*at, bytes.len(), *wire)).collect();
    assert_eq!(datagrams, [(0, 4, 4), (4, 2, 7), (11, 0, 4)]);
    assert_eq!(wire.only().gaps(ToServer), [(6, 9, GapKind::Cutoff)]);
    assert_eq!((wire.fate(2), wire.fate(3)), (Some(&Fate::Placed(ToServer, 4, 2)), None));
    let counters = wire.table.counters();
    assert_eq!((counters.payload_stored, counters.payload_not_kept, counters.payload_cut), (6, 6, 3));
    wire.finish();
    // The first datagram is decided about with its own bytes.
    let mut wire = Wire::new(Config::default());
    (wire.keeper.keep, wire.keeper.looks) = (Keep::First(0), 1);
    wire.udp(true, "abcd", 0);
    wire.flush();
    assert_eq!(wire.only().datagrams[0].2, b"");
}
