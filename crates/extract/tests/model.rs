//! Conversations made up from a model must come back as they were made up: the generator is the slow, obvious twin of the
//! framing rules, as it knows what it wrote.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::conversation::{Framing, exchange};
use proptest::prelude::*;
use streamdb_extract::{Decode, Kind, MemorySource, Message, Notes};
use streamdb_types::{Direction, GapKind};

fn cases(few: u32) -> ProptestConfig {
    let times = if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 100 } else { 1 };
    // A case that failed once becomes a sample; no files are written beside the sources.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(few * times) }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn conversations_come_back_as_they_were_made(
        exchanges in prop::collection::vec(exchange(), 1..6),
        last in prop::option::of((prop::collection::vec(any::<u8>(), 0..500), any::<bool>())),
        most in 1usize..100,
    ) {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for exchange in &exchanges {
            exchange.write(&mut to_server, &mut to_client);
        }
        // One more answer, that lasts until the server closes.
        if let Some((content, _)) = &last {
            to_server.extend(b"GET /last HTTP/1.0\r\n\r\n");
            to_client.extend(b"HTTP/1.0 200 OK\r\n\r\n");
            to_client.extend(content);
        }
        let to_server = MemorySource::new(to_server).with_reads_of(most);
        let to_client = MemorySource::new(to_client).with_reads_of(most);
        let found = common::scan(&to_server, &to_client);
        let mut requests = found.of(Direction::ToServer).iter();
        let mut responses = found.of(Direction::ToClient).iter();
        for exchange in &exchanges {
            let request = requests.next().unwrap();
            let Kind::Request { method, target, .. } = &request.kind else { panic!("{request:?}") };
            prop_assert_eq!(method.as_ref(), exchange.method.as_bytes());
            prop_assert_eq!(target.as_ref(), exchange.target.as_bytes());
            prop_assert!(request.is_complete());
            let expected: &[u8] = if exchange.has_request_body() { &exchange.request_body.content } else { b"" };
            let (content, outcome) = common::collect(request, &to_server, Decode::Decoded);
            prop_assert_eq!(&content[..], expected);
            prop_assert!(outcome.complete && outcome.problem.is_none(), "{:?}", outcome);
            for status in exchange.interim.iter().chain([&exchange.status]) {
                let response = responses.next().unwrap();
                let Kind::Response { status: found, .. } = response.kind else { panic!("{response:?}") };
                prop_assert_eq!(found, *status);
                prop_assert_eq!(response.peer, Some(request.index));
                prop_assert_eq!(response.notes, Notes::default());
                prop_assert!(response.is_complete());
                if *status == exchange.status {
                    prop_assert_eq!(request.peer, Some(response.index));
                    let body = &exchange.response_body;
                    let expected: &[u8] = if exchange.has_response_body() { &body.content } else { b"" };
                    let (content, outcome) = common::collect(response, &to_client, Decode::Decoded);
                    prop_assert_eq!(&content[..], expected);
                    prop_assert!(outcome.complete && outcome.problem.is_none(), "{:?}", outcome);
                    if exchange.has_response_body() {
                        let (raw, _) = common::collect(response, &to_client, Decode::Raw);
                        prop_assert_eq!(raw, body.coding.code(&body.content));
                        if let Framing::Chunked { trailers, .. } = &body.framing {
                            prop_assert_eq!(streamdb_extract::trailers(response, &to_client).len(), *trailers);
                        }
                    }
                }
            }
        }
        if let Some((content, _)) = last {
            requests.next().unwrap();
            let response = responses.next().unwrap();
            prop_assert_eq!(common::collect(response, &to_client, Decode::Decoded).0, content);
            prop_assert!(response.is_complete());
        }
        prop_assert!(requests.next().is_none() && responses.next().is_none());
    }

    /// Holes in bodies of known length, or in the data of chunks, change nothing but what is missing.
    #[test]
    fn holes_in_bodies_leave_the_framing_alone(
        exchanges in prop::collection::vec(exchange(), 1..5),
        at in any::<prop::sample::Index>(),
        start in any::<prop::sample::Index>(),
        length in 1u64..100,
    ) {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for exchange in &exchanges {
            exchange.write(&mut to_server, &mut to_client);
        }
        let (to_server, whole) = (MemorySource::new(to_server), MemorySource::new(to_client));
        let before = common::scan(&to_server, &whole);
        let responses = before.of(Direction::ToClient);
        let of_known_length = |m: &&Message| matches!(m.framing, streamdb_extract::Framing::Length(_));
        let candidates: Vec<&Message> = responses.iter().filter(of_known_length).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let chosen = *at.get(&candidates);
        let offset = chosen.body.start.0 + start.index(chosen.body.len() as usize) as u64;
        let length = length.min(chosen.body.end.0 - offset);
        let holed = whole.clone().with_gap(offset, length, GapKind::SnapLength);
        let after = common::scan(&to_server, &holed);
        for (a, b) in before.of(Direction::ToClient).iter().zip(after.of(Direction::ToClient)) {
            if a.index == chosen.index {
                prop_assert_eq!(b.missing, length);
                prop_assert_eq!(b.incomplete, Some(streamdb_extract::Incomplete::Gap(GapKind::SnapLength)));
                prop_assert_eq!((a.span, a.body, &a.kind, a.peer), (b.span, b.body, &b.kind, b.peer));
            } else {
                prop_assert_eq!(a, b);
            }
        }
    }
}
