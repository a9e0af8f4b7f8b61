//! Facts of zip archives and of what is made of one: the listing, the main class of a JAR, and what an office document
//! (ECMA-376) brings with it or fetches from elsewhere.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::Facts;
use crate::bytes::{find, first, from, le16, le32, place};

/// The most members that are looked at.
const MEMBERS: usize = 4096;
/// The most members whose names are told.
const NAMES: usize = 64;
/// The most members that are unpacked, and how many bytes of each.
const UNPACKED: usize = 32;
const UNPACKED_BYTES: u64 = 128 << 10;
/// The most targets outside that are told, of each of the two sorts.
const TARGETS: usize = 32;

/// One member, as the directory or its own header has it.
struct Member<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    /// What is packed, as far as it is at hand and its length known.
    packed: &'a [u8],
}

pub(super) fn look(content: &[u8], facts: &mut Facts) {
    let directory = directory(content);
    let (members, complete) = match &directory {
        Some(members) => (members, true),
        None => (&local(content), false),
    };
    if complete {
        facts.say("members", members.len());
    }
    let encrypted = members.iter().any(|member| member.flags & 1 != 0);
    if encrypted || complete {
        facts.say("encrypted", if encrypted { "yes" } else { "no" });
    }
    if members.iter().any(|member| member.name.ends_with(b"vbaProject.bin")) {
        facts.say("macros", "yes");
    }
    for member in members {
        let name = member.name;
        if find(name, b"/embeddings/").is_some() || find(name, b"/activeX/").is_some() && name.ends_with(b".bin") {
            facts.quote("embedded", name);
        }
    }
    let wanted = |member: &&Member<'_>| member.name == b"META-INF/MANIFEST.MF" || member.name.ends_with(b".rels");
    for member in members.iter().filter(wanted).take(UNPACKED) {
        let body = member.unpack();
        if member.name.ends_with(b".rels") {
            relations(&body, facts);
        } else {
            manifest(&body, facts);
        }
    }
    for member in members.iter().take(NAMES) {
        facts.quote("member", member.name);
    }
}

/// The members by the directory at the end, if all of it is at hand.
fn directory(content: &[u8]) -> Option<Vec<Member<'_>>> {
    let end = memchr::memmem::rfind(content, b"PK\x05\x06")?;
    let (count, size) = (le16(content, end + 10)?, place(le32(content, end + 12)?.into()));
    let at = end.checked_sub(size)?;
    // What was put before the archive moves all places by its length.
    let moved = at.checked_sub(place(le32(content, end + 16)?.into()))?;
    let mut rest = content.get(at..end)?;
    let mut members = Vec::new();
    for _ in 0..usize::from(count).min(MEMBERS) {
        if !rest.starts_with(b"PK\x01\x02") {
            return None;
        }
        let (name, extra, comment) = (le16(rest, 28)?, le16(rest, 30)?, le16(rest, 32)?);
        let header = moved.checked_add(place(le32(rest, 42)?.into())).map_or(&[][..], |at| from(content, at));
        members.push(Member {
            name: rest.get(46..)?.get(..usize::from(name))?,
            flags: le16(rest, 8)?,
            method: le16(rest, 10)?,
            packed: first(behind(header).unwrap_or_default(), place(le32(rest, 20)?.into())),
        });
        rest = from(rest, 46 + usize::from(name) + usize::from(extra) + usize::from(comment));
    }
    Some(members)
}

/// What follows a member's own header.
fn behind(header: &[u8]) -> Option<&[u8]> {
    if !header.starts_with(b"PK\x03\x04") {
        return None;
    }
    header.get(30 + usize::from(le16(header, 26)?) + usize::from(le16(header, 28)?)..)
}

/// The members by their own headers; where one does not say its length, the next is looked for.
fn local(content: &[u8]) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    let mut rest = content.strip_prefix(b"PK00").unwrap_or(content);
    while members.len() < MEMBERS
        && let Some(data) = behind(rest)
    {
        let (flags, method) = (le16(rest, 6).unwrap_or(0), le16(rest, 8).unwrap_or(0));
        let length = le32(rest, 18).unwrap_or(0);
        let name = first(from(rest, 30), le16(rest, 26).unwrap_or(0).into());
        let unknown = flags & 8 != 0 && length == 0 || length == u32::MAX;
        let length = if unknown { find(data, b"PK\x03\x04").unwrap_or(data.len()) } else { place(length.into()) };
        members.push(Member { name, flags, method, packed: first(data, length) });
        rest = from(data, length);
        if rest.starts_with(b"PK\x07\x08") {
            rest = from(rest, 16);
        }
    }
    members
}

impl Member<'_> {
    /// The first bytes of what is inside; nothing of what is encrypted or packed in a way that is rare.
    fn unpack(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self.method {
            _ if self.flags & 1 != 0 => {}
            0 => body.extend_from_slice(first(self.packed, place(UNPACKED_BYTES))),
            // Of what is damaged or cut, what comes before that.
            8 => _ = DeflateDecoder::new(self.packed).take(UNPACKED_BYTES).read_to_end(&mut body),
            _ => {}
        }
        body
    }
}

/// The main class of a JAR (JAR file specification, "Main attributes").
fn manifest(body: &[u8], facts: &mut Facts) {
    for line in body.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some(class) = line.strip_prefix(b"Main-Class:") {
            facts.quote("main class", class.trim_ascii());
            return;
        }
    }
}

/// What the parts of a document point to outside of it (ECMA-376-2 §9.3): each relation with its sort, but hyperlinks, which
/// are followed only by hand, under a name of their own.
fn relations(body: &[u8], facts: &mut Facts) {
    let (mut external, mut links) = (0, 0);
    let mut rest = body;
    while let Some(at) = find(rest, b"<Relationship ") {
        let tag = from(rest, at);
        let Some(end) = memchr::memchr(b'>', tag) else { return };
        rest = from(tag, end);
        let tag = first(tag, end);
        if attribute(tag, b"TargetMode") != Some(b"External") {
            continue;
        }
        let Some(target) = attribute(tag, b"Target") else { continue };
        let sort = attribute(tag, b"Type").and_then(|sort| sort.rsplit(|byte| *byte == b'/').next()).unwrap_or(b"?");
        if sort == b"hyperlink" {
            links += 1;
            if links <= TARGETS {
                facts.quote("link", target);
            }
        } else {
            external += 1;
            if external <= TARGETS {
                facts.quote("external", &[sort, b" ", target].concat());
            }
        }
    }
}

/// The value of an attribute.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = tag;
    while let Some(at) = find(rest, name) {
        let before = at.checked_sub(1).and_then(|at| rest.get(at));
        rest = from(rest, at + name.len());
        let value = rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
        if before.is_some_and(u8::is_ascii_whitespace)
            && let Some([quote @ (b'"' | b'\''), value @ ..]) = value
        {
            return value.get(..memchr::memchr(*quote, value)?);
        }
    }
    None
}
