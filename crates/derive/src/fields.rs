//! What is known of an object without its content.

use streamdb_extract::{Kind, Message, Part, PartKind};
use streamdb_types::{Marks, ObjectKind, ObjectRow, StreamOffset};

use crate::conversation::Conversation;
use crate::name;
use crate::parts::{Place, is_plain};

/// Most bytes of a text in a row.
const TEXT: usize = 16 << 10;

/// Of a message.
pub(crate) fn blank(conversation: &Conversation, message: &Message) -> Option<ObjectRow> {
    let info = conversation.info(message.direction)?;
    let peer = message.peer.and_then(|peer| {
        let others = conversation.messages().of(message.direction.flip());
        others.get(usize::try_from(peer.0).ok()?)
    });
    let request = [Some(message), peer].into_iter().flatten().find_map(|message| match &message.kind {
        Kind::Request { method, target, .. } => Some((text(method), text(target))),
        _ => None,
    });
    let status = [Some(message), peer].into_iter().flatten().find_map(|message| match message.kind {
        Kind::Response { status, .. } => Some(status),
        _ => None,
    });
    let kind = match message.kind {
        Kind::Request { .. } => ObjectKind::Request,
        Kind::Response { .. } => ObjectKind::Response,
        Kind::Stream => ObjectKind::Stream,
    };
    let is_http = kind != ObjectKind::Stream;
    let (method, uri) = request.unzip();
    let given = message.fields.get("content-disposition").and_then(name::disposition);
    // An answer is named by what was asked for, and what is put somewhere by where it is put.
    let named = kind == ObjectKind::Response || (is_http && method.as_deref() == Some("PUT"));
    let asked = || uri.as_deref().filter(|_| named).and_then(|uri| name::target(uri.as_bytes()));
    Some(ObjectRow {
        oid: conversation.oid(message)?,
        key: info.key,
        direction: message.direction,
        begins: conversation.begins(message),
        tuple: info.tuple,
        start: info.first,
        kind,
        protocol: if is_http { "http".to_owned() } else { String::new() },
        filename: given.or_else(asked),
        method: method.filter(|_| is_http),
        uri: uri.filter(|_| is_http),
        host: message.host.as_deref().map(text),
        status: status.filter(|_| is_http),
        declared_type: message.content_type().map(text),
        mime: String::new(),
        description: String::new(),
        legacy: String::new(),
        facts: String::new(),
        xor_key: None,
        size: 0,
        encoded_size: 0,
        complete: false,
        missing_bytes: 0,
        reason: None,
        conflict: info.marks.contains(Marks::CONFLICT),
        digests: None,
        digests_encoded: None,
    })
}

/// Of a part of the place whose row is `outer`.
pub(crate) fn of_part(outer: &ObjectRow, place: Place<'_>, part: &Part, index: u64) -> ObjectRow {
    let message = place.message;
    let begins =
        if place.part.is_none() && is_plain(message) { message.body.start.add(part.begins) } else { outer.begins };
    let (kind, named) = match part.kind {
        PartKind::Request => (ObjectKind::Request, part.method.as_deref() == Some(b"PUT")),
        PartKind::Response => (ObjectKind::Response, true),
        PartKind::Part => (ObjectKind::Part, false),
        PartKind::File => (ObjectKind::File, false),
    };
    let given = part.filename.as_deref().and_then(name::clean);
    let asked = || part.target.as_deref().filter(|_| named).and_then(name::target);
    let row = ObjectRow {
        oid: outer.oid.with_index(index),
        begins: begins.max(StreamOffset(outer.begins.0)),
        kind,
        filename: given.or_else(asked),
        declared_type: part.declared_type.as_deref().map(text),
        // What only its own content tells.
        mime: String::new(),
        description: String::new(),
        legacy: String::new(),
        facts: String::new(),
        xor_key: None,
        size: 0,
        encoded_size: 0,
        complete: false,
        missing_bytes: 0,
        reason: None,
        digests: None,
        digests_encoded: None,
        ..outer.clone()
    };
    // What has no protocol of its own came with what its message was asked for.
    if part.protocol.is_empty() {
        return row;
    }
    ObjectRow {
        protocol: part.protocol.to_owned(),
        method: part.method.as_deref().map(text),
        uri: part.target.as_deref().map(text),
        host: part.host.as_deref().map(text),
        status: part.status,
        ..row
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    let cut = bytes.get(..TEXT).unwrap_or(bytes);
    String::from_utf8_lossy(cut).into_owned()
}
