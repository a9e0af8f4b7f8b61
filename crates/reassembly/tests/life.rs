//! How connections begin and end: handshakes, resets, port reuse, time limits, the full table, UDP.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{ACK, FIN, Frame, RST, SECOND, SYN, Wire, data, frame, host};
use streamdb_reassembly::{Config, Slot};
use streamdb_types::{
    Direction::{self, ToClient, ToServer},
    Hop, HopKind, Marks, Path, Reason, Timestamp,
};

/// FIN from both sides, each acknowledged; no data.
fn close(wire: &mut Wire) {
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.s(Frame { ack: 1002, ..frame(ACK | FIN, 5001) });
    wire.c(data(1002, 5002, ""));
}

#[test]
fn the_client_is_who_sends_the_syn() {
    for (flags, client) in [(SYN, host(2, 80)), (SYN | ACK, host(1, 40_000)), (ACK, host(1, 40_000))] {
        let mut wire = Wire::new(Config::default());
        wire.s(frame(flags, 1));
        assert_eq!(wire.only().tuple.client, client, "flags {flags}");
        assert_eq!(wire.c(frame(ACK, 1)).unwrap().1 == ToServer, client == wire.client);
    }
    let mut wire = Wire::new(Config::default());
    (wire.client, wire.server) = (host(1, 1000), host(2, 999));
    wire.s(frame(ACK, 1));
    assert_eq!(wire.only().tuple.client, wire.server, "both ports are low, so it is the first source");
}

#[test]
fn both_fins_end_it_at_the_flush() {
    let mut wire = Wire::open(Config::default());
    close(&mut wire);
    assert_eq!(wire.only().ended, None);
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Fin));
    // What trails belongs to it still.
    let checkpoints = wire.only().checkpoints;
    wire.s(Frame { ack: 1002, ..frame(ACK | FIN, 5001) });
    wire.c(data(1002, 5002, ""));
    wire.flush();
    assert_eq!(wire.only().checkpoints, checkpoints + 1);
    wire.wait(9);
    assert_eq!(wire.table.open_connections(), 1);
    wire.wait(2);
    assert_eq!(wire.table.open_connections(), 0);
    assert!(wire.only().closed);
    assert_eq!(wire.only().checkpoints, checkpoints + 1, "nothing new was to be said");
}

#[test]
fn a_fin_that_comes_after_its_acknowledgement_is_no_byte() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "ask"));
    wire.s(Frame { ack: 1005, ..frame(ACK | FIN, 5001) });
    wire.flush();
    assert_eq!(wire.only().states[0].length.0, 3);
    wire.c(Frame { ack: 5002, ..frame(ACK | FIN, 1004) });
    wire.flush();
    assert_eq!((wire.only().states[0].length.0, wire.only().ended), (3, Some(Reason::Fin)));
    // What never comes is missing all the same, and nobody knows whether there was a FIN.
    let mut wire = Wire::open(Config::default());
    wire.s(data(5001, 1011, ""));
    wire.flush();
    assert_eq!(wire.only().states[0].length.0, 9);
    wire.finish();
    assert_eq!(wire.only().states[0].length.0, 10);
}

#[test]
fn fins_alone_end_it_too() {
    let mut wire = Wire::new(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.s(Frame { ack: 1002, ..frame(ACK | FIN, 5001) });
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Fin));
    assert_eq!(wire.only().states[0].length.0, 0);
}

#[test]
fn fins_wait_for_what_is_missing() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1011) });
    wire.s(Frame { ack: 1001, ..frame(ACK | FIN, 5001) });
    wire.flush();
    assert_eq!(wire.only().ended, None, "ten bytes are to come");
    wire.s(data(5002, 1012, ""));
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Fin), "the other side has them");
    assert_eq!(wire.only().states[0].length.0, 10);

    let mut wire = Wire::open(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1011) });
    wire.s(Frame { ack: 1001, ..frame(ACK | FIN, 5001) });
    wire.wait(61);
    assert_eq!((wire.only().ended, wire.only().closed), (Some(Reason::Fin), true));
}

