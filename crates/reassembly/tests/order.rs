//! Where bytes go: order, overlap, retransmission, cut frames, pick-up in the middle, bounds.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{ACK, FIN, Fate, Frame, SECOND, SYN, URG, Wire, data, frame};
use streamdb_reassembly::{Config, OverlapPolicy};
use streamdb_types::Direction::{ToClient, ToServer};
use streamdb_types::{GapKind, Marks};

use GapKind::{Missing, SnapLength};

#[test]
fn in_order_goes_straight_through() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "hello "));
    wire.c(data(1007, 5001, "world"));
    assert_eq!(wire.said(), "hello world");
    assert_eq!(wire.fate(4), Some(&Fate::Placed(ToServer, 0, 6)));
    assert_eq!(wire.fate(5), Some(&Fate::Placed(ToServer, 6, 5)));
    assert_eq!(wire.table.held_bytes(), 0);
    wire.flush();
    assert_eq!(wire.only().marks(ToServer), Marks::SYN);
    assert_eq!(wire.only().states[0].packets, 4);
    assert_eq!(wire.only().states[1].packets, 1);
    let counters = wire.table.counters();
    assert_eq!((counters.connections, counters.streams, counters.payload_stored), (1, 2, 11));
}

#[test]
fn a_hole_is_filled_before_the_flush() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1004, 5001, "def"));
    wire.c(data(1007, 5001, "ghi"));
    assert_eq!(wire.said(), "");
    assert!(wire.table.held_bytes() > 6);
    wire.c(data(1001, 5001, "abc"));
    assert_eq!(wire.said(), "abcdefghi");
    assert!(wire.placed(4) && wire.placed(5) && wire.placed(6));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), []);
}

#[test]
fn a_hole_is_a_gap_until_it_is_filled_after_the_flush() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1004, 5001, "def"));
    wire.flush();
    assert_eq!(wire.said(), "...def");
    assert_eq!(wire.only().gaps(ToServer), [(0, 3, Missing)]);
    wire.c(data(1007, 5001, "ghi"));
    assert_eq!(wire.said(), "...defghi", "in order again, although there is a hole");
    wire.c(data(1002, 5001, "b"));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(0, 1, Missing), (2, 1, Missing)]);
    wire.c(data(1001, 5001, "abcd"));
    assert_eq!(wire.said(), "abcdefghi");
    assert!(wire.placed(7));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), []);
    assert!(wire.only().marks(ToServer).contains(Marks::REORDERED));
    let counters = wire.table.counters();
    assert_eq!((counters.payload_stored, counters.payload_duplicate), (9, 2));
}

#[test]
fn retransmissions_are_compared() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abcdef"));
    wire.c(data(1001, 5001, "abcdef"));
    wire.c(data(1003, 5001, "cdefgh"));
    assert!(wire.placed(5) && wire.placed(6));
    wire.flush();
    assert!(!wire.only().marks(ToServer).contains(Marks::CONFLICT));
    assert!(wire.only().marks(ToServer).contains(Marks::RETRANSMITTED));
    wire.c(data(1003, 5001, "cXefghij"));
    assert_eq!(wire.fate(7), Some(&Fate::Kept(b"cXefghij".to_vec())));
    assert_eq!(wire.said(), "abcdefghij", "what is new of it is taken, what was given stays");
    wire.flush();
    assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT));
    let counters = wire.table.counters();
    assert_eq!((counters.payload_stored, counters.payload_duplicate, counters.payload_conflicting), (10, 10, 6));
}

#[test]
fn what_the_sink_has_forgotten_is_kept() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abcdef"));
    for state in 1..100 {
        wire.keeper.forgetful = state;
        wire.c(data(1001, 5001, "abcdef"));
    }
    wire.flush();
    let counters = wire.table.counters();
    assert!(counters.payload_unchecked > 0 && counters.payload_duplicate > 0);
    let kept = (5..=103).filter(|&tag| wire.kept(tag)).count() as u64;
    assert_eq!(counters.payload_unchecked, kept * 6);
}

