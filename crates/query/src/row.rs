//! A stream as a row: what JSON shows of it.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{Direction, Marks, Reason, Timestamp};
use utoipa::ToSchema;

use crate::community::community_id;
use crate::loss::LossLine;

/// What is shown of a stream. Source is the side that opened the connection, whichever way the bytes go; what is absent is
/// left out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StreamRow {
    /// Its name.
    #[schema(pattern = "^[0-9]+-[0-9]+-[0-9]+-[0-9]+$")]
    pub oid: String,
    /// The name of the other direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]+-[0-9]+-[0-9]+-[0-9]+$")]
    pub peer_oid: Option<String>,
    /// The time of its first frame: RFC 3339, UTC, nanoseconds.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// The time of its last frame, likewise.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
    /// From the first frame to the last, in seconds.
    pub duration: f64,
    /// Who opened the connection.
    #[schema(value_type = String)]
    pub src_ip: IpAddr,
    /// Its port.
    pub src_port: u16,
    /// The other side.
    #[schema(value_type = String)]
    pub dst_ip: IpAddr,
    /// Its port.
    pub dst_port: u16,
    /// The outermost VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// `c`: to the client; `s`: to the server.
    #[schema(value_type = String, pattern = "^[cs]$")]
    pub direction: char,
    /// The letter, or `open`.
    #[schema(pattern = "^([crteli]|open)$")]
    pub reason: &'static str,
    /// Bytes, gaps included.
    pub length: u64,
    /// Bytes that are not there.
    pub gap_bytes: u64,
    /// When retention dropped a bucket with a part of it; left out when it did not, or nobody looked.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub dropped: Option<Timestamp>,
    /// Whether other bytes than these were captured too, for some place of it; left out when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// Frames.
    pub packets: u64,
    /// `tcp`, `udp`, or the number.
    pub protocol: String,
    /// Community id v1.
    #[schema(pattern = "^1:[A-Za-z0-9+/]{27}=$")]
    pub community_id: String,
    /// What was lost in its time; left out when that is nothing, or nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossLine>,
}

impl StreamRow {
    /// The row of a stream, with the gaps of all its parts and what was lost in its time. A bucket with an earlier part that cannot be read is left out of it: it
    /// is told of where it is met first.
    pub fn whole(store: &Store, stream: &StreamInfo) -> Self {
        let mut row = Self { loss: LossLine::around(store, stream), ..Self::of(stream) };
        if stream.part > 0
            && let Ok(whole) = store.stream(stream.oid)
        {
            (row.gap_bytes, row.dropped) = (whole.info().gap_bytes, whole.dropped());
        }
        row
    }

    /// The row of a stream, as its newest record has it: of one with several parts the gaps of the last part alone are counted.
    pub fn of(stream: &StreamInfo) -> Self {
        let tuple = &stream.tuple;
        Self {
            oid: stream.oid.to_string(),
            peer_oid: stream.peer.map(|oid| oid.to_string()),
            start: stream.first,
            end: stream.last,
            duration: stream.last.since(stream.first) as f64 / 1e9,
            src_ip: tuple.client.addr,
            src_port: tuple.client.port,
            dst_ip: tuple.server.addr,
            dst_port: tuple.server.port,
            vlan: stream.path.vlan(),
            direction: Direction::letter(stream.direction),
            reason: reason_word(stream.reason),
            length: stream.length.0,
            gap_bytes: stream.gap_bytes,
            dropped: None,
            conflict: stream.marks.contains(Marks::CONFLICT),
            packets: stream.packets,
            protocol: tuple.protocol.to_string(),
            community_id: community_id(tuple),
            loss: None,
        }
    }
}

/// The letter of a reason, or `open`.
pub const fn reason_word(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "open",
        Some(Reason::Fin) => "c",
        Some(Reason::Rst) => "r",
        Some(Reason::SynTimeout) => "t",
        Some(Reason::Exiting) => "e",
        Some(Reason::SizeCutoff) => "l",
        Some(Reason::TimeCutoff) => "i",
    }
}

/// Writes one JSON object and a line end.
///
/// # Errors
/// When the output refuses it.
pub fn json_line(out: &mut dyn Write, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

pub(crate) fn as_text<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

fn as_text_if_any<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => as_text(moment, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use streamdb_types::{BucketId, ConnKey, Endpoint, Hop, HopKind, Marks, Path, Protocol, StreamOffset, Tuple};

    pub(crate) fn stream() -> StreamInfo {
        let mut path = Path::EMPTY;
        assert!(path.push(Hop { kind: HopKind::Vlan, id: 7 }));
        StreamInfo {
            oid: "18043-3966843079-22968-0".parse().unwrap(),
            peer: None,
            key: ConnKey { bucket: BucketId(18043), number: 3 },
            direction: Direction::ToClient,
            tuple: Tuple {
                protocol: Protocol::TCP,
                client: Endpoint::new("10.0.0.5".parse().unwrap(), 49211),
                server: Endpoint::new("203.0.113.9".parse().unwrap(), 80),
            },
            path,
            first: Timestamp::new(1_330_674_711, 250_000_000),
            last: Timestamp::new(1_330_674_716, 500_000_000),
            length: StreamOffset(22968),
            gap_bytes: 0,
            packets: 20,
            marks: Marks::SYN,
            reason: Some(Reason::TimeCutoff),
            part: 0,
            goes_on: false,
        }
    }

    #[test]
    fn a_row_is_one_line_of_json() {
        let mut out = Vec::new();
        json_line(&mut out, &StreamRow::of(&stream())).unwrap();
        let community = community_id(&stream().tuple);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "{{\"oid\":\"18043-3966843079-22968-0\",\"start\":\"2012-03-02T07:51:51.250000000Z\",\
                 \"end\":\"2012-03-02T07:51:56.500000000Z\",\"duration\":5.25,\"src_ip\":\"10.0.0.5\",\"src_port\":49211,\
                 \"dst_ip\":\"203.0.113.9\",\"dst_port\":80,\"vlan\":7,\"direction\":\"c\",\"reason\":\"i\",\
                 \"length\":22968,\"gap_bytes\":0,\"packets\":20,\"protocol\":\"tcp\",\"community_id\":\"{community}\"}}\n"
            )
        );
    }

    #[test]
    fn the_words_of_reasons_are_their_letters() {
        for reason in Reason::ALL {
            assert_eq!(reason_word(Some(reason)), reason.letter().to_string());
        }
        assert_eq!(reason_word(None), "open");
    }
}
