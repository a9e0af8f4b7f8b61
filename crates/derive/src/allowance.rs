//! What the rows of one connection may cost: how many messages it has, and what each of them decodes to, was chosen by a
//! stranger. Connections of the usual kind come nowhere near it.

use streamdb_extract::{BodyLimits, BodyOutcome};
use streamdb_types::ObjectRow;

/// A body that decodes to more bytes for each that was sent is taken off what the connection may cost.
const USUAL_RATIO: u64 = 100;
/// The ratio from which on such a body is cut when nothing is left.
const LAST_RATIO: u64 = 200;
/// Bytes that such bodies may decode to.
const DECODED: u64 = 512 << 20;
/// Bytes of texts that came with the messages, a request's repeated at each of its answers.
const TEXTS: usize = 24 << 20;
/// Most bytes of a text when nothing is left.
const SHORT: usize = 64;

/// Bytes that are decoded once more on the way to parts of bodies.
const WAYS: u64 = 4 << 30;

/// What is left.
#[derive(Debug)]
pub(crate) struct Allowance {
    decoded: u64,
    texts: usize,
    ways: u64,
}

impl Allowance {
    /// That of a connection.
    pub(crate) const fn new() -> Self {
        Self { decoded: DECODED, texts: TEXTS, ways: WAYS }
    }

    /// How far the next body is decoded. All who walk over the same body use the same limits, and see the same bytes.
    pub(crate) fn limits(&self) -> BodyLimits {
        let usual = BodyLimits::default();
        if self.decoded == 0 { BodyLimits { ratio: LAST_RATIO, ratio_from: 0, ..usual } } else { usual }
    }

    /// Takes so many bytes for the way to a part, if they are left.
    pub(crate) fn goes(&mut self, way: u64) -> bool {
        let left = self.ways.checked_sub(way);
        self.ways = left.unwrap_or(self.ways);
        left.is_some()
    }

    /// A body was decoded.
    pub(crate) fn decoded(&mut self, outcome: &BodyOutcome) {
        if outcome.decoded && outcome.length > outcome.encoded_length.saturating_mul(USUAL_RATIO) {
            self.decoded = self.decoded.saturating_sub(outcome.length);
        }
    }

    /// A row is kept: its texts are cut short when there were too many before.
    pub(crate) fn texts(&mut self, row: &mut ObjectRow) {
        let all = || [&row.method, &row.host, &row.uri, &row.declared_type].into_iter().flatten();
        let length = all().chain([&row.facts]).map(String::len).sum();
        match self.texts.checked_sub(length) {
            Some(left) => self.texts = left,
            None => {
                for text in [&mut row.method, &mut row.host, &mut row.uri, &mut row.declared_type].into_iter().flatten()
                {
                    text.truncate(text.floor_char_boundary(SHORT));
                    text.shrink_to_fit();
                }
                row.facts = String::new();
            }
        }
    }
}