#[test]
fn held_overlaps_are_decided_by_the_policy() {
    use OverlapPolicy::{First, Last, Linux, Windows};
    // "bbbb" begins with "aaa" and ends after it; "ccc" begins before "ddd".
    for (overlap, want) in
        [(First, "?aaab.ccddd"), (Last, "?bbbb.cccdd"), (Linux, "?bbbb.cccdd"), (Windows, "?aaab.cccdd")]
    {
        let mut wire = Wire::open(Config { overlap, ..Config::default() });
        wire.c(data(1002, 5001, "aaa"));
        wire.c(data(1002, 5001, "bbbb"));
        wire.c(data(1009, 5001, "ddd"));
        wire.c(data(1007, 5001, "ccc"));
        wire.c(data(1001, 5001, "?"));
        wire.flush();
        assert_eq!(wire.said(), want, "{overlap:?}");
        assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT));
        let text = want.as_bytes();
        for (tag, at, own) in [(4, 1, "aaa"), (5, 1, "bbbb"), (6, 8, "ddd"), (7, 6, "ccc")] {
            let equal = &text[at..at + own.len()] == own.as_bytes();
            assert_eq!(wire.placed(tag), equal, "{overlap:?} {own}");
            assert_eq!(wire.kept(tag), !equal, "{overlap:?} {own}");
        }
    }
}

#[test]
fn what_was_given_stays_whatever_the_policy() {
    let mut wire = Wire::open(Config { overlap: OverlapPolicy::Last, ..Config::default() });
    wire.c(data(1001, 5001, "aaa"));
    wire.c(data(1001, 5001, "bbbb"));
    wire.flush();
    assert_eq!(wire.said(), "aaab");
    assert!(wire.kept(5));
}

#[test]
fn sequence_numbers_wrap() {
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, u32::MAX - 3));
    wire.c(data(u32::MAX - 2, 1, "abc"));
    wire.c(data(3, 1, "ghi"));
    wire.c(data(0, 1, "def"));
    wire.flush();
    assert_eq!(wire.said(), "abcdefghi");
    assert_eq!(wire.only().gaps(ToServer), []);
}

#[test]
fn offsets_go_past_four_gigabytes() {
    let mut wire = Wire::open(Config::default());
    let (mut seq, mut offset) = (1001_u32, 0_u64);
    // Frames cut to nothing move fast.
    for _ in 0..5 << 10 {
        wire.c(Frame { cut: 1 << 20, ..data(seq, 5001, "") });
        seq = seq.wrapping_add(1 << 20);
        offset += 1 << 20;
    }
    wire.c(data(seq, 5001, "far"));
    assert_eq!(wire.fate(wire.tag), Some(&Fate::Placed(ToServer, offset, 3)));
    wire.flush();
    assert_eq!(wire.only().states[0].length.0, offset + 3);
    assert_eq!(wire.only().gaps(ToServer), [(0, offset, SnapLength)]);
    assert_eq!(wire.table.counters().payload_cut, offset);
}

#[test]
fn picked_up_in_the_middle_and_out_of_order() {
    let mut wire = Wire::new(Config::default());
    wire.c(data(2004, 1, "def"));
    wire.c(data(2001, 1, "abc"));
    wire.c(data(2007, 1, "ghi"));
    assert_eq!(wire.said(), "", "it may still begin earlier");
    wire.flush();
    assert_eq!(wire.said(), "abcdefghi");
    assert_eq!(wire.only().marks(ToServer), Marks::MIDSTREAM);
    wire.c(data(1998, 1, "xyz"));
    wire.c(data(1999, 1, "yzabc"));
    wire.flush();
    assert_eq!(wire.said(), "abcdefghi", "what comes earlier now lies before offset 0");
    assert!(wire.kept(4) && wire.kept(5));
    let counters = wire.table.counters();
    assert_eq!((counters.payload_outside, counters.payload_duplicate), (5, 3));
}

#[test]
fn a_pick_up_is_decided_by_enough_segments_or_bytes() {
    let mut wire = Wire::new(Config::default());
    for i in 0..15 {
        wire.c(data(2000 + i, 1, "x"));
    }
    assert_eq!(wire.said(), "");
    wire.c(data(1999, 1, "y"));
    assert_eq!(wire.said(), "yxxxxxxxxxxxxxxx");
    let mut wire = Wire::new(Config::default());
    let block = "z".repeat(40_000);
    wire.c(data(7, 1, &block));
    assert_eq!(wire.said().len(), 0);
    wire.c(data(40_007, 1, &block));
    assert_eq!(wire.said().len(), 80_000);
}