#[test]
fn a_half_closed_connection_is_cut_off() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.wait(59);
    assert_eq!(wire.only().ended, None);
    wire.wait(2);
    assert_eq!(wire.only().ended, Some(Reason::TimeCutoff));
    let mut wire = Wire::open(Config { tcp_idle: 5 * SECOND, ..Config::default() });
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.wait(6);
    assert_eq!(wire.only().ended, Some(Reason::TimeCutoff));
}

#[test]
fn a_reset_in_the_window_ends_it() {
    // Exactly what is expected, and further on in the window of 10000.
    for seq in [5004, 15_004] {
        let mut wire = Wire::open(Config::default());
        wire.s(data(5001, 1001, "abc"));
        wire.s(frame(RST, seq));
        wire.s(data(5004, 1001, "def"));
        wire.flush();
        assert_eq!(wire.only().ended, Some(Reason::Rst), "{seq}");
        assert!(wire.only().marks(ToClient).contains(Marks::RST));
        assert_eq!(wire.only().text(ToClient), "abcdef", "what trails is kept with it");
        wire.finish();
        assert_eq!(wire.only().ended, Some(Reason::Rst));
    }
}

#[test]
fn a_reset_outside_the_window_is_not_believed() {
    for seq in [5000, 15_005, 5004 + (1 << 31)] {
        let mut wire = Wire::open(Config::default());
        wire.s(data(5001, 1001, "abc"));
        let belongs = wire.s(Frame { text: "why", ..frame(RST, seq) });
        assert_eq!(belongs, Some((Slot(0), ToClient)));
        wire.flush();
        assert_eq!(wire.only().ended, None, "{seq}");
        assert!(wire.only().marks(ToClient).contains(Marks::BAD_RST));
        assert!(wire.kept(wire.tag), "a reset's payload is of no stream");
        assert_eq!(wire.only().text(ToClient), "abc");
    }
}

#[test]
fn a_reset_answers_a_syn() {
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.s(Frame { ack: 900, ..frame(RST | ACK, 0) });
    wire.s(Frame { ack: 1005, ..frame(RST | ACK, 0) });
    wire.s(frame(RST, 0));
    wire.flush();
    assert_eq!(wire.only().ended, None, "none acknowledges the SYN");
    wire.s(Frame { ack: 1001, ..frame(RST | ACK, 0) });
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Rst));
}

#[test]
fn a_reset_alone_is_a_connection() {
    let mut wire = Wire::new(Config::default());
    wire.s(frame(RST, 77));
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Rst));
}

#[test]
fn a_reset_after_both_fins_is_no_reset() {
    let mut wire = Wire::open(Config::default());
    wire.c(Frame { ack: 5001, ..frame(ACK | FIN, 1001) });
    wire.s(Frame { ack: 1002, ..frame(ACK | FIN, 5001) });
    wire.c(frame(RST, 1002));
    wire.flush();
    assert_eq!(wire.only().ended, Some(Reason::Fin));
}

#[test]
fn a_syn_that_is_not_answered_times_out() {
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.wait(20);
    wire.c(frame(SYN, 1000));
    wire.wait(29);
    assert_eq!(wire.only().ended, None);
    wire.wait(2);
    assert_eq!(wire.only().ended, Some(Reason::SynTimeout));
    assert_eq!(wire.only().states[0].packets, 2);
    assert_eq!(wire.only().states[1].packets, 0);
}

#[test]
fn idle_connections_are_cut_off() {
    let mut wire = Wire::open(Config::default());
    wire.wait(299);
    assert_eq!(wire.only().ended, None, "an open connection may be silent");
    wire.wait(2);
    assert_eq!((wire.only().ended, wire.only().closed), (Some(Reason::TimeCutoff), true));
}

#[test]
fn a_clock_set_back_expires_nothing_and_keeps_nothing() {
    let mut wire = Wire::open(Config::default());
    wire.wait(200);
    wire.time -= 1_000_000 * SECOND;
    wire.wait(1);
    assert_eq!(wire.only().ended, None);
    wire.wait(101);
    assert_eq!(wire.only().ended, Some(Reason::TimeCutoff), "the seconds before and after count");
}

