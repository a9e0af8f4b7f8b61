//! The rows of one connection as bytes: what all have in common once, then each.

use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Digests, Direction, ObjectKind, ObjectRow, Oid, StreamOffset, Timestamp, Tuple,
};

use crate::format::bytes::{Reader, Short, put_varint, put_zigzag};
use crate::format::record::{put_tuple, tuple};

/// Which optional fields a row has.
mod has {
    pub(super) const METHOD: u64 = 1;
    pub(super) const HOST: u64 = 1 << 1;
    pub(super) const URI: u64 = 1 << 2;
    pub(super) const STATUS: u64 = 1 << 3;
    pub(super) const DECLARED: u64 = 1 << 4;
    pub(super) const XOR: u64 = 1 << 5;
    pub(super) const FILENAME: u64 = 1 << 6;
    pub(super) const REASON: u64 = 1 << 7;
    pub(super) const DIGESTS: u64 = 1 << 8;
    pub(super) const ENCODED: u64 = 1 << 9;
    pub(super) const COMPLETE: u64 = 1 << 10;
    pub(super) const LEGACY: u64 = 1 << 11;
    pub(super) const TO_CLIENT: u64 = 1 << 12;
    pub(super) const CONFLICT: u64 = 1 << 13;
    pub(super) const FACTS: u64 = 1 << 14;
}

/// The rows of a connection, which all have this key.
pub(super) fn encode(key: ConnKey, tuple: &Tuple, rows: &[ObjectRow]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, key.bucket.0);
    put_varint(&mut out, key.number.into());
    put_tuple(&mut out, tuple);
    put_varint(&mut out, rows.len() as u64);
    for row in rows {
        put_row(&mut out, row);
    }
    out
}

/// The key alone: whose rows these are.
pub(super) fn key(bytes: &[u8]) -> Result<ConnKey, Short> {
    read_key(&mut Reader(bytes))
}

/// What [`encode`] was given.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<ObjectRow>, Short> {
    let mut r = Reader(bytes);
    let key = read_key(&mut r)?;
    let tuple = tuple(&mut r)?;
    let rows = r.varint()?;
    // A row takes more than one byte, so that a number that lies costs no memory.
    if rows > r.0.len() as u64 {
        return Err(Short);
    }
    (0..rows).map(|_| read_row(&mut r, key, tuple)).collect()
}

fn read_key(r: &mut Reader<'_>) -> Result<ConnKey, Short> {
    Ok(ConnKey { bucket: BucketId(r.varint()?), number: r.varint_u32()? })
}

fn put_row(out: &mut Vec<u8>, row: &ObjectRow) {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    let flags = flag(row.method.is_some(), has::METHOD)
        | flag(row.host.is_some(), has::HOST)
        | flag(row.uri.is_some(), has::URI)
        | flag(row.status.is_some(), has::STATUS)
        | flag(row.declared_type.is_some(), has::DECLARED)
        | flag(row.xor_key.is_some(), has::XOR)
        | flag(row.filename.is_some(), has::FILENAME)
        | flag(row.reason.is_some(), has::REASON)
        | flag(row.digests.is_some(), has::DIGESTS)
        | flag(row.digests_encoded.is_some(), has::ENCODED)
        | flag(row.complete, has::COMPLETE)
        | flag(row.legacy != row.description, has::LEGACY)
        | flag(row.direction == Direction::ToClient, has::TO_CLIENT)
        | flag(row.conflict, has::CONFLICT)
        | flag(!row.facts.is_empty(), has::FACTS);
    put_varint(out, flags);
    for n in [row.oid.bucket.0, row.oid.place.0, row.oid.length, row.oid.index, row.begins.0, row.kind as u64] {
        put_varint(out, n);
    }
    put_zigzag(out, row.start.0);
    for n in [row.size, row.encoded_size, row.missing_bytes] {
        put_varint(out, n);
    }
    if let Some(status) = row.status {
        put_varint(out, status.into());
    }
    put_bytes(out, row.protocol.as_bytes());
    put_bytes(out, row.mime.as_bytes());
    put_bytes(out, row.description.as_bytes());
    if row.legacy != row.description {
        put_bytes(out, row.legacy.as_bytes());
    }
    if !row.facts.is_empty() {
        put_bytes(out, row.facts.as_bytes());
    }
    for text in [&row.method, &row.host, &row.uri, &row.declared_type, &row.filename, &row.reason].into_iter().flatten()
    {
        put_bytes(out, text.as_bytes());
    }
    if let Some(key) = &row.xor_key {
        put_bytes(out, key);
    }
    for digests in [&row.digests, &row.digests_encoded].into_iter().flatten() {
        out.extend(digests.md5);
        out.extend(digests.sha1);
        out.extend(digests.sha256);
    }
}

