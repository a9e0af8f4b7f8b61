//! What somebody does who wants a sensor to see another stream than the other end does, or to choke on it: the published tricks,
//! one test each.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{ACK, FIN, Frame, RST, SYN, URG, Wire, data, frame};
use streamdb_reassembly::{Config, OverlapPolicy};
use streamdb_types::{
    Direction::{ToClient, ToServer},
    GapKind::Missing,
    Marks, Reason,
};

/// The conversation of a client that begins at `first` and was answered, and what must come of it.
fn talk(wire: &mut Wire, first: u32) {
    wire.s(Frame { ack: first, ..frame(SYN | ACK, 5000) });
    wire.c(data(first, 5001, ""));
    wire.c(data(first, 5001, "ask"));
    wire.s(data(5001, first + 3, "answer"));
    wire.flush();
}

fn is_whole(wire: &Wire, what: &str) {
    let last = wire.keeper.seen.last().unwrap();
    assert_eq!((last.text(ToServer).as_str(), last.text(ToClient).as_str()), ("ask", "answer"), "{what}");
    assert_eq!((last.gaps(ToServer), last.gaps(ToClient)), (vec![], vec![]), "{what}");
    assert!(!last.marks(ToServer).contains(Marks::MIDSTREAM), "{what}");
}

/// CVE-2025-59147 (Suricata): SYNs with other sequence numbers, of which only one came to the server, and its stream was not
/// followed.
#[test]
fn several_syns_of_which_one_is_answered() {
    let others: [&[u32]; 4] = [&[90_000], &[1001], &[3_000_000_000, 7], &[5, 6, 900, 0xffff_ffff, 12_345]];
    for decoys in others {
        for taken in 0..=decoys.len() {
            let mut wire = Wire::new(Config::default());
            let mut syns = decoys.to_vec();
            syns.insert(taken, 1000);
            for syn in &syns {
                wire.c(frame(SYN, *syn));
            }
            talk(&mut wire, 1001);
            assert_eq!(wire.keeper.seen.len(), 1);
            is_whole(&wire, &format!("{syns:?}"));
        }
    }
}

#[test]
fn a_syn_after_the_answer_that_never_comes_there() {
    for decoy in [90_000, 1001, 3_000_000_000] {
        // Before the handshake is over, and with data under way.
        for at in 0..3 {
            let mut wire = Wire::new(Config::default());
            wire.c(frame(SYN, 1000));
            wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
            let steps = [data(1001, 5001, ""), data(1001, 5001, "a"), data(1002, 5001, "sk")];
            for (n, step) in steps.into_iter().enumerate() {
                if n == at {
                    wire.c(Frame { text: "decoy", ..frame(SYN, decoy) });
                }
                wire.c(step);
            }
            wire.s(data(5001, 1004, "answer"));
            wire.flush();
            assert_eq!(wire.keeper.seen.len(), 1, "{decoy} at {at}");
            is_whole(&wire, &format!("{decoy} at {at}"));
        }
    }
}

/// With data behind the SYN that never came there, before the answer to the other one.
#[test]
fn a_syn_and_data_that_never_come_there() {
    for decoy in [90_000, 900, 999, 1001, 1500, 3_000_000_000] {
        for decoy_first in [false, true] {
            for more in [None, Some(70_000)] {
                let mut wire = Wire::new(Config::default());
                let mut syns = if decoy_first { vec![decoy, 1000] } else { vec![1000, decoy] };
                syns.extend(more);
                syns.iter().for_each(|syn| _ = wire.c(frame(SYN, *syn)));
                // Behind the first SYN or the last.
                let followed = if decoy_first { decoy } else { more.unwrap_or(decoy) };
                wire.c(data(followed + 1, 5001, "junk"));
                talk(&mut wire, 1001);
                is_whole(&wire, &format!("{decoy} {decoy_first} {more:?}"));
            }
        }
    }
}