#[test]
fn the_end_of_the_input_ends_everything() {
    let mut wire = Wire::open(Config::default());
    wire.c(data(1004, 5001, "def"));
    wire.finish();
    assert_eq!(wire.only().ended, Some(Reason::Exiting));
    assert_eq!(wire.said(), "...def");
    let mut wire = Wire::open(Config::default());
    close(&mut wire);
    wire.finish();
    assert_eq!(wire.only().ended, Some(Reason::Fin));
    assert_eq!(wire.only().checkpoints, 1);
}

#[test]
fn a_port_used_again() {
    // After the end, seconds later, without a flush between; a reset; both flushed and not.
    for flushed in [false, true] {
        for reset in [false, true] {
            let mut wire = Wire::open(Config::default());
            if reset {
                wire.s(frame(RST, 5001));
            } else {
                close(&mut wire);
            }
            if flushed {
                wire.flush();
            }
            wire.c(frame(SYN, 1000));
            assert_eq!(wire.keeper.seen.len(), 1, "the same SYN again begins nothing");
            wire.c(frame(SYN, 3000));
            assert_eq!(wire.keeper.seen.len(), 2);
            wire.c(data(3001, 1, "new"));
            wire.flush();
            let [old, new] = &wire.keeper.seen[..] else { panic!() };
            assert_eq!(old.ended, Some(if reset { Reason::Rst } else { Reason::Fin }));
            assert!(old.closed);
            assert_eq!((new.text(ToServer), new.ended, new.slot), ("new".to_owned(), None, old.slot));
            wire.finish();
        }
    }
}

#[test]
fn a_syn_for_a_live_connection() {
    // In the window it is the attack of RFC 5961 §4, and the other end answers with a challenge.
    let mut wire = Wire::open(Config::default());
    wire.c(data(1001, 5001, "abc"));
    wire.c(Frame { text: "???", ..frame(SYN, 1010) });
    wire.c(data(1004, 5001, "def"));
    wire.flush();
    assert_eq!(wire.said(), "abcdef");
    assert!(wire.kept(5));
    // Outside it, the ends have lost each other, or the capture has: if it is answered.
    let mut wire = Wire::open(Config::default());
    wire.c(frame(SYN, 900_000));
    assert_eq!(wire.keeper.seen.len(), 1);
    wire.s(Frame { ack: 900_001, ..frame(SYN | ACK, 70_000) });
    assert_eq!(wire.keeper.seen.len(), 2);
    wire.c(data(900_001, 70_001, "new"));
    wire.flush();
    assert_eq!((wire.keeper.seen[1].text(ToServer), wire.keeper.seen[1].tuple.client), ("new".into(), wire.client));
    // Where only one side is captured, at once; and after a silence.
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.c(data(1001, 5001, "abc"));
    wire.c(frame(SYN, 900_000));
    assert_eq!(wire.keeper.seen.len(), 2);
    let mut wire = Wire::open(Config::default());
    wire.wait(10);
    wire.c(frame(SYN, 1010));
    assert_eq!(wire.keeper.seen.len(), 2);
    assert_eq!(wire.keeper.seen[0].ended, Some(Reason::TimeCutoff));
}

#[test]
fn both_sides_may_open() {
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.s(frame(SYN, 5000));
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    wire.c(Frame { ack: 5001, ..frame(SYN | ACK, 1000) });
    wire.c(data(1001, 5001, "a"));
    wire.s(data(5001, 1002, "b"));
    wire.flush();
    assert_eq!((wire.said().as_str(), wire.only().text(ToClient).as_str()), ("a", "b"));
}

#[test]
fn an_answer_to_what_was_not_asked() {
    let mut wire = Wire::new(Config::default());
    wire.c(frame(SYN, 1000));
    wire.s(Frame { ack: 77, ..frame(SYN | ACK, 9000) });
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    wire.s(data(5001, 1001, "yes"));
    wire.flush();
    assert_eq!(wire.only().text(ToClient), "yes");
}

