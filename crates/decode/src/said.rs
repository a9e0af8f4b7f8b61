//! Outcomes as one line each, for the tests beside the code.

use streamdb_types::{LinkType, Timestamp};

use crate::{Config, Content, Decoded, Decoder};

/// As in `vlan 7: tcp 10.0.0.5:49211 > 203.0.113.9:80 "hello"`, with `of N` where bytes are missing.
pub(crate) fn line(frame: &[u8], decoded: &Decoded<'_>) -> String {
    let (kind, src, dst, payload, wire) = match decoded.content {
        Content::Tcp(s) => ("tcp", s.src, s.dst, s.payload, s.wire_len),
        Content::Udp(d) => ("udp", d.src, d.dst, d.payload, d.wire_len),
        Content::Fragment => return format!("{}: fragment", decoded.path),
        Content::Other => return format!("{}: other", decoded.path),
        Content::Malformed => return format!("{}: malformed", decoded.path),
    };
    if decoded.pieces.is_empty() {
        assert_eq!(&frame[decoded.payload_at..][..payload.len()], payload, "where the payload lies");
    }
    let text = String::from_utf8_lossy(payload);
    let missing = if payload.len() as u32 == wire { String::new() } else { format!(" of {wire}") };
    format!("{}: {kind} {src} > {dst} {text:?}{missing}", decoded.path)
}

/// What a decoder says of one whole frame.
pub(crate) fn of(link: LinkType, frame: &[u8]) -> String {
    let mut decoder = Decoder::new(Config::default());
    line(frame, &decoder.decode(link, frame, frame.len() as u32, Timestamp(0), 1))
}

/// The same with checksums looked at, and what they turned out to be.
pub(crate) fn summed(link: LinkType, frame: &[u8]) -> Option<bool> {
    let mut decoder = Decoder::new(Config { verify_checksums: true, ..Config::default() });
    match decoder.decode(link, frame, frame.len() as u32, Timestamp(0), 1).content {
        Content::Tcp(s) => s.checksum_ok,
        Content::Udp(d) => d.checksum_ok,
        other => panic!("no content: {other:?}"),
    }
}

/// What is said of `tcp4("hello")` and `tcp6("hello")` of the frame builder, after this path.
pub(crate) fn hello4(path: &str) -> String {
    format!("{path}: tcp 10.0.0.5:49211 > 203.0.113.9:80 \"hello\"")
}

pub(crate) fn hello6(path: &str) -> String {
    format!("{path}: tcp [fd00::1]:49211 > [fd00::2]:80 \"hello\"")
}