/// Both the SYN and its answer are forged, on a connection that is under way: it costs what it costs, and then the connection is
/// followed again.
#[test]
fn a_connection_that_never_was_hides_the_real_one_only_for_a_while() {
    for decoy in [900_000, 2000, 1_000_000_000, 3_000_000_000] {
        let mut wire = Wire::open(Config::default());
        wire.c(data(1001, 5001, "abc"));
        wire.c(frame(SYN, decoy));
        wire.s(Frame { ack: decoy + 1, ..frame(SYN | ACK, 70_000) });
        let (mut c, mut s) = (1004_u32, 5001_u32);
        for _ in 0..4 {
            wire.c(data(c, s, "ask"));
            c += 3;
            wire.s(data(s, c, "answer"));
            s += 6;
        }
        wire.flush();
        let last = wire.keeper.seen.last().unwrap();
        assert!(last.text(ToServer).ends_with("askask"), "{decoy} {:?}", last.text(ToServer));
        assert!(last.text(ToClient).ends_with("answeranswer"), "{decoy} {:?}", last.text(ToClient));
        assert_eq!(last.tuple.client, wire.client);
        assert!(wire.keeper.seen.len() <= 3);
    }
    // Of one side alone.
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.c(data(1001, 5001, "abc"));
    wire.c(frame(SYN, 900_000));
    wire.c(data(1004, 5001, "one"));
    wire.c(data(1007, 5001, "two"));
    wire.c(data(1010, 5001, "three"));
    wire.flush();
    assert_eq!(wire.keeper.seen.last().unwrap().text(ToServer), "twothree");
}

#[test]
fn what_lies_before_the_stream_and_is_not_taken_there_ends_nothing() {
    let mut wire = Wire::open(Config::default());
    for n in 0..20 {
        wire.c(data(1001 + 3 * n, 5001, "ask"));
        wire.c(data(500 + 4 * n, 5001, "junk"));
        wire.s(data(5001, 1004 + 3 * n, ""));
    }
    wire.flush();
    assert_eq!(wire.said(), "ask".repeat(20));
}

#[test]
fn several_syns_of_one_side_alone() {
    for syns in [[1000, 90_000], [90_000, 1000]] {
        let mut wire = Wire::new(Config::default());
        for syn in syns {
            wire.c(frame(SYN, syn));
        }
        wire.c(data(1001, 5001, "ask"));
        wire.c(data(1004, 5001, " more"));
        wire.flush();
        assert_eq!(wire.only().text(ToServer), "ask more", "{syns:?}");
        assert_eq!(wire.only().gaps(ToServer), []);
    }
}

/// CVE-2024-55629 (Suricata): urgent data made the sensor's stream another than the application's. Here every byte is in its
/// place whatever the urgent pointer says, and the stream says that there was some.
#[test]
fn urgent_bytes_move_nothing() {
    let mut wire = Wire::open(Config::default());
    for (seq, byte) in (1001..).zip(["a", "b", "c", "d", "e", "f"]) {
        let flags = if seq % 2 == 0 { ACK | URG } else { ACK };
        wire.c(Frame { flags, ..data(seq, 5001, byte) });
    }
    // Out of order, and sent again without the flag.
    wire.c(Frame { flags: ACK | URG, ..data(1009, 5001, "i") });
    wire.c(Frame { flags: ACK | URG, ..data(1007, 5001, "gh") });
    wire.c(data(1001, 5001, "abcdefghi"));
    wire.flush();
    assert_eq!(wire.said(), "abcdefghi");
    assert!(wire.only().marks(ToServer).contains(Marks::URGENT));
    assert!(!wire.only().marks(ToServer).contains(Marks::CONFLICT));
}

/// CVE-2024-55627 (Suricata): a gap behind data made the buffer of a stream a huge one, filled with zeros. Here a gap is a number.
#[test]
fn a_gap_costs_no_memory_however_wide() {
    let mut wire = Wire::open(Config::default());
    wire.window = u16::MAX;
    let mut seq = 1001_u32;
    for _ in 0..200 {
        // As far away as is believed: twice in a row, as after a loss.
        seq = seq.wrapping_add(0x3fff_0000);
        wire.c(data(seq, 5001, "x"));
        wire.c(data(seq.wrapping_add(1), 5001, "y"));
        seq = seq.wrapping_add(2);
        assert!(wire.table.held_bytes() < 1000);
        wire.flush();
    }
    let state = &wire.only().states[0];
    assert!(state.length.0 > 100 << 30, "{}", state.length.0);
    assert!(state.gaps.iter().all(|gap| gap.kind == Missing));
    let stored = wire.table.counters().payload_stored;
    assert!((200..=400).contains(&stored), "{stored}");
}

/// Overlaps in a row, each a byte further, each with other bytes: the work is bounded, the first copy wins, and all is told.
#[test]
fn thousands_of_overlaps_that_differ() {
    for overlap in [OverlapPolicy::First, OverlapPolicy::Last, OverlapPolicy::Linux, OverlapPolicy::Windows] {
        let mut wire = Wire::open(Config { overlap, ..Config::default() });
        let texts = ["A".repeat(1000), "B".repeat(1000)];
        for n in 0..4000_u32 {
            wire.c(data(1002 + n, 5001, &texts[n as usize % 2]));
        }
        wire.c(data(1001, 5001, "!"));
        wire.flush();
        let seen = wire.only();
        assert_eq!(seen.bytes[0].len(), 5000, "{overlap:?}");
        assert!(seen.marks(ToServer).contains(Marks::CONFLICT));
        assert_eq!(seen.gaps(ToServer), []);
    }
}

