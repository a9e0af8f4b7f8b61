//! What an object is, apart from where it comes from: few distinct ones among many objects.

use streamdb_types::{ObjectKind, ObjectRow};

use crate::format::bytes::{Reader, Short, put_varint};

/// What of an object many have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// What it is to its connection.
    pub kind: ObjectKind,
    /// The status code.
    pub status: Option<u16>,
    /// Whether all of it is there.
    pub complete: bool,
    /// Whether other bytes were captured too.
    pub conflict: bool,
    /// The media type that its sender declared.
    pub declared_type: Option<String>,
    /// The MIME type by content.
    pub mime: String,
    /// What it is.
    pub description: String,
    /// The same in the wording of 2012.
    pub legacy: String,
}

const COMPLETE: u8 = 1;
const CONFLICT: u8 = 2;
const STATUS: u8 = 4;
const DECLARED: u8 = 8;
const LEGACY: u8 = 16;

impl Class {
    /// That of a row, as bytes.
    pub(super) fn encode(row: &ObjectRow) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut out = vec![
            row.kind as u8,
            flag(row.complete, COMPLETE)
                | flag(row.conflict, CONFLICT)
                | flag(row.status.is_some(), STATUS)
                | flag(row.declared_type.is_some(), DECLARED)
                | flag(row.legacy != row.description, LEGACY),
        ];
        if let Some(status) = row.status {
            put_varint(&mut out, status.into());
        }
        let legacy = (row.legacy != row.description).then_some(&row.legacy);
        let texts = [row.declared_type.as_ref(), Some(&row.mime), Some(&row.description), legacy];
        for text in texts.into_iter().flatten() {
            put_varint(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Of such bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Short> {
        let mut r = Reader(bytes);
        let kind = ObjectKind::ALL.get(usize::from(r.u8()?)).copied().ok_or(Short)?;
        let flags = r.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let status = if has(STATUS) { Some(u16::try_from(r.varint()?).map_err(|_| Short)?) } else { None };
        let mut text = || -> Result<String, Short> {
            let len = usize::try_from(r.varint()?).map_err(|_| Short)?;
            std::str::from_utf8(r.take(len)?).map(str::to_owned).map_err(|_| Short)
        };
        let declared_type = if has(DECLARED) { Some(text()?) } else { None };
        let (mime, description) = (text()?, text()?);
        let legacy = if has(LEGACY) { text()? } else { description.clone() };
        Ok(Self {
            kind,
            status,
            complete: has(COMPLETE),
            conflict: has(CONFLICT),
            declared_type,
            mime,
            description,
            legacy,
        })
    }
}
