//! One mail as it comes: where its bytes lie in the stream, its envelope, and what is in it.

use std::ops::Range;
use std::sync::Arc;

use streamdb_types::{Gap, StreamOffset};

use crate::body::Piece;
use crate::message::Incomplete;
use crate::mime::Multipart;
use crate::part::{Part, PartKind, Undo};
use crate::source::{Source, gaps};
use crate::span::Span;

/// The longest target, in bytes; recipients that do not fit are left out.
const TARGET_BYTES: usize = 2 << 10;

/// Whom a mail is from and for.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    pub sender: Option<Vec<u8>>,
    /// Those that the server did not refuse, as far as is known.
    pub recipients: Vec<Vec<u8>>,
    /// Bytes of them.
    pub bytes: usize,
}

impl Envelope {
    /// Adds a recipient, if there is room.
    pub(super) fn add(&mut self, recipient: &[u8]) {
        self.bytes += recipient.len() + 1;
        if self.bytes <= TARGET_BYTES {
            self.recipients.push(recipient.to_vec());
        }
    }

    /// `mailto:RECIPIENT,RECIPIENT?from=SENDER` (RFC 6068 §2).
    fn target(&self) -> Box<[u8]> {
        let mut target = b"mailto:".to_vec();
        for (n, recipient) in self.recipients.iter().enumerate() {
            if n > 0 {
                target.push(b',');
            }
            escape(recipient, &mut target);
        }
        if let Some(sender) = &self.sender {
            target.extend(b"?from=");
            escape(sender, &mut target);
        }
        target.into()
    }
}

/// Adds an address with what has a meaning in a URL escaped (RFC 6068 §2, `addr-spec`).
fn escape(address: &[u8], to: &mut Vec<u8>) {
    for byte in address {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'*' | b'+' | b'@' => to.push(*byte),
            byte if byte.is_ascii_alphanumeric() => to.push(*byte),
            byte => to.extend(format!("%{byte:02X}").bytes()),
        }
    }
}

/// A mail that is being gone through.
pub(super) struct Mail {
    method: &'static [u8],
    /// Where it begins.
    begins: u64,
    /// Its ranges in the stream, and where in the mail each begins.
    ranges: Vec<Range<u64>>,
    places: Vec<u64>,
    length: u64,
    missing: u64,
    pub incomplete: Option<Incomplete>,
    /// Whether there were more ranges than are kept.
    pub over: bool,
    /// The reply that tells what became of it.
    pub status: Option<u16>,
    scan: Multipart,
}

impl Mail {
    /// A mail sent by DATA or BDAT, of which at most so many parts are listed.
    pub(super) fn new(data: bool, begins: StreamOffset, most: usize) -> Self {
        Self {
            method: if data { b"DATA" } else { b"BDAT" },
            begins: begins.0,
            ranges: Vec::new(),
            places: Vec::new(),
            length: 0,
            missing: 0,
            incomplete: None,
            over: false,
            status: None,
            scan: Multipart::mail("smtp", data, most),
        }
    }

    /// How many ranges it has.
    pub(super) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Adds bytes that lie at this place of the stream.
    pub(super) fn bytes(&mut self, at: StreamOffset, bytes: &[u8]) {
        self.extend(at, bytes.len() as u64);
        self.scan.push(Piece::Bytes(bytes));
    }

    /// Adds a hole.
    pub(super) fn hole(&mut self, gap: Gap) {
        self.extend(gap.offset, gap.length);
        self.missing = self.missing.saturating_add(gap.length);
        self.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
        self.scan.push(Piece::Hole(gap));
    }

    /// Bytes that were announced and never came.
    pub(super) fn lacks(&mut self, length: u64) {
        self.missing = self.missing.saturating_add(length);
    }

    /// Adds all from a place on, without looking at it.
    pub(super) fn rest(&mut self, source: &dyn Source, at: StreamOffset) {
        self.extend(at, source.end().since(at));
        let lost = gaps(source, Span::new(at, source.end())).map(|gap| gap.length).fold(0, u64::saturating_add);
        self.missing = self.missing.saturating_add(lost);
    }

    fn extend(&mut self, at: StreamOffset, length: u64) {
        if length == 0 {
            return;
        }
        let end = at.0.saturating_add(length);
        match self.ranges.last_mut() {
            Some(last) if last.end == at.0 => last.end = end,
            last => {
                if last.is_none() {
                    self.begins = at.0;
                }
                self.ranges.push(at.0..end);
                self.places.push(self.length);
            }
        }
        self.length = self.length.saturating_add(length);
    }

    /// The mail and what is in it, numbered from `number`. `end` says why its end is not there; `None` when it is.
    pub(super) fn finish(
        mut self,
        number: u32,
        envelope: &Envelope,
        host: Option<&Arc<[u8]>>,
        end: Option<Incomplete>,
        unsure: bool,
    ) -> Vec<Part> {
        let inside = self.scan.end(end);
        let id = self.scan.top().and_then(|head| head.message_id());
        let mut file = Part::new(number, "smtp", PartKind::File, self.ranges.clone());
        file.begins = self.begins;
        file.method = Some(self.method.into());
        file.target = Some(envelope.target());
        file.host = host.cloned();
        file.status = self.status;
        file.declared_type = Some(b"message/rfc822"[..].into());
        file.filename = Some(format!("{}.eml", id.unwrap_or_else(|| number.to_string())));
        file.incomplete = self.incomplete.or(end);
        file.missing = self.missing;
        if self.method == b"DATA" {
            file.undo = Undo::Dots;
        }
        let mut parts = vec![file];
        for mut part in inside {
            part.number = part.number.saturating_add(number);
            part.begins = self.place(part.begins);
            part.content = part.content.iter().flat_map(|range| self.mapped(range)).collect();
            part.method = Some(self.method.into());
            part.target = Some(envelope.target());
            part.host = host.cloned();
            part.status = self.status;
            if self.incomplete == Some(Incomplete::Malformed) {
                part.incomplete.get_or_insert(Incomplete::Malformed);
            }
            parts.push(part);
        }
        if unsure {
            for part in &mut parts {
                part.incomplete.get_or_insert(Incomplete::Unsure);
            }
        }
        parts
    }

    /// Where in the stream a byte of the mail lies.
    fn place(&self, at: u64) -> u64 {
        let n = self.places.partition_point(|place| *place <= at).saturating_sub(1);
        let (Some(range), Some(place)) = (self.ranges.get(n), self.places.get(n)) else { return self.begins };
        range.start.saturating_add(at.saturating_sub(*place)).min(range.end)
    }

    /// Where in the stream a range of the mail lies.
    fn mapped(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.places.partition_point(|place| *place <= range.start).saturating_sub(1);
        let pieces = self.ranges.iter().zip(&self.places).skip(first).take_while(|(_, place)| **place < range.end);
        pieces
            .map(|(piece, place)| {
                let start = piece.start.saturating_add(range.start.saturating_sub(*place));
                let end = piece.start.saturating_add(range.end - place).min(piece.end);
                start..end
            })
            .filter(|range| range.start < range.end)
            .collect()
    }
}
