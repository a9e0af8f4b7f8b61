//! The tables of HPACK (RFC 7541 §2.3): names and values that are known from the start, and those that were sent before.

use std::collections::VecDeque;
use std::sync::Arc;

/// The largest dynamic table that is kept, counted as the protocol counts it; browsers and servers ask for 64 KiB at most.
pub(super) const TABLE_BYTES: usize = 1 << 20;
/// How large it is at first (RFC 9113 §6.5.2, SETTINGS_HEADER_TABLE_SIZE).
const FIRST_BYTES: usize = 4096;
/// What an entry counts beside its bytes (RFC 7541 §4.1).
const ENTRY_BYTES: usize = 32;

/// A name or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Known(&'static [u8]),
    Sent(Arc<[u8]>),
    /// It was sent where bytes are missing.
    Lost,
}

impl Text {
    pub(super) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Known(text) => Some(text),
            Self::Sent(text) => Some(text),
            Self::Lost => None,
        }
    }

    fn len(&self) -> usize {
        self.get().map_or(0, <[u8]>::len)
    }
}

/// The dynamic table of one direction.
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<(Text, Text)>,
    size: usize,
    most: usize,
    /// Whether what stood in it at some time is not known, nor perhaps its size. What came later has its place all the same: the
    /// newest entry is the first, and one that was too large for the sender's table and so emptied it lies behind all that the
    /// sender can still mean.
    lost: bool,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, most: FIRST_BYTES, lost: false }
    }

    /// What stands in it is not known any more.
    pub(super) fn lose(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.lost = true;
    }

    /// The entry of an index, which counts from 1, first through the static table; `None` when there is none.
    pub(super) fn get(&self, index: usize) -> Option<(Text, Text)> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Some((Text::Known(name.as_bytes()), Text::Known(value.as_bytes())));
        }
        match self.entries.get(index.checked_sub(STATIC.len())?) {
            Some(entry) => Some(entry.clone()),
            None => self.lost.then_some((Text::Lost, Text::Lost)),
        }
    }

    /// Adds an entry; one that is larger than the table empties it (RFC 7541 §4.4).
    pub(super) fn add(&mut self, name: Text, value: Text) {
        let size = cost(&name, &value);
        self.shrink(self.most.saturating_sub(size));
        if size <= self.most {
            self.size += size;
            self.entries.push_front((name, value));
        }
    }

    /// Sets its largest size (RFC 7541 §4.3); says whether that is no larger than what is kept.
    pub(super) fn resize(&mut self, most: usize) -> bool {
        self.most = most.min(TABLE_BYTES);
        self.shrink(self.most);
        most <= TABLE_BYTES
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most
            && let Some((name, value)) = self.entries.pop_back()
        {
            self.size = self.size.saturating_sub(cost(&name, &value));
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

fn cost(name: &Text, value: &Text) -> usize {
    name.len().saturating_add(value.len()).saturating_add(ENTRY_BYTES)
}

/// RFC 7541, Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
