//! The certificates of a Certificate message, up to TLS 1.2 (RFC 5246 §7.4.2): later ones are sent in secret.

use std::ops::Range;

use streamdb_types::{Direction, StreamOffset};

use super::der::common_name;
use super::records::{Records, Stop};
use crate::message::Incomplete;
use crate::part::{Part, PartKind};
use crate::source::{Source, gaps};
use crate::span::Span;

/// Most certificates of one side.
const CERTIFICATES: usize = 100;
/// Most stretches of the certificates of one side: each record that one goes over makes one more.
const STRETCHES: usize = 16_384;
/// How much of a certificate is looked at for its name.
const HEAD: usize = 16 << 10;

/// What is found in one direction.
pub(super) struct Certificates<'s> {
    pub(super) found: Vec<Part>,
    source: &'s dyn Source,
    other: &'s dyn Source,
    direction: Direction,
    stretches: usize,
}

impl<'s> Certificates<'s> {
    /// Nothing yet.
    pub(super) const fn new(source: &'s dyn Source, other: &'s dyn Source, direction: Direction) -> Self {
        Self { found: Vec::new(), source, other, direction, stretches: 0 }
    }

    /// Takes the certificates out of a message of this length.
    pub(super) fn read(&mut self, records: &mut Records<'_>, length: u32) -> Result<(), Stop> {
        let Some(mut left) = length.checked_sub(3) else { return records.skip(length.into()) };
        let list = number(records)?;
        let mut after = left.saturating_sub(list);
        left = left.min(list);
        while left >= 3 {
            let length = number(records)?;
            left -= 3;
            // A bare key instead of certificates has one length, after which its own bytes come (RFC 7250 §3).
            if length > left && length >> 16 == 0x30 {
                break;
            }
            self.take(records, length, length.min(left))?;
            left -= length.min(left);
        }
        after = after.saturating_add(left);
        records.skip(after.into())
    }

    /// Takes a certificate of `length` bytes, of which its message has `there`.
    fn take(&mut self, records: &mut Records<'_>, length: u32, there: u32) -> Result<(), Stop> {
        let mut content: Vec<Range<u64>> = Vec::new();
        let mut head = Head::default();
        let mut left = u64::from(there);
        let mut stopped = Ok(());
        let beyond = self.found.len() >= CERTIFICATES;
        while left > 0 {
            // Beyond a limit, the first stretch says that there is one more.
            if !content.is_empty() && (beyond || self.stretches + content.len() >= STRETCHES) {
                stopped = Err(Stop::Limit);
                break;
            }
            match records.stretch(left) {
                Ok(stretch) => {
                    left = left.saturating_sub(stretch.end - stretch.start);
                    head.take(records, &stretch);
                    content.push(stretch);
                }
                Err(stop) => {
                    stopped = Err(stop);
                    break;
                }
            }
        }
        // Until its first byte is there it has no number.
        if content.is_empty() {
            return stopped;
        }
        self.stretches += content.len();
        let number = u32::try_from(self.found.len()).unwrap_or(u32::MAX).saturating_add(1);
        let mut part = Part::new(number, "tls", PartKind::File, content);
        part.declared_type = Some((*b"application/pkix-cert").into());
        part.filename = Some(match common_name(&head.bytes) {
            Some(name) => format!("{name}.cer"),
            None => format!("certificate-{number}.cer"),
        });
        part.missing = u64::from(length - there) + left;
        for stretch in &part.content {
            for gap in gaps(self.source, Span::new(StreamOffset(stretch.start), StreamOffset(stretch.end))) {
                part.missing = part.missing.saturating_add(gap.length);
                part.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
            }
        }
        let why = match stopped {
            _ if beyond => Some(Incomplete::Limit),
            Ok(()) if there < length => Some(Incomplete::Malformed),
            Ok(()) => None,
            Err(Stop::End) => Some(Incomplete::at_end(self.source, self.other, self.direction)),
            Err(Stop::Hole(kind)) => Some(Incomplete::Gap(kind)),
            Err(Stop::Limit) => Some(Incomplete::Limit),
            Err(Stop::Over | Stop::Alert(_) | Stop::Broken) => Some(Incomplete::Malformed),
        };
        part.incomplete = part.incomplete.or(why);
        self.found.push(part);
        if beyond { Err(Stop::Limit) } else { stopped }
    }
}

/// A number of three bytes.
fn number(records: &mut Records<'_>) -> Result<u32, Stop> {
    let mut bytes = Vec::with_capacity(3);
    records.read(3, &mut bytes)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// The first bytes of a certificate.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    /// Whether no more are taken.
    ended: bool,
}

impl Head {
    fn take(&mut self, records: &mut Records<'_>, stretch: &Range<u64>) {
        if self.ended {
            return;
        }
        let bytes = records.peek(stretch, HEAD.saturating_sub(self.bytes.len()));
        // A hole, or enough.
        self.ended = (bytes.len() as u64) < stretch.end.saturating_sub(stretch.start);
        self.bytes.extend_from_slice(bytes);
    }
}
