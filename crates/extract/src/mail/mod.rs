//! One mail as it comes, by whichever protocol: where its bytes lie in the stream, and what is in it.
//!
//! `end_of_data` finds the line that ends it.

mod end_of_data;

use std::ops::Range;
use std::sync::Arc;

use streamdb_types::{Gap, StreamOffset};

pub(crate) use self::end_of_data::{EndOfData, Seen};
use crate::body::Piece;
use crate::message::Incomplete;
use crate::mime::Multipart;
use crate::part::{Part, PartKind, Undo};
use crate::source::{Source, gaps};
use crate::span::Span;

/// A mail that is being gone through.
pub(crate) struct Mail {
    protocol: &'static str,
    method: Option<&'static [u8]>,
    /// Whether dots at the beginning of lines were doubled.
    dots: bool,
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
    /// A mail that was sent by this command, if that is known, of which at most so many parts are listed. Whether there is one dot
    /// more at the beginning of each line that begins with one depends on the command.
    pub(crate) fn new(
        protocol: &'static str,
        method: Option<&'static [u8]>,
        dots: bool,
        begins: StreamOffset,
        most: usize,
    ) -> Self {
        Self {
            protocol,
            method,
            dots,
            begins: begins.0,
            ranges: Vec::new(),
            places: Vec::new(),
            length: 0,
            missing: 0,
            incomplete: None,
            over: false,
            status: None,
            scan: Multipart::mail(protocol, dots, most),
        }
    }

    /// How many ranges it has.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Adds bytes that lie at this place of the stream.
    pub(crate) fn bytes(&mut self, at: StreamOffset, bytes: &[u8]) {
        self.extend(at, bytes.len() as u64);
        self.scan.push(Piece::Bytes(bytes));
    }

    /// Adds a hole.
    pub(crate) fn hole(&mut self, gap: Gap) {
        self.extend(gap.offset, gap.length);
        self.missing = self.missing.saturating_add(gap.length);
        self.incomplete.get_or_insert(Incomplete::Gap(gap.kind));
        self.scan.push(Piece::Hole(gap));
    }

    /// Bytes that were announced and never came.
    pub(crate) fn lacks(&mut self, length: u64) {
        self.missing = self.missing.saturating_add(length);
    }

    /// Adds all from a place on, without looking at it.
    pub(crate) fn rest(&mut self, source: &dyn Source, at: StreamOffset) {
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

    /// The mail and what is in it, numbered from `number`. `target` says whose it is; `end` why its end is not there, `None` when
    /// it is.
    pub(crate) fn finish(
        mut self,
        number: u32,
        target: Option<Box<[u8]>>,
        host: Option<&Arc<[u8]>>,
        end: Option<Incomplete>,
        unsure: bool,
    ) -> Vec<Part> {
        let inside = self.scan.end(end);
        let id = self.scan.top().and_then(|head| head.message_id());
        let mut file = Part::new(number, self.protocol, PartKind::File, self.ranges.clone());
        file.begins = self.begins;
        file.method = self.method.map(Into::into);
        file.target.clone_from(&target);
        file.host = host.cloned();
        file.status = self.status;
        file.declared_type = Some(b"message/rfc822"[..].into());
        file.filename = Some(format!("{}.eml", id.unwrap_or_else(|| number.to_string())));
        file.incomplete = self.incomplete.or(end);
        file.missing = self.missing;
        if self.dots {
            file.undo = Undo::Dots;
        }
        let mut parts = vec![file];
        for mut part in inside {
            part.number = part.number.saturating_add(number);
            part.begins = self.place(part.begins);
            part.content = part.content.iter().flat_map(|range| self.mapped(range)).collect();
            part.method = self.method.map(Into::into);
            part.target.clone_from(&target);
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
