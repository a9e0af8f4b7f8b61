//! The header fields of a message that are worth keeping in memory; all of them are read again when asked for.

use std::borrow::Cow;

/// Most bytes of several values of one field to which another one is added.
const COMBINED: usize = 1 << 10;
/// What is kept. The rest of a head is one read away ([`head`](crate::head)).
const KEPT: [&str; 21] = [
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "host",
    "last-modified",
    "location",
    "origin",
    "range",
    "referer",
    "sec-websocket-extensions",
    "server",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Kept header fields, in the order of the wire; values as sent, without the blanks around them, folds made one blank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(&'static str, Box<[u8]>)>);

impl Fields {
    /// The first value of this field; the name in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of this field where it has one; of several that differ all, as one list (RFC 9110 §5.3): of a field that is no list
    /// that is no value.
    pub fn combined(&self, name: &str) -> Option<Box<[u8]>> {
        let mut combined = None;
        self.iter().filter(|(n, _)| *n == name).for_each(|(_, value)| combine(&mut combined, value));
        combined
    }

    /// Names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Keeps this field if it is one of those that are kept; says how many bytes that took.
    pub(crate) fn keep(&mut self, name: &[u8], value: &[u8]) -> usize {
        match KEPT.iter().find(|kept| kept.as_bytes().eq_ignore_ascii_case(name)) {
            Some(kept) => {
                let value = unfold(value);
                self.0.push((kept, value.as_ref().into()));
                value.len() + size_of::<(&str, Box<[u8]>)>()
            }
            None => 0,
        }
    }
}

/// Takes in a value of a field that is to have one: another one is put behind those before it, as long as they are short.
pub(crate) fn combine(all: &mut Option<Box<[u8]>>, value: &[u8]) {
    match all {
        None => *all = Some(value.into()),
        Some(all) if **all == *value || all.len() > COMBINED => {}
        Some(several) => *several = [several, value].join(&b", "[..]).into(),
    }
}

/// Whether a value goes over more than one line.
pub(crate) fn is_folded(value: &[u8]) -> bool {
    value.iter().any(is_line_end)
}

const fn is_line_end(b: &u8) -> bool {
    matches!(b, b'\r' | b'\n')
}

/// A value on one line: each line end and the blanks around it become one blank (RFC 9112 §5.2).
pub(crate) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if !is_folded(value) {
        return Cow::Borrowed(value);
    }
    let lines = value.split(is_line_end).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut joined = Vec::with_capacity(value.len());
    for line in lines {
        if !joined.is_empty() {
            joined.push(b' ');
        }
        joined.extend_from_slice(line);
    }
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_become_one_blank() {
        assert_eq!(unfold(b"a b").as_ref(), b"a b");
        assert_eq!(unfold(b"a;\r\n\t  b=\"c\" \r\n d").as_ref(), b"a; b=\"c\" d");
        // RFC 9112 §2.2.
        assert_eq!(unfold(b"a\rb").as_ref(), b"a b");
    }

    #[test]
    fn names_are_kept_in_lower_case_and_values_as_sent() {
        let mut fields = Fields::default();
        fields.keep(b"Content-TYPE", b"text/html; x=\xff");
        assert_eq!(fields.keep(b"X-Other", b"1"), 0);
        fields.keep(b"content-type", b"second");
        assert_eq!(fields.get("content-type"), Some(&b"text/html; x=\xff"[..]));
        assert_eq!(fields.iter().count(), 2);
    }
}
