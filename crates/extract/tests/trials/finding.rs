//! All that is found in connections and called whole: bodies, their parts, what lies inside streams, files of FTP.

use std::ops::ControlFlow;

use streamdb_extract::{
    Address, BodyLimits, Decode, Incomplete, Kind, Limits, MemorySource, Message, MessageIndex, Part, Piece, Side,
    Source, Transfer, body, counted, inside, messages, multipart, part_body,
};
use streamdb_types::{Direction, StreamOffset};

use super::common::collect;
use super::path::Connection;

/// The contents that are called whole, empty ones aside.
pub fn whole_objects(connections: &[Connection]) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut transfers: Vec<(u16, Transfer)> = Vec::new();
    // Streams of which nothing is known, with the ports of their connection.
    let mut unknown: Vec<(u16, Vec<u8>, bool)> = Vec::new();
    for connection in connections {
        let [to_server, to_client] = &connection.streams;
        let limits = Limits::default();
        let found = messages(to_server, to_client, &limits);
        let answer = inside(&found, [to_server, to_client], &limits);
        for direction in Direction::BOTH {
            let source = direction.of(&connection.streams);
            let known: Option<MessageIndex> = answer.as_ref().and_then(|(which, _)| *direction.of(which));
            for message in found.of(direction) {
                let (content, outcome) = collect(message, source, Decode::Decoded);
                if message.kind != Kind::Stream {
                    if outcome.complete {
                        whole.push(content.clone());
                    }
                    whole.extend(parts_of(message, source, outcome.complete));
                } else if known != Some(message.index) {
                    unknown.push((connection.ports[1], content, outcome.complete));
                }
            }
            let (Some(index), Some((_, inside))) = (known, &answer) else { continue };
            let message = &found.of(direction)[index.0 as usize];
            for part in direction.of(&inside.parts) {
                let (content, complete) = content(part, message, source);
                if complete {
                    whole.push(content);
                }
            }
        }
        if let Some((_, inside)) = answer {
            transfers.extend(inside.transfers.into_iter().map(|transfer| (connection.ports[1], transfer)));
        }
    }
    // A file of FTP is whole when its connection is, and the server does not say otherwise.
    for (_, transfer) in &transfers {
        assert_eq!(transfer.listener, Side::Server);
        let port = match transfer.address {
            Address::Told(address) => address.port(),
            Address::OfServer(port) => port,
        };
        let is_whole = |content: &[u8]| transfer.incomplete(content.len() as u64).is_none();
        let file = unknown.iter().filter(|(at, content, complete)| *at == port && *complete && is_whole(content));
        whole.extend(file.map(|(_, content, _)| content.clone()));
    }
    whole.retain(|content| !content.is_empty());
    whole
}

/// What lies inside a message's stream.
fn content(part: &Part, message: &Message, source: &MemorySource) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    let outcome = part_body(
        part,
        Decode::Decoded,
        &BodyLimits::default(),
        None,
        &mut |take| {
            body(message, source, Decode::Raw, &BodyLimits::default(), &mut counted(take));
        },
        &mut |piece| {
            if let Piece::Bytes(bytes) = piece {
                content.extend_from_slice(bytes);
            }
            ControlFlow::Continue(())
        },
    );
    (content, outcome.complete)
}

/// The parts of a body of several that are called whole.
fn parts_of(message: &Message, source: &dyn Source, complete: bool) -> Vec<Vec<u8>> {
    let Some(mut scan) = message.fields.get("content-type").and_then(multipart) else { return Vec::new() };
    let mut all = Vec::new();
    body(message, source, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        match &piece {
            Piece::Bytes(bytes) => all.extend_from_slice(bytes),
            Piece::Hole(gap) => all.extend(std::iter::repeat_n(b'?', gap.length as usize)),
        }
        scan.push(piece);
        ControlFlow::Continue(())
    });
    let parts = scan.finish((!complete).then_some(Incomplete::Open));
    let whole = parts.into_iter().filter(|part| part.incomplete.is_none());
    let bytes = |part: Part| {
        part.content.iter().flat_map(|range| all[range.start as usize..range.end as usize].to_vec()).collect()
    };
    whole.map(bytes).collect()
}

/// Where nothing was, there is nothing.
#[test]
fn nothing_is_found_in_nothing() {
    let streams = [MemorySource::new(Vec::new()), MemorySource::new(Vec::new())];
    assert_eq!(streams[0].end(), StreamOffset(0));
    assert!(whole_objects(&[Connection { ports: [1, 2], streams }]).is_empty());
}