#[test]
fn of_two_answers_the_acknowledged_one_counts() {
    for (first, second) in [(5000, 90_000), (90_000, 5000), (5000, 3_000_000_000), (5000, 5001)] {
        for taken in [first, second] {
            let mut wire = Wire::new(Config::default());
            wire.c(frame(SYN, 1000));
            wire.s(Frame { ack: 1001, ..frame(SYN | ACK, first) });
            wire.s(Frame { ack: 1001, ..frame(SYN | ACK, second) });
            wire.c(data(1001, taken + 1, "ask"));
            wire.s(data(taken + 1, 1004, "answer"));
            wire.flush();
            assert_eq!(
                (wire.said().as_str(), wire.only().text(ToClient).as_str()),
                ("ask", "answer"),
                "{first} {second}"
            );
            assert_eq!(wire.only().gaps(ToClient), []);
        }
    }
    // With data the question is settled.
    let mut wire = Wire::open(Config::default());
    wire.s(data(5001, 1001, "answer"));
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 90_000) });
    wire.c(data(1001, 90_001, "?"));
    wire.s(data(5007, 1002, " goes on"));
    wire.flush();
    assert_eq!(wire.only().text(ToClient), "answer goes on");
}

#[test]
fn one_side_alone() {
    let mut wire = Wire::new(Config::default());
    wire.s(Frame { ack: 1001, ..frame(SYN | ACK, 5000) });
    wire.s(data(5001, 1020, "only "));
    wire.s(Frame { flags: ACK | FIN, ..data(5006, 1020, "us") });
    wire.wait(1);
    let seen = wire.only();
    assert_eq!((seen.text(ToClient).as_str(), seen.states[0].packets), ("only us", 0));
    assert_eq!(
        seen.states[0].length.0, 18,
        "the other side's acknowledgements tell how much there was, and perhaps a FIN"
    );
    wire.wait(61);
    assert_eq!((wire.only().ended, wire.only().states[0].length.0), (Some(Reason::TimeCutoff), 19));
    assert_eq!(wire.table.counters().streams, 1);
}

#[test]
fn a_full_table_gives_up_the_longest_silent() {
    let mut wire = Wire::new(Config { max_connections: 3, ..Config::default() });
    for (n, port) in (1..).zip([1, 2, 3, 1, 4, 5]) {
        wire.client = host(1, 40_000 + port);
        wire.c(data(1, 1, "x"));
        if n < 5 {
            wire.wait(1);
        }
        assert!(wire.table.open_connections() <= 3);
    }
    wire.flush();
    assert_eq!(wire.table.counters().evicted_connections, 2);
    let closed: Vec<u16> =
        wire.keeper.seen.iter().filter(|seen| seen.closed).map(|seen| seen.tuple.client.port - 40_000).collect();
    assert_eq!(closed, [2, 3]);
    assert!(wire.keeper.seen.iter().filter(|seen| seen.closed).all(|seen| seen.ended == Some(Reason::TimeCutoff)));
    wire.finish();
}

#[test]
fn a_flood_between_two_flushes_is_bounded() {
    let mut wire = Wire::new(Config { max_connections: 2, ..Config::default() });
    for port in 0..20_000 {
        wire.client = host(3, port);
        wire.c(frame(SYN, 1));
    }
    wire.client = host(3, 19_999);
    wire.c(data(2, 1, "still"));
    wire.flush();
    assert_eq!(wire.keeper.seen.last().unwrap().text(ToServer), "still");
    assert_eq!(wire.table.open_connections(), 2);
    assert_eq!(wire.keeper.seen.iter().map(|seen| seen.checkpoints).max(), Some(1));
}