#[test]
fn a_reset_that_the_other_end_does_not_believe_costs_nothing() {
    // Outside of the window; inside, but not at the number that is expected (RFC 5961 §3.2), and the connection goes on.
    for seq in [1_000_000, 1100] {
        let mut wire = Wire::open(Config::default());
        wire.c(data(1001, 5001, "ask"));
        wire.c(frame(RST, seq));
        wire.c(data(1004, 5001, " more"));
        wire.s(data(5001, 1009, "answer"));
        wire.flush();
        assert_eq!(wire.only().text(ToServer), "ask more");
        assert_eq!(wire.only().text(ToClient), "answer");
    }
}

#[test]
fn a_fin_before_the_end_hides_nothing_that_was_before_it() {
    // Far beyond what is believed; and one whose data comes later.
    let mut wire = Wire::open(Config::default());
    wire.c(frame(ACK | FIN, 900_000_000));
    wire.c(data(1001, 5001, "ask"));
    wire.flush();
    assert_eq!(wire.only().text(ToServer), "ask");
    let mut wire = Wire::open(Config::default());
    wire.c(frame(ACK | FIN, 1004));
    wire.c(data(1001, 5001, "ask"));
    wire.flush();
    assert_eq!((wire.only().text(ToServer).as_str(), wire.only().gaps(ToServer)), ("ask", vec![]));
}

/// A FIN that the other end never takes: its TTL is too low, or its checksum wrong. What is sent after it is of the stream.
#[test]
fn a_fin_that_never_comes_there_hides_nothing() {
    for flushed in [false, true] {
        let mut wire = Wire::open(Config::default());
        wire.c(frame(ACK | FIN, 1001));
        if flushed {
            wire.flush();
        }
        wire.c(data(1001, 5001, "ask"));
        wire.s(data(5001, 1004, "answer"));
        wire.wait(70);
        assert_eq!((wire.said().as_str(), wire.only().ended), ("ask", None), "it is no half-closed one");
        assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT));
        wire.c(Frame { ack: 5007, ..frame(ACK | FIN, 1004) });
        wire.s(Frame { ack: 1005, ..frame(ACK | FIN, 5007) });
        wire.flush();
        assert_eq!(wire.only().ended, Some(Reason::Fin));
        is_whole(&wire, "a FIN before");
    }
    // Further on, where it would show bytes that nobody sent; before the real one and after it.
    for decoy_first in [true, false] {
        let mut wire = Wire::open(Config::default());
        let fins = if decoy_first { [9000, 1004] } else { [1004, 9000] };
        wire.c(data(1001, 5001, "ask"));
        fins.iter().for_each(|seq| _ = wire.c(Frame { ack: 5001, ..frame(ACK | FIN, *seq) }));
        wire.s(Frame { flags: ACK | FIN, ..data(5001, 1005, "answer") });
        wire.flush();
        is_whole(&wire, "a FIN behind");
        assert_eq!((wire.only().ended, wire.only().states[0].length.0), (Some(Reason::Fin), 3));
        assert!(wire.only().marks(ToServer).contains(Marks::CONFLICT));
    }
    // Only the acknowledgement shows it: what was sent was lost. The real one came already.
    let mut wire = Wire::open(Config::default());
    wire.c(frame(ACK | FIN, 1001));
    wire.c(frame(ACK | FIN, 1004));
    wire.s(Frame { ack: 1005, ..frame(ACK | FIN, 5001) });
    wire.flush();
    assert_eq!(wire.only().gaps(ToServer), [(0, 3, Missing)]);
    assert_eq!(wire.only().ended, Some(Reason::Fin));
}

#[test]
fn fins_of_both_sides_that_never_come_there() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.s(Frame { ack: 1001, ..frame(ACK | FIN, 5001) });
    wire.wait(1);
    assert_eq!(wire.only().ended, Some(Reason::Fin));
    wire.c(data(1001, 5001, "as"));
    wire.s(data(5001, 1003, "answ"));
    wire.wait(60);
    wire.c(data(1003, 5005, "k"));
    wire.s(data(5005, 1004, "er"));
    wire.flush();
    is_whole(&wire, "two FINs");
    assert_eq!(wire.keeper.seen.len(), 1);
    wire.c(Frame { ack: 5007, ..frame(ACK | FIN, 1004) });
    wire.s(Frame { ack: 1005, ..frame(ACK | FIN, 5007) });
    wire.wait(12);
    assert!(wire.only().closed);
}