fn read_row(r: &mut Reader<'_>, key: ConnKey, tuple: Tuple) -> Result<ObjectRow, Short> {
    let flags = r.varint()?;
    let has = |flag: u64| flags & flag != 0;
    let oid =
        Oid { bucket: BucketId(r.varint()?), place: BlockPlace(r.varint()?), length: r.varint()?, index: r.varint()? };
    let begins = StreamOffset(r.varint()?);
    let kind = usize::try_from(r.varint()?).ok().and_then(|kind| ObjectKind::ALL.get(kind)).copied().ok_or(Short)?;
    let start = Timestamp(r.zigzag()?);
    let (size, encoded_size, missing_bytes) = (r.varint()?, r.varint()?, r.varint()?);
    let status = match has(has::STATUS) {
        true => Some(u16::try_from(r.varint()?).map_err(|_| Short)?),
        false => None,
    };
    let (protocol, mime, description) = (text(r)?, text(r)?, text(r)?);
    let legacy = if has(has::LEGACY) { text(r)? } else { description.clone() };
    let facts = if has(has::FACTS) { text(r)? } else { String::new() };
    let mut optional = |flag: u64| if has(flag) { text(r).map(Some) } else { Ok(None) };
    let (method, host, uri) = (optional(has::METHOD)?, optional(has::HOST)?, optional(has::URI)?);
    let (declared_type, filename, reason) =
        (optional(has::DECLARED)?, optional(has::FILENAME)?, optional(has::REASON)?);
    let xor_key = if has(has::XOR) { Some(bytes(r)?.to_vec()) } else { None };
    let digests = if has(has::DIGESTS) { Some(read_digests(r)?) } else { None };
    let digests_encoded = if has(has::ENCODED) { Some(read_digests(r)?) } else { None };
    Ok(ObjectRow {
        oid,
        key,
        direction: if has(has::TO_CLIENT) { Direction::ToClient } else { Direction::ToServer },
        begins,
        tuple,
        start,
        kind,
        protocol,
        method,
        host,
        uri,
        status,
        declared_type,
        mime,
        description,
        legacy,
        facts,
        xor_key,
        filename,
        size,
        encoded_size,
        complete: has(has::COMPLETE),
        missing_bytes,
        reason,
        conflict: has(has::CONFLICT),
        digests,
        digests_encoded,
    })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn bytes<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let length = usize::try_from(r.varint()?).map_err(|_| Short)?;
    r.take(length)
}

fn text(r: &mut Reader<'_>) -> Result<String, Short> {
    std::str::from_utf8(bytes(r)?).map(str::to_owned).map_err(|_| Short)
}

fn read_digests(r: &mut Reader<'_>) -> Result<Digests, Short> {
    Ok(Digests { md5: r.array()?, sha1: r.array()?, sha256: r.array()? })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use streamdb_types::{Endpoint, Protocol};

    pub(in crate::derived) fn tuple() -> Tuple {
        Tuple {
            protocol: Protocol::TCP,
            client: Endpoint::new("2001:db8::5".parse().unwrap(), 49211),
            server: Endpoint::new("2001:db8::9".parse().unwrap(), 80),
        }
    }

    pub(in crate::derived) fn row(key: ConnKey, uri: &str) -> ObjectRow {
        ObjectRow {
            oid: "18043-3966843079-22968-4294967296".parse().unwrap(),
            key,
            direction: Direction::ToClient,
            begins: StreamOffset(700),
            tuple: tuple(),
            start: Timestamp::new(1_330_674_711, 5),
            kind: ObjectKind::Response,
            protocol: "http".into(),
            method: Some("GET".into()),
            host: Some("a.example".into()),
            uri: Some(uri.into()),
            status: Some(200),
            declared_type: None,
            mime: "application/octet-stream".into(),
            description: "data".into(),
            legacy: "data".into(),
            facts: String::new(),
            xor_key: Some(vec![1, 2]),
            filename: None,
            size: 22528,
            encoded_size: 22528,
            complete: true,
            missing_bytes: 0,
            reason: None,
            conflict: false,
            digests: Some(Digests { md5: [1; 16], sha1: [2; 20], sha256: [3; 32] }),
            digests_encoded: None,
        }
    }

    fn texts() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("\\PC{0,20}")
    }

    prop_compose! {
        fn rows()(
            (method, host, uri) in (texts(), texts(), texts()),
            (declared_type, filename, reason) in (texts(), texts(), texts()),
            (description, legacy, facts) in ("\\PC{0,20}", "\\PC{0,20}", "(name: \\PC{1,20}\n){0,3}"),
            (status, complete, to_client, same, conflict) in any::<(Option<u16>, bool, bool, bool, bool)>(),
            (size, missing_bytes, start, begins) in (any::<u64>(), any::<u64>(), any::<i64>(), any::<u64>()),
            (plain, coded, xor) in (any::<bool>(), any::<bool>(), proptest::option::of(any::<[u8; 3]>())),
            kind in 0..5usize,
        ) -> ObjectRow {
            let base = row(ConnKey { bucket: BucketId(7), number: 9 }, "/");
            let digests = Digests { md5: [4; 16], sha1: [5; 20], sha256: [6; 32] };
            ObjectRow {
                method, host, uri, declared_type, filename, reason, status, complete, conflict, size, missing_bytes,
                legacy: if same { description.clone() } else { legacy },
                facts,
                description,
                direction: if to_client { Direction::ToClient } else { Direction::ToServer },
                start: Timestamp(start),
                begins: StreamOffset(begins),
                kind: ObjectKind::ALL[kind],
                xor_key: xor.map(|key| key.to_vec()),
                digests: plain.then_some(digests),
                digests_encoded: coded.then_some(digests),
                ..base
            }
        }
    }

    proptest! {
        #[test]
        fn rows_go_there_and_back(rows in proptest::collection::vec(rows(), 0..5)) {
            let at = ConnKey { bucket: BucketId(7), number: 9 };
            let bytes = encode(at, &tuple(), &rows);
            prop_assert_eq!(key(&bytes), Ok(at));
            prop_assert_eq!(decode(&bytes), Ok(rows.clone()));
            // Cut anywhere, it is refused, as no row is empty.
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
