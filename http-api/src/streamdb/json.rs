//! A listing as JSON: an array with an entry for each object.

use std::net::IpAddr;

use serde::Serialize;
use streamdb_query::{ObjectLine, Zone, reason_word};

use super::entry::{Connection, Entry, Listing, line};
use super::text::{content, meta_line};

/// Characters of the meta line in a label.
const IN_LABEL: usize = 50;

/// The ancestor's fields, and after them all that is known of the object.
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
    /// When retention dropped a bucket with part of its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
    object: ObjectLine<'l>,
}

pub(super) fn render(listing: &Listing, zone: &Zone) -> Vec<u8> {
    let rows: Vec<Row<'_>> =
        listing.connections.iter().flat_map(|c| c.objects.iter().map(move |object| row(c, object, zone))).collect();
    serde_json::to_vec(&rows).unwrap_or_else(|_| b"[]".to_vec())
}

fn row<'l>(connection: &Connection, object: &'l Entry, zone: &Zone) -> Row<'l> {
    let stream = &object.stream;
    let meta = meta_line(object);
    let of_meta: String = meta.chars().take(IN_LABEL).collect();
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
        label: format!("{} {of_meta}", line(stream, connection.times, zone)),
        meta,
        data: content(object),
        oid: object.row.oid.to_string(),
        complete: object.row.complete,
        missing_bytes: object.row.missing_bytes,
        dropped: object.dropped.map(|time| time.to_string()),
        object: ObjectLine::of(&object.row),
    }
}
