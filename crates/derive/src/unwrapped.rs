//! Files inside other content: executables under a key, in base64, digits or gzip, and what lies anywhere in a stream of no known
//! protocol.
//!
//! Of a stream that is still open nothing is looked for anywhere in it: what is found later may lie before what was found, and
//! names do not change.

use std::ops::{ControlFlow, Range};

use streamdb_extract::{BodyLimits, Decode, Incomplete, Kind, Message, Part, PartKind, Piece};
use streamdb_sniff::{Coding, Embedded, EmbeddedKind, EmbeddedScanner, HEAD_BYTES, Wrapping, XorKey, wrapped};
use streamdb_types::{GapKind, Protocol};

use crate::conversation::Conversation;
use crate::error::Error;
use crate::index::PARTS;
use crate::parts::Place;

/// The types of streams that something may lie in which is not what they are themselves.
const UNKNOWN: [&str; 2] = ["application/octet-stream", "text/plain"];

impl Conversation {
    /// The files inside a message that has no parts, or inside a part.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn unwrapped(&mut self, place: Place<'_>) -> Result<Vec<Part>, Error> {
        let mut head = Vec::new();
        let outcome = self.place(place, Decode::Decoded, &BodyLimits::default(), None, &mut |piece| match piece {
            Piece::Bytes(bytes) => {
                let room = HEAD_BYTES.saturating_sub(head.len());
                head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                if head.len() < HEAD_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Piece::Hole(_) => ControlFlow::Break(()),
        })?;
        let mut found = Vec::new();
        if let Some(key) = &outcome.what.xor_key {
            found.push(under(place, key));
        } else if let Some(wrapping) = wrapped(&head) {
            found.push(within(place, &wrapping));
        } else if UNKNOWN.contains(&outcome.what.mime) && self.may_hold(place) {
            found = self.embedded(place.message)?;
        }
        let host = place.part.map_or(0, |part| part.number);
        let first = if host == 0 { 1 } else { host.saturating_add(PARTS) };
        let step = if host == 0 { 1 } else { PARTS };
        for (part, number) in found.iter_mut().zip((first..).step_by(step as usize)) {
            part.number = number;
        }
        Ok(found)
    }

    /// Whether it is a stream of bytes, over, in which nobody knows what is said.
    fn may_hold(&self, place: Place<'_>) -> bool {
        let message = place.message;
        let stream = self.info(message.direction).is_some_and(|info| {
            let datagrams = info.tuple.protocol == Protocol::UDP;
            info.reason.is_some() && !datagrams
        });
        stream && place.part.is_none() && message.kind == Kind::Stream && !self.is_known(message)
    }

    /// What lies in a stream, but for what it is as a whole.
    fn embedded(&self, message: &Message) -> Result<Vec<Part>, Error> {
        let mut scanner = EmbeddedScanner::default();
        self.content(message, 0..message.body.len(), &mut |_, piece| {
            match piece {
                Piece::Bytes(bytes) => scanner.feed(bytes),
                Piece::Hole(gap) => scanner.gap(gap.length),
            }
            ControlFlow::Continue(())
        })?;
        let inside = scanner.finish().into_iter().filter(|found| found.at > 0);
        Ok(inside.map(|found| self.lying(message, &found)).collect())
    }

    fn lying(&self, message: &Message, found: &Embedded) -> Part {
        let length = message.body.len();
        let end = found.length.map_or(length, |own| found.at.saturating_add(own));
        let range = found.at..end.min(length);
        let holes = self.holes_in(message, &range);
        let hole = holes.first().map(|gap| Incomplete::Gap(gap.kind));
        // More than there is, by its own word.
        let cut = (end > length).then(|| message.incomplete.unwrap_or(Incomplete::ClosedEarly));
        // What a program has behind its last section, nobody says: with more there, it may be a part of it.
        let open = matches!(found.kind, EmbeddedKind::Pe | EmbeddedKind::Elf) && end < length;
        let unsure = (found.length.is_none() || open).then_some(Incomplete::Unsure);
        let missing = holes.iter().filter(|gap| gap.kind != GapKind::Cutoff).map(|gap| gap.length);
        Part {
            incomplete: hole.or(cut).or(unsure),
            missing: missing.fold(end.saturating_sub(length.max(found.at)), u64::saturating_add),
            ..Part::new(1, "", PartKind::File, Vec::from([range]))
        }
    }
}

/// The executable under a key.
fn under(place: Place<'_>, key: &XorKey) -> Part {
    let part = Part::under(key.as_bytes(), to_the_end(key.begins_at()));
    Part { incomplete: place.incomplete(), missing: place.missing(), ..part }
}

/// The executable in a coding.
fn within(place: Place<'_>, wrapping: &Wrapping) -> Part {
    let coding = match wrapping.coding {
        Coding::Base64 => "base64url",
        Coding::Hex => "hex",
        Coding::Gzip => "gzip",
    };
    let begins = wrapping.begins as u64;
    // What ends in the head has no hole: there it was seen.
    let (range, incomplete, missing) = match wrapping.ends {
        Some(ends) => (begins..ends as u64, None, 0),
        None => (to_the_end(wrapping.begins), place.incomplete(), place.missing()),
    };
    Part {
        content_codings: Vec::from([coding.to_owned()]),
        incomplete,
        missing,
        ..Part::new(1, "", PartKind::File, Vec::from([range]))
    }
}

/// From there to the end, wherever that is.
const fn to_the_end(begins: usize) -> Range<u64> {
    begins as u64..u64::MAX
}
