//! A listing as JSON: an array with an entry for each object, and one for each stream in which there is none.

use std::net::IpAddr;

use serde::Serialize;
use streamdb_derive::StreamInfo;
use streamdb_query::{LossLine, ObjectLine, StreamRow, Zone, reason_word};

use super::entry::{Bare, Connection, Entry, Listing, line};
use super::text::{content, meta_line};

/// Characters of the meta line in a label.
const IN_LABEL: usize = 50;

/// Most holes of an object.
const HOLES: usize = 1000;

/// The ancestor's fields, and after them all that is known of the object; or, where there is none, of the stream, whose oid it
/// then is, and why it could not be taken apart, if that is so.
#[derive(Serialize)]
struct Row<'l> {
    start: String,
    srcip: IpAddr,
    srcport: u16,
    dstip: IpAddr,
    dstport: u16,
    /// Seconds.
    duration: i64,
    length: u64,
    direction: char,
    reason: &'static str,
    meta: String,
    data: String,
    label: String,
    oid: String,
    complete: bool,
    missing_bytes: u64,
    /// Where the holes are in its bytes as sent, framing included: the first byte that is missing, and the first after it that is
    /// not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holes: Vec<(u64, u64)>,
    /// When retention dropped a bucket with part of its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
    /// What was lost in the time of its connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<LossLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectLine<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'l str>,
}

pub(super) fn render(listing: &Listing, zone: &Zone) -> Vec<u8> {
    let rows: Vec<Row<'_>> = listing.connections.iter().flat_map(|connection| rows(connection, zone)).collect();
    serde_json::to_vec(&rows).unwrap_or_else(|_| b"[]".to_vec())
}

fn rows<'l>(connection: &'l Connection, zone: &'l Zone) -> impl Iterator<Item = Row<'l>> {
    let objects = connection.objects.iter().map(move |object| of_object(connection, object, zone));
    objects.chain(connection.bare.iter().map(move |bare| of_stream(connection, bare, zone)))
}

fn of_object<'l>(connection: &Connection, object: &'l Entry, zone: &Zone) -> Row<'l> {
    let meta = meta_line(object);
    let of_meta: String = meta.chars().take(IN_LABEL).collect();
    let row = of_connection(connection, &object.stream, zone);
    Row {
        label: format!("{} {of_meta}", row.label),
        meta,
        data: content(object),
        oid: object.row.oid.to_string(),
        complete: object.row.complete,
        missing_bytes: object.row.missing_bytes,
        holes: object.extent.holes.iter().take(HOLES).map(|hole| (hole.start, hole.end)).collect(),
        dropped: object.dropped.map(|time| time.to_string()),
        object: Some(ObjectLine { verdicts: object.verdicts.clone(), ..ObjectLine::of(&object.row) }),
        ..row
    }
}

fn of_stream<'l>(connection: &'l Connection, bare: &Bare, zone: &Zone) -> Row<'l> {
    Row {
        complete: bare.complete,
        stream: Some(StreamRow::of(&bare.stream)),
        trouble: connection.trouble.as_deref(),
        ..of_connection(connection, &bare.stream, zone)
    }
}

/// What the line of a connection says of one of its streams.
fn of_connection<'l>(connection: &Connection, stream: &StreamInfo, zone: &Zone) -> Row<'l> {
    Row {
        start: zone.date(connection.times.0),
        srcip: stream.tuple.client.addr,
        srcport: stream.tuple.client.port,
        dstip: stream.tuple.server.addr,
        dstport: stream.tuple.server.port,
        duration: connection.seconds(),
        length: stream.length.0,
        direction: stream.direction.letter(),
        reason: reason_word(stream.reason),
        meta: String::new(),
        data: String::new(),
        label: line(stream, connection.times, zone),
        oid: stream.oid.to_string(),
        complete: false,
        missing_bytes: stream.gap_bytes,
        holes: Vec::new(),
        dropped: None,
        loss: connection.loss.as_ref().map(LossLine::of),
        object: None,
        stream: None,
        trouble: None,
    }
}