#[test]
fn a_late_syn_says_where_offset_zero_is() {
    let mut wire = Wire::new(Config::default());
    wire.c(data(1004, 5001, "def"));
    wire.c(frame(SYN, 1000));
    wire.c(data(1001, 5001, "abc"));
    wire.flush();
    assert_eq!(wire.said(), "abcdef");
    assert_eq!(wire.only().marks(ToServer).0 & Marks::MIDSTREAM.0, 0);
}

/// As where several capture, and one of them is late.
#[test]
fn a_syn_after_a_flush_and_what_answers_it_belongs_to_it() {
    let mut wire = Wire::new(Config::default());
    wire.s(data(5001, 1004, "answer"));
    wire.flush();
    wire.c(frame(SYN, 1000));
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    wire.c(data(1001, 5001, "ask"));
    wire.flush();
    assert_eq!([ToServer, ToClient].map(|direction| wire.only().text(direction)), ["ask", "answer"]);
    assert_eq!(wire.only().tuple.client, wire.client);
    // One that begins elsewhere is of another connection.
    let mut wire = Wire::new(Config::default());
    wire.s(data(5001, 1004, "answer"));
    wire.flush();
    wire.c(frame(SYN, 1004 + (1 << 16)));
    wire.flush();
    assert_eq!(wire.keeper.seen.len(), 2);
}

/// Both ports may be a client's, so that who sends first is taken for it.
fn unknown_ports() -> Wire {
    let mut wire = Wire::new(Config::default());
    wire.server.port = 8080;
    wire
}

#[test]
fn who_sent_the_syn_is_the_client_whoever_was_taken_for_it() {
    let syn = frame(SYN, 1000);
    let answer = Frame { ack: 1001, ..frame(SYN | ACK, 5000) };
    for order in 0..6 {
        let mut wire = unknown_ports();
        match order {
            0 => _ = wire.s(data(5001, 1004, "answer")),
            1 => _ = wire.s(data(5001, 1004, "")),
            2 => _ = (wire.s(data(5001, 1004, "answer")), wire.c(data(1001, 5001, "ask"))),
            3 => _ = (wire.s(data(5004, 1004, "wer")), wire.s(data(5001, 1004, "ans"))),
            // The answer to a SYN says it, too.
            4 => _ = (wire.s(data(5001, 1004, "answer")), wire.s(answer)),
            _ => _ = wire.c(data(1001, 5001, "ask")),
        }
        wire.c(syn);
        wire.s(answer);
        wire.c(data(1001, 5001, "ask"));
        wire.s(data(5001, 1004, "answer"));
        wire.flush();
        assert_eq!((wire.only().tuple.client, wire.only().tuple.server), (wire.client, wire.server), "{order}");
        assert_eq!([ToServer, ToClient].map(|direction| wire.only().text(direction)), ["ask", "answer"], "{order}");
        for direction in [ToServer, ToClient] {
            assert!(wire.only().marks(direction).contains(Marks::SYN), "{order}");
            assert_eq!(wire.only().gaps(direction), [], "{order}");
        }
        wire.finish();
    }
}

/// What was told of it names the wrong client for good.
#[test]
fn where_the_client_was_another_one_a_syn_begins_a_connection() {
    for by_the_answer in [false, true] {
        let mut wire = unknown_ports();
        wire.s(data(5001, 1004, "answer"));
        wire.flush();
        if !by_the_answer {
            wire.c(frame(SYN, 1000));
        }
        wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
        wire.c(data(1001, 5001, "ask"));
        wire.s(data(5007, 1004, " more"));
        wire.finish();
        let [before, after] = &wire.keeper.seen[..] else { panic!("{:?}", wire.keeper.seen) };
        assert_eq!((before.tuple.client, after.tuple.client), (wire.server, wire.client));
        assert_eq!([ToServer, ToClient].map(|direction| after.text(direction)), ["ask", "...... more"]);
        assert_eq!(before.text(ToServer), "answer");
    }
}

