//! An object as a row: what JSON shows of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use serde::Serialize;
use streamdb_storage::Verdicts;
use streamdb_types::{Direction, ObjectRow, Timestamp};
use utoipa::ToSchema;

use crate::loss::LossLine;
use crate::row::as_text;

/// What is shown of an object. Source is the side that opened the connection, whichever way the bytes go; what is absent is
/// left out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ObjectLine<'r> {
    /// Its name.
    #[schema(pattern = "^[0-9]+-[0-9]+-[0-9]+-[0-9]+$")]
    pub oid: String,
    /// When its stream began: RFC 3339, UTC, nanoseconds.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
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
    /// `c`: to the client; `s`: to the server.
    #[schema(value_type = String, pattern = "^[cs]$")]
    pub direction: char,
    /// `http`, or `tcp` and `udp` where no protocol in them is known.
    pub protocol: String,
    /// `request`, `response`, `part`, `file` or `stream`.
    #[schema(pattern = "^(request|response|part|file|stream)$")]
    pub kind: &'static str,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'r str>,
    /// Whom the request was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'r str>,
    /// The request target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<&'r str>,
    /// The status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The media type that its sender declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_type: Option<&'r str>,
    /// The MIME type by content.
    pub mime: &'r str,
    /// What it is.
    pub description: &'r str,
    /// What it is, as the StreamDB of 2012 said it.
    pub legacy: &'r str,
    /// What more is known of it: values by their names, as `imphash`, `subsystem`, `signed` or `deviation`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<&'r str, Vec<&'r str>>,
    /// The key of an executable found under XOR, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xor_key: Option<String>,
    /// The name that its sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<&'r str>,
    /// Bytes of the content, holes included.
    pub size: u64,
    /// Bytes as sent, holes included.
    pub encoded_size: u64,
    /// Whether every byte that was sent is here, and decodes.
    pub complete: bool,
    /// Bytes as sent that are known to be missing.
    pub missing_bytes: u64,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'r str>,
    /// Whether other bytes than these were captured too, for some place of its stream; left out when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// Of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub md5: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{40}$")]
    pub sha1: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
    /// Of the bytes as sent, where a content coding makes them differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub md5_encoded: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256_encoded: Option<String>,
    /// What scanners found in the content: who, a colon, and the rule, the signature or the list; left out when nothing was found,
    /// or nobody has looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<String>,
    /// What was lost in the time of its connection; left out when that is nothing, or nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossLine>,
}

impl<'r> ObjectLine<'r> {
    /// The row of an object.
    pub fn of(row: &'r ObjectRow) -> Self {
        let (client, server) = (row.tuple.client, row.tuple.server);
        Self {
            oid: row.oid.to_string(),
            start: row.start,
            src_ip: client.addr,
            src_port: client.port,
            dst_ip: server.addr,
            dst_port: server.port,
            direction: Direction::letter(row.direction),
            protocol: if row.protocol.is_empty() { row.tuple.protocol.to_string() } else { row.protocol.clone() },
            kind: row.kind.word(),
            method: row.method.as_deref(),
            host: row.host.as_deref(),
            uri: row.uri.as_deref(),
            status: row.status,
            declared_type: row.declared_type.as_deref(),
            mime: &row.mime,
            description: &row.description,
            legacy: &row.legacy,
            facts: facts(row),
            xor_key: row.xor_key.as_deref().map(hex),
            filename: row.filename.as_deref(),
            size: row.size,
            encoded_size: row.encoded_size,
            complete: row.complete,
            missing_bytes: row.missing_bytes,
            reason: row.reason.as_deref(),
            conflict: row.conflict,
            md5: row.digests.map(|digests| hex(&digests.md5)),
            sha1: row.digests.map(|digests| hex(&digests.sha1)),
            sha256: row.digests.map(|digests| hex(&digests.sha256)),
            md5_encoded: row.digests_encoded.map(|digests| hex(&digests.md5)),
            sha256_encoded: row.digests_encoded.map(|digests| hex(&digests.sha256)),
            verdicts: Vec::new(),
            loss: None,
        }
    }

    /// The same, with what scanners found in it.
    pub fn with_verdicts(row: &'r ObjectRow, verdicts: &Verdicts) -> Self {
        let found = row.digests.map(|digests| verdicts.of(&digests.sha256)).unwrap_or_default();
        Self { verdicts: found.iter().map(ToString::to_string).collect(), ..Self::of(row) }
    }
}

fn facts(row: &ObjectRow) -> BTreeMap<&str, Vec<&str>> {
    let mut facts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in row.each_fact() {
        facts.entry(name).or_default().push(value);
    }
    facts
}

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
