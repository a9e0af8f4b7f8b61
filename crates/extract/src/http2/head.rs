//! What the fields of a header block say that is kept of it.

use std::sync::Arc;

use super::table::Text;
use crate::disposition::disposition;
use crate::fields::combine;
use crate::http1::codings;
use crate::message::Incomplete;
use crate::part::Entity;

/// Most codings that are remembered; decoding refuses far fewer.
const CODINGS: usize = 16;

/// What a block says.
#[derive(Default)]
pub(super) struct Head {
    pub method: Option<Box<[u8]>>,
    pub path: Option<Box<[u8]>>,
    pub authority: Option<Arc<[u8]>>,
    pub host: Option<Arc<[u8]>>,
    pub status: Option<u16>,
    pub declared_type: Option<Box<[u8]>>,
    pub filename: Option<String>,
    pub content_codings: Vec<String>,
    pub length: Option<u64>,
    /// What tells which bytes of what these are; its length is above.
    pub entity: Entity,
    /// Why there may be more to it.
    pub incomplete: Option<Incomplete>,
}

impl Head {
    /// Takes the next field; `lost` is why one is not known.
    pub(super) fn field(&mut self, name: &Text, value: &Text, lost: Incomplete) {
        let (Some(name), Some(value)) = (name.get(), value.get()) else {
            self.incomplete.get_or_insert(lost);
            return;
        };
        let first = |kept: &mut Option<Box<[u8]>>| {
            kept.get_or_insert_with(|| value.into());
        };
        match name {
            b":method" => first(&mut self.method),
            b":path" => first(&mut self.path),
            b":authority" if self.authority.is_none() => self.authority = Some(value.into()),
            b"host" if self.host.is_none() => self.host = Some(value.into()),
            b":status" if self.status.is_none() => self.status = number(value).and_then(|n| n.try_into().ok()),
            b":scheme" => first(&mut self.entity.scheme),
            b"content-range" => combine(&mut self.entity.content_range, value),
            b"etag" => combine(&mut self.entity.etag, value),
            b"last-modified" => first(&mut self.entity.last_modified),
            b"date" => first(&mut self.entity.date),
            b"content-type" => first(&mut self.declared_type),
            b"content-disposition" if self.filename.is_none() => self.filename = disposition(value),
            b"content-encoding" => {
                let room = CODINGS.saturating_sub(self.content_codings.len());
                self.content_codings.extend(codings(value).into_iter().take(room));
            }
            b"content-length" => match (number(value), self.length) {
                (None, _) => _ = self.incomplete.get_or_insert(Incomplete::Malformed),
                (Some(new), Some(old)) if new != old => _ = self.incomplete.get_or_insert(Incomplete::Malformed),
                (length, _) => self.length = length,
            },
            _ => {}
        }
    }

    /// Whom a request is for: `:authority`, or else Host (RFC 9113 §8.3.1).
    pub(super) fn whom(&mut self) -> Option<Arc<[u8]>> {
        self.authority.take().or_else(|| self.host.take()).filter(|host| !host.is_empty())
    }

    /// Whether it is an interim response for sure (RFC 9113 §8.1).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_some_and(|status| (100..200).contains(&status))
    }

    /// Bytes of memory that it takes.
    pub(super) fn kept(&self) -> usize {
        let texts = [self.method.as_deref(), self.path.as_deref(), self.declared_type.as_deref()];
        let hosts = [self.authority.as_deref(), self.host.as_deref()];
        let bytes: usize = texts.iter().chain(&hosts).flatten().map(|text| text.len()).sum();
        let names: usize = self.content_codings.iter().map(String::len).sum();
        bytes + self.entity.kept() + names + self.filename.as_ref().map_or(0, String::len)
    }
}

/// Digits.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}