#[test]
fn who_is_the_client_for_long_stays_it() {
    let mut wire = unknown_ports();
    wire.c(data(1001, 5001, &"x".repeat(1 << 20)));
    wire.s(data(5001, 1001 + (1 << 20), "answer"));
    wire.flush();
    wire.s(frame(SYN, 5000));
    wire.c(data(1001 + (1 << 20), 5007, "more"));
    wire.flush();
    assert_eq!((wire.only().tuple.client, wire.said().len()), (wire.client, (1 << 20) + 4));
}

#[test]
fn the_answer_tells_of_a_syn_that_was_not_captured() {
    let mut wire = Wire::new(Config::default());
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    wire.c(data(1004, 5001, "def"));
    wire.flush();
    assert_eq!(wire.said(), "...def");
    assert_eq!(wire.only().tuple.client, wire.client);
    assert_eq!(wire.only().marks(ToServer), Marks::default());
}

#[test]
fn data_in_the_syn_and_before_the_fin() {
    let mut wire = Wire::new(Config::default());
    wire.c(Frame { text: "GET", ..frame(SYN, 1000) });
    wire.s(Frame { ack: 1004, ..frame(SYN | ACK, 5000) });
    wire.c(Frame { text: " /", ..data(1004, 5001, " /") });
    wire.c(Frame { flags: ACK | FIN, ..data(1006, 5001, " end") });
    // The FIN takes a number of its own, so the last acknowledgement is one more.
    wire.s(data(5001, 1011, "ok"));
    wire.flush();
    assert_eq!(wire.said(), "GET / end");
    let state = &wire.only().states[0];
    assert_eq!((state.length.0, state.gaps.len()), (9, 0));
    assert_eq!(state.marks, Marks::SYN.with(Marks::SYN_DATA).with(Marks::FIN));
}

#[test]
fn data_in_the_syn_after_its_acknowledgement() {
    let mut wire = Wire::new(Config::default());
    wire.s(Frame { ack: 1004, ..frame(SYN | ACK, 5000) });
    wire.c(Frame { text: "GET", ..frame(SYN, 1000) });
    wire.flush();
    assert_eq!(wire.said(), "GET");
}

#[test]
fn a_fin_with_data_out_of_order() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { flags: ACK | FIN, ..data(1004, 5001, "def") });
    wire.c(data(1001, 5001, "abc"));
    wire.flush();
    assert_eq!(wire.said(), "abcdef");
    wire.s(data(5001, 1008, ""));
    wire.c(data(1005, 5001, "efghi"));
    wire.flush();
    assert_eq!(wire.said(), "abcdef", "nothing comes after a FIN that the other side has");
    assert!(wire.kept(wire.tag));
    assert_eq!(wire.table.counters().payload_outside, 3);
}

#[test]
fn urgent_data_stays_in_place() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "ab"));
    wire.c(Frame { flags: ACK | URG, ..data(1003, 5001, "!") });
    wire.c(data(1004, 5001, "cd"));
    wire.flush();
    assert_eq!(wire.said(), "ab!cd");
    assert!(wire.only().marks(ToServer).contains(Marks::URGENT));
}

#[test]
fn cut_frames_leave_gaps_of_their_kind() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { cut: 4, ..data(1001, 5001, "ab") });
    wire.c(data(1007, 5001, "gh"));
    assert_eq!(wire.said(), "ab....gh");
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(2, 4, SnapLength)]);
    wire.c(data(1004, 5001, "de"));
    assert_eq!(wire.said(), "ab.de.gh", "a copy that has more fills it");
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(2, 1, SnapLength), (5, 1, SnapLength)]);
    wire.c(data(1012, 5001, "l"));
    wire.flush();
    wire.c(Frame { cut: 2, ..data(1009, 5001, "i") });
    wire.flush();
    assert_eq!(wire.said(), "ab.de.ghi..l");
    assert_eq!(wire.only().gaps(ToServer)[2..], [(9, 2, SnapLength)], "it is known why they are missing");
    assert_eq!(wire.table.counters().payload_cut, 6);
}