/// A reset in the window that the other end never sees, and a pause.
#[test]
fn a_reset_that_never_comes_there_splits_nothing() {
    for flushed in [false, true] {
        let mut wire = Wire::open(Config::default());
        wire.c(frame(RST, 1001));
        if flushed {
            wire.wait(1);
            assert_eq!(wire.only().ended, Some(Reason::Rst));
        }
        wire.c(data(1001, 5001, "as"));
        wire.s(data(5001, 1003, "answ"));
        wire.wait(60);
        wire.c(data(1003, 5005, "k"));
        wire.s(data(5005, 1004, "er"));
        wire.flush();
        is_whole(&wire, "a reset");
        assert_eq!(wire.keeper.seen.len(), 1);
        assert!(wire.only().marks(ToServer).contains(Marks::BAD_RST));
        // The next one is a real one.
        wire.c(frame(RST, 1004));
        wire.wait(12);
        assert_eq!((wire.only().ended, wire.only().closed), (Some(Reason::Rst), true));
    }
    // What was on its way when a real one came proves nothing.
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "ask"));
    wire.s(frame(RST, 5001));
    wire.c(data(1004, 5001, " more"));
    wire.s(data(5001, 1009, ""));
    wire.wait(12);
    assert!(wire.only().closed && !wire.only().marks(ToClient).contains(Marks::BAD_RST));
}

/// A mirror of two ports shows each frame twice: with another VLAN tag (folded), TTL or MAC address, which do not come here. The
/// second copy is a reference, over TCP and over UDP.
#[test]
fn frames_that_come_twice_are_stored_once() {
    let mut wire = Wire::new(Config::default());
    let twice = |wire: &mut Wire, from_client: bool, frame: Frame<'_>| {
        for _ in 0..2 {
            if from_client {
                wire.c(frame)
            } else {
                wire.s(frame)
            };
        }
    };
    twice(&mut wire, true, frame(SYN, 1000));
    twice(&mut wire, false, Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    twice(&mut wire, true, data(1001, 5001, "ask"));
    twice(&mut wire, false, data(5001, 1004, "answer"));
    twice(&mut wire, true, Frame { ack: 5007, ..frame(ACK | FIN, 1004) });
    twice(&mut wire, false, Frame { ack: 1005, ..frame(ACK | FIN, 5007) });
    wire.flush();
    is_whole(&wire, "TCP");
    assert_eq!(wire.table.counters().payload_stored, 9);
    assert_eq!(wire.table.counters().payload_duplicate, 9);
    assert!((1..=wire.tag).filter(|tag| [5, 6, 7, 8].contains(tag)).all(|tag| wire.placed(tag)));
}

#[test]
fn datagrams_that_come_twice_are_stored_once() {
    let texts =
        |wire: &Wire| wire.only().datagrams.iter().map(|d| String::from_utf8(d.2.clone()).unwrap()).collect::<Vec<_>>();
    let mut wire = Wire::new(Config::default());
    // Two on their way when their copies come.
    for (text, id) in [("one", 1), ("two", 2), ("one", 1), ("two", 2)] {
        wire.udp_with(true, text, 0, id);
    }
    // The same again by its sender has another number, and another text is another, whatever its number.
    wire.udp_with(true, "one", 0, 3);
    wire.udp_with(true, "six", 0, 3);
    // Without a number it is a copy only when it comes at once.
    wire.udp_with(true, "none", 0, 0);
    wire.udp_with(true, "none", 0, 0);
    wire.time += 10_000_000;
    wire.udp_with(true, "none", 0, 0);
    // The number comes around.
    wire.time += common::SECOND;
    wire.udp_with(true, "six", 0, 3);
    wire.flush();
    assert_eq!(texts(&wire), ["one", "two", "one", "six", "none", "none", "six"]);
    let counters = wire.table.counters();
    assert_eq!((counters.payload_duplicate, counters.payload_stored), (10, 23));
    assert!(wire.only().marks(ToServer).contains(Marks::RETRANSMITTED));
    assert!((1..=wire.tag).all(|tag| wire.placed(tag)));
}

#[test]
fn what_was_cut_of_a_copy_is_counted_too() {
    let mut wire = Wire::new(Config::default());
    wire.udp_with(true, "one", 5, 1);
    wire.udp_with(true, "one", 5, 1);
    wire.flush();
    let counters = wire.table.counters();
    assert_eq!((counters.payload_cut, counters.payload_duplicate, counters.payload_stored), (10, 3, 3));
}
