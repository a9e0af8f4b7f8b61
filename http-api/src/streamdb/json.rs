//! A listing as JSON: an array with an entry for each object.

use std::net::IpAddr;

use serde::Serialize;
use streamdb_query::reason_word;

use super::entry::{Connection, Entry, Listing, date, line};

/// Characters of the meta line in a label.
const IN_LABEL: usize = 50;

/// The ancestor's fields, and after them what it did not have.
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
    meta: &'l str,
    data: &'l str,
    label: String,
    oid: String,
    complete: bool,
    missing_bytes: u64,
}

pub(super) fn render(listing: &Listing) -> Vec<u8> {
    let rows: Vec<Row<'_>> =
        listing.connections.iter().flat_map(|c| c.objects.iter().map(move |object| row(c, object))).collect();
    serde_json::to_vec(&rows).unwrap_or_else(|_| b"[]".to_vec())
}

fn row<'l>(connection: &Connection, object: &'l Entry) -> Row<'l> {
    let (first, last) = connection.times;
    let stream = &object.stream;
    Row {
        start: date(first),
        srcip: stream.tuple.client.addr,
        srcport: stream.tuple.client.port,
        dstip: stream.tuple.server.addr,
        dstport: stream.tuple.server.port,
        duration: last.seconds().saturating_sub(first.seconds()),
        length: stream.length.0,
        direction: stream.direction.letter(),
        reason: reason_word(stream.reason),
        meta: &object.meta,
        data: &object.content,
        label: format!("{} {}", line(stream, connection.times), object.meta.chars().take(IN_LABEL).collect::<String>()),
        oid: object.oid.to_string(),
        complete: object.complete,
        missing_bytes: object.missing,
    }
}