#[test]
fn keep_alives_are_no_data() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1000, 5001, "\0"));
    assert!(wire.kept(4));
    wire.c(data(1001, 5001, "abc"));
    wire.s(data(5001, 1004, ""));
    wire.c(data(1003, 5001, ""));
    wire.c(data(1003, 5001, "\0"));
    assert!(wire.kept(8));
    wire.c(data(1003, 5001, "c"));
    assert!(wire.placed(9));
    wire.flush();
    assert_eq!(wire.said(), "abc");
    assert_eq!(wire.only().marks(ToServer), Marks::SYN);
    let counters = wire.table.counters();
    assert_eq!((counters.payload_outside, counters.payload_conflicting, counters.payload_duplicate), (1, 1, 1));
}

/// A byte that the other side does not have is no keep-alive, so that one in place of another is told.
#[test]
fn a_byte_sent_twice_may_differ() {
    let mut wire = Wire::open(Config::default());
    for (n, (decoy, byte)) in (0..).zip([("X", "G"), ("X", "E"), ("X", "T")]) {
        wire.c(data(1001 + n, 5001, decoy));
        wire.c(data(1001 + n, 5001, byte));
    }
    wire.flush();
    assert_eq!(wire.said(), "XXX");
    assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT));
    assert_eq!(wire.table.counters().payload_conflicting, 3);
}

#[test]
fn a_window_probe_is_data() {
    let mut wire = Wire::open(Config::default());
    wire.window = 0;
    wire.s(data(5001, 1001, ""));
    wire.c(data(1001, 5001, "a"));
    wire.c(data(1001, 5001, "ab"));
    wire.flush();
    assert_eq!(wire.said(), "ab");
    assert!(wire.placed(5) && wire.placed(6));
}

#[test]
fn far_away_is_outside_unless_it_goes_on_there() {
    let mut wire = Wire::open(Config::default());
    wire.s(data(5001, 1001, ""));
    wire.c(data(1001, 5001, "abc"));
    wire.c(data(1004 + (1 << 28), 5001, "spoof"));
    wire.c(data(1004, 5001, "def"));
    wire.flush();
    assert_eq!(wire.said(), "abcdef");
    assert!(wire.kept(6));
    assert_eq!(wire.table.counters().payload_outside, 5);
    // The capture lost a quarter of a gigabyte.
    wire.c(data(1004 + (1 << 28), 5001, "on"));
    wire.c(data(1006 + (1 << 28), 5001, "ward"));
    wire.flush();
    assert!(wire.kept(8) && wire.placed(9));
    assert_eq!(wire.only().states[0].length.0, (1 << 28) + 9);
    // One-sided, so that no window is known: a gigabyte.
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 0));
    wire.c(data(1 << 29, 0, "yes"));
    wire.flush();
    wire.c(data((1 << 29) + (1 << 30) + 10, 0, "no"));
    wire.flush();
    assert!(wire.placed(2) && wire.kept(3));
}

#[test]
fn a_lost_tail_shows_by_the_acknowledgement() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abc"));
    wire.s(data(5001, 1009, ""));
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(3, 4, Missing)], "and a FIN, perhaps");
    wire.s(data(5001, 1009 + (1 << 25), ""));
    wire.s(data(5001, 1009 + (1 << 25), ""));
    wire.flush();
    assert_eq!(wire.only().states[0].length.0, 7, "too far to be true");
    wire.finish();
    assert_eq!(wire.only().gaps(ToServer), [(3, 5, Missing)]);
    assert_eq!(wire.table.counters().gap_missing, 5);
}

/// The window is 10,000 bytes.
#[test]
fn what_no_window_allowed_is_acknowledged_twice() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abc"));
    wire.s(data(5001, 1004 + (1 << 20), ""));
    wire.s(data(5001, 1004, ""));
    wire.flush();
    wire.finish();
    assert_eq!(wire.only().gaps(ToServer), []);
    assert_eq!(wire.table.counters().gap_missing, 0);
    // The capture lost the end.
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abc"));
    wire.s(data(5001, 1004 + (1 << 20), ""));
    wire.s(Frame { ack: 1005 + (1 << 20), ..frame(ACK | FIN, 5001) });
    wire.finish();
    assert_eq!(wire.only().gaps(ToServer), [(3, (1 << 20) + 1, Missing)]);
}