#[test]
fn checkpoints_come_in_the_order_of_the_first_frames() {
    let mut wire = Wire::new(Config::default());
    let order = [5, 3, 9, 1];
    for round in 0..2 {
        for port in order.iter().copied().chain([3, 5]) {
            wire.client = host(1, 40_000 + port);
            wire.c(data(1 + round, 1, "x"));
        }
        wire.keeper.log.clear();
        wire.flush();
        let said: Vec<&str> = wire
            .keeper
            .log
            .iter()
            .filter_map(|line| line.strip_prefix("checkpoint "))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(said, ["Slot(0)", "Slot(1)", "Slot(2)", "Slot(3)"]);
        wire.flush();
        assert_eq!(wire.keeper.log.iter().filter(|line| line.starts_with("checkpoint")).count(), 4);
    }
}

#[test]
fn paths_keep_networks_apart() {
    let mut wire = Wire::open(Config::default());
    assert!(wire.path.push(Hop { kind: HopKind::Vlan, id: 7 }));
    wire.c(data(1001, 5001, "other"));
    wire.path = Path::EMPTY;
    wire.c(data(1001, 5001, "this"));
    wire.flush();
    let texts: Vec<String> = wire.keeper.seen.iter().map(|seen| seen.text(ToServer)).collect();
    assert_eq!(texts, ["this", "other"]);
}

#[test]
fn wrong_checksums_are_counted_or_refused() {
    let wrong = Frame { checksum_ok: Some(false), ..data(1001, 5001, "abc") };
    let mut wire = Wire::open(Config::default());
    assert!(wire.c(wrong).is_some());
    wire.flush();
    assert_eq!(wire.said(), "abc");
    assert!(wire.only().marks(ToServer).contains(Marks::BAD_CHECKSUM));
    assert_eq!(wire.table.counters().bad_checksums, 1);
    let mut wire = Wire::open(Config { reject_bad_checksums: true, ..Config::default() });
    let calls = wire.keeper.log.len();
    assert_eq!(wire.c(wrong), None);
    assert_eq!(wire.keeper.log.len(), calls);
    assert_eq!((wire.table.counters().bad_checksums, wire.table.counters().payload_captured), (1, 0));
}

#[test]
fn udp_is_a_stream_of_datagrams() {
    let mut wire = Wire::new(Config::default());
    wire.client = host(1, 5353);
    wire.server = host(2, 53);
    assert_eq!(wire.udp(false, "ab", 0), Some((Slot(0), ToClient)), "port 53 is the server's");
    wire.udp(true, "", 0);
    wire.udp(true, "cd", 3);
    wire.udp(true, "ef", 0);
    wire.udp(true, "", 2);
    wire.flush();
    let seen = wire.only();
    let datagrams: Vec<(Direction, u64, &[u8], u32)> =
        seen.datagrams.iter().map(|(direction, at, bytes, len)| (*direction, *at, &bytes[..], *len)).collect();
    assert_eq!(
        datagrams,
        [
            (ToClient, 0, &b"ab"[..], 2),
            (ToServer, 0, b"", 0),
            (ToServer, 0, b"cd", 5),
            (ToServer, 5, b"ef", 2),
            (ToServer, 7, b"", 2)
        ]
    );
    assert_eq!(seen.gaps(ToServer).iter().map(|gap| (gap.0, gap.1)).collect::<Vec<_>>(), [(2, 3), (7, 2)]);
    assert_eq!(seen.states[0].length.0, 9);
    assert!(wire.placed(1) && !wire.placed(2) && wire.placed(3) && wire.placed(4));
    wire.wait(61);
    assert_eq!((wire.only().ended, wire.only().closed), (Some(Reason::TimeCutoff), true));
    assert_eq!(wire.table.counters().gap_snaplen, 5);
}

#[test]
fn an_end_that_talks_to_itself() {
    let mut wire = Wire::new(Config::default());
    wire.server = wire.client;
    for flags in [SYN, SYN | ACK, ACK, ACK | FIN, RST, SYN | FIN | RST | ACK, SYN | FIN] {
        wire.c(Frame { text: "x", ack: 1, ..frame(flags, 9) });
    }
    wire.flush();
    wire.table.tick(Timestamp(i64::MIN), &mut wire.keeper);
    wire.table.tick(Timestamp(i64::MAX), &mut wire.keeper);
    wire.finish();
}