#[test]
fn bounds_release_early() {
    for config in [
        Config { max_held_per_stream: 500, ..Config::default() },
        Config { max_held: 500, ..Config::default() },
        Config { max_gaps_per_stream: 3, ..Config::default() },
        Config { max_held: 0, ..Config::default() },
    ] {
        let mut wire = Wire::open(config.clone());
        for i in 0..100 {
            wire.c(data(1003 + 2 * i, 5001, "x"));
            assert!(wire.table.held_bytes() <= 500);
        }
        wire.flush();
        assert!(wire.table.counters().released_early > 10);
        assert_eq!(wire.table.counters().payload_stored, 100);
        wire.finish();
        let mut middle = Wire::new(config);
        middle.c(data(1003, 5001, "c"));
        middle.c(data(1001, 5001, "a"));
        middle.flush();
        assert!(middle.said().ends_with('c'));
    }
}

#[test]
fn too_many_holes_are_closed_from_below() {
    let mut wire = Wire::open(Config { max_gaps_per_stream: 4, ..Config::default() });
    for i in 1..=10 {
        wire.c(data(1001 + 3 * i, 5001, "x"));
        wire.flush();
    }
    let state = &wire.only().states[0];
    assert_eq!((state.gaps.len(), state.closed_gaps, state.length.0), (4, 3 + 5 * 2, 31));
    wire.c(data(1002, 5001, "y"));
    wire.c(data(1030, 5001, "z"));
    wire.flush();
    assert!(wire.kept(wire.tag - 1) && wire.placed(wire.tag));
    wire.finish();
    let counters = wire.table.counters();
    assert_eq!((counters.payload_outside, counters.gap_missing), (1, 20));
}

/// Who has more holes than there may be takes nobody else's.
#[test]
fn each_stream_has_holes_of_its_own() {
    let mut wire = Wire::new(Config { max_gaps: 1, ..Config::default() });
    let (client, other) = (wire.client, common::host(1, 41_000));
    wire.client = other;
    wire.handshake();
    for n in 0..20 {
        wire.c(data(1004 + 3 * n, 5001, "x"));
    }
    wire.flush();
    assert_eq!((wire.only().states[0].gaps.len(), wire.table.counters().closed_gaps), (9, 11));
    wire.client = client;
    wire.handshake();
    wire.c(data(1004, 5001, "def"));
    wire.flush();
    wire.c(data(1001, 5001, "abc"));
    assert!(wire.placed(wire.tag));
    assert_eq!(wire.keeper.seen[1].text(ToServer), "abcdef");
    wire.finish();
}

/// One stream alone holds no more than three quarters of what may be held, if it is much.
#[test]
fn who_holds_much_leaves_room() {
    let bound = 200 << 10;
    let mut wire = Wire::new(Config { max_held: bound, ..Config::default() });
    let client = wire.client;
    wire.client = common::host(1, 41_000);
    wire.handshake();
    let text = "x".repeat(1000);
    for n in 0..150 {
        wire.c(data(2001 + 1000 * n, 5001, &text));
        assert!(wire.table.held_bytes() <= bound - bound / 4);
        if wire.table.counters().released_early > 0 {
            break;
        }
    }
    assert_eq!(wire.table.counters().released_early, 1);
    for n in 0..50 {
        wire.client.port = client.port + n;
        wire.handshake();
        wire.c(data(1004, 5001, "def"));
    }
    assert_eq!(wire.table.counters().released_early, 1);
}

#[test]
fn time_may_go_backwards() {
    let mut wire = Wire::open(Config::default());
    wire.time -= 3600 * SECOND;
    wire.c(data(1001, 5001, "abc"));
    wire.wait(2);
    wire.time -= 3600 * SECOND;
    wire.c(data(1004, 5001, "def"));
    wire.wait(2);
    assert_eq!(wire.said(), "abcdef");
    assert!(wire.only().ended.is_none());
}
