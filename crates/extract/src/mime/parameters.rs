//! Parameters of header fields (RFC 2045 §5.1), in pieces and charsets (RFC 2231), and encoded words (RFC 2047): tolerant as mail
//! readers are.

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

/// Most parameters of a field that are looked at.
const MOST: usize = 128;
/// The longest encoded word; RFC 2047 §2 has 75 characters.
const WORD_BYTES: usize = 1024;

/// The parameters of a field.
pub(super) struct Parameters<'v> {
    list: Vec<Parameter<'v>>,
}

struct Parameter<'v> {
    /// As sent.
    name: &'v [u8],
    /// Without quotes and escapes.
    value: Vec<u8>,
    quoted: bool,
}

impl<'v> Parameters<'v> {
    /// Those of an unfolded value: what follows its first `;`.
    pub(super) fn new(value: &'v [u8]) -> Self {
        let mut list = Vec::new();
        let mut rest = after(value, b';');
        while !rest.is_empty() && list.len() < MOST {
            let parameter;
            (parameter, rest) = next(rest);
            list.extend(parameter);
        }
        Self { list }
    }

    /// A value as bytes: the first of this name, or one in pieces.
    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.plain(name).or_else(|| self.extended(name).map(|(_, value)| value))
    }

    /// A value as text: that with a charset comes before the one for old readers, as RFC 6266 §4.3 has it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        if let Some((charset, value)) = self.extended(name) {
            return Some(in_charset(&charset, &value));
        }
        let found = self.list.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(text(&found.value))
    }

    fn plain(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.list.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()))?;
        let end = found.value.iter().position(|b| !found.quoted && b.is_ascii_whitespace());
        Some(found.value.get(..end.unwrap_or(found.value.len())).unwrap_or_default().to_vec())
    }

    /// The charset and value of `name*`, or of `name*0`, `name*1*` and so on, in the order of their numbers (RFC 2231 §3, §4.1).
    fn extended(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut pieces: Vec<(usize, bool, &[u8])> = Vec::new();
        for parameter in &self.list {
            let Some((stem, star)) = parameter.name.split_at_checked(name.len()) else { continue };
            let Some(star) = star.strip_prefix(b"*").filter(|_| stem.eq_ignore_ascii_case(name.as_bytes())) else {
                continue;
            };
            let escaped = star.is_empty() || star.ends_with(b"*");
            let digits = star.strip_suffix(b"*").unwrap_or(star);
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            match number {
                Some(number) => pieces.push((number, escaped, &parameter.value)),
                None if star.is_empty() => pieces.push((0, true, &parameter.value)),
                None => {}
            }
        }
        // Of two with one number the first counts.
        pieces.sort_by_key(|(number, ..)| *number);
        pieces.dedup_by_key(|(number, ..)| *number);
        let mut charset = Vec::new();
        let mut value = Vec::new();
        let mut any = false;
        for (place, (number, escaped, mut piece)) in pieces.into_iter().enumerate() {
            if place != number {
                break;
            }
            any = true;
            if place == 0 && escaped {
                let mut quotes = piece.splitn(3, |b| *b == b'\'');
                if let (Some(named), Some(_), Some(rest)) = (quotes.next(), quotes.next(), quotes.next()) {
                    charset = named.to_vec();
                    piece = rest;
                }
            }
            if escaped { unescape(piece, &mut value) } else { value.extend_from_slice(piece) }
        }
        any.then_some((charset, value))
    }
}

/// What follows the first of these bytes.
fn after(bytes: &[u8], byte: u8) -> &[u8] {
    bytes.iter().position(|b| *b == byte).and_then(|at| bytes.get(at + 1..)).unwrap_or_default()
}

/// The next parameter, if it is one, and what follows it.
fn next(bytes: &[u8]) -> (Option<Parameter<'_>>, &[u8]) {
    let end = bytes.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    let Some(value) = rest.strip_prefix(b"=") else { return (None, rest.get(1..).unwrap_or_default()) };
    let name = name.trim_ascii();
    let value = value.trim_ascii_start();
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let (value, rest) = unquote(quoted);
        return (Some(Parameter { name, value, quoted: true }), after(rest, b';'));
    }
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    let (value, rest) = value.split_at_checked(end).unwrap_or((value, b""));
    let parameter = Parameter { name, value: value.trim_ascii().to_vec(), quoted: false };
    (Some(parameter), rest.get(1..).unwrap_or_default())
}

/// What stands before the closing quote, or all when there is none, and what follows. A backslash is only taken for an escape where
/// there is something to escape: many senders write paths as they are.
fn unquote(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [] => return (value, rest),
            [b'"', rest @ ..] => return (value, rest),
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// Takes the escapes of RFC 2231 §7 off.
fn unescape(mut bytes: &[u8], to: &mut Vec<u8>) {
    loop {
        match bytes {
            [] => return,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                to.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                bytes = after;
            }
            [byte, after @ ..] => {
                to.push(*byte);
                bytes = after;
            }
        }
    }
}

/// Bytes in a charset as text. In one that is not known, or in none, they are UTF-8, or else what most senders mean then.
fn in_charset(charset: &[u8], bytes: &[u8]) -> String {
    match charset_decoder(charset).filter(|_| !charset.is_empty()) {
        Some(decode) => decode(bytes),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => charset_decoder(b"windows-1252")
                .map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |decode| decode(bytes)),
        },
    }
}

/// Bytes as text, encoded words in them decoded: they are used in parameters too, though RFC 2047 §5 (3) forbids it.
pub(super) fn text(mut bytes: &[u8]) -> String {
    let mut all = String::new();
    let mut after_word = false;
    while let Some((before, word, rest)) = word(bytes) {
        // RFC 2047 §6.2: blanks between two words are not shown.
        if !(after_word && before.trim_ascii().is_empty()) {
            all.push_str(&in_charset(b"", before));
        }
        all.push_str(&word);
        bytes = rest;
        after_word = true;
    }
    if !after_word || !bytes.trim_ascii().is_empty() {
        all.push_str(&in_charset(b"", bytes));
    }
    all
}

/// The first encoded word, with what is before and after it.
fn word(bytes: &[u8]) -> Option<(&[u8], String, &[u8])> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let start = from + rest.windows(2).position(|two| two == b"=?")?;
        if let Some(end) = word_end(bytes.get(start..)?) {
            let word = bytes.get(start + 1..start + end)?;
            if let Some(text) = MessageStream::new(word).decode_rfc2047() {
                return Some((bytes.get(..start)?, text, bytes.get(start + end..)?));
            }
        }
        from = start + 2;
    }
}

/// The length of what looks like an encoded word: `=?charset?B?text?=`.
fn word_end(bytes: &[u8]) -> Option<usize> {
    let bytes = bytes.get(..WORD_BYTES).unwrap_or(bytes);
    let rest = after(bytes.get(2..)?, b'?');
    let text = rest.get(2..).filter(|_| matches!(rest, [b'b' | b'B' | b'q' | b'Q', b'?', ..]))?;
    let end = text.windows(2).position(|two| two == b"?=")?;
    Some(bytes.len() - text.len() + end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(value: &[u8]) -> Option<String> {
        Parameters::new(value).text("filename")
    }

    #[test]
    fn names_are_read_as_they_were_meant() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"attachment", None),
            (b"attachment; filename=a.exe", Some("a.exe")),
            (b"attachment; FileName = \"a; b.exe\" ; size=3", Some("a; b.exe")),
            (b"attachment; filename=my own file.exe; size=3", Some("my own file.exe")),
            (b"attachment; filename=\"a\\\"b\\\\c\"", Some("a\"b\\c")),
            (b"form-data; name=\"f\"; filename=\"C:\\tmp\\x.exe\"", Some("C:\\tmp\\x.exe")),
            (b"attachment; filename=\"not closed.exe", Some("not closed.exe")),
            (b"attachment; filename*=iso-8859-1'en'%A3%20rates; filename=old", Some("£ rates")),
            (b"attachment; filename*=UTF-8''%e2%82%ac", Some("€")),
            (b"attachment; filename*1=\"b.exe\"; filename*0=\"a\"", Some("ab.exe")),
            (b"attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac; filename*2=.zip", Some("€.zip")),
            (b"attachment; filename*0=a; filename*2=c", Some("a")),
            (b"attachment; filename*0=a; filename*0=x; filename*1=b", Some("ab")),
            (b"attachment; filename*1=a; filename=b", Some("b")),
            (b"attachment; filename=\"=?UTF-8?B?4oKs?= =?iso-8859-1?Q?=A3_?= x.doc\"", Some("€£  x.doc")),
            (b"attachment; filename=\"=?koi8-r?B?8NLJ18XU?=\"", Some("Привет")),
            (b"attachment; filename=\"=?gb2312?B?xOO6ww==?=.exe\"", Some("你好.exe")),
            (b"attachment; filename==?x?=", Some("=?x?=")),
            (b"attachment; filename=\"\xe4.txt\"", Some("ä.txt")),
            (b"attachment; filename=\"\xc3\xa4.txt\"", Some("ä.txt")),
            (b"attachment; =x; ;;; filename", None),
        ];
        for (value, wanted) in cases {
            assert_eq!(name(value).as_deref(), *wanted, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn boundaries_are_bytes() {
        let cases: &[(&[u8], Option<&[u8]>)] = &[
            (b"multipart/mixed; boundary=\"a b\xff\"", Some(b"a b\xff")),
            (b"multipart/mixed; boundary=ab (a comment)", Some(b"ab")),
            (b"multipart/mixed; boundary*0=a; boundary*1=\"b\"", Some(b"ab")),
            (b"multipart/mixed", None),
        ];
        for (value, wanted) in cases {
            assert_eq!(Parameters::new(value).bytes("boundary").as_deref(), *wanted, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn words_that_never_end_take_no_time() {
        let value = [&b"a; filename="[..], &b"=?u?q?".repeat(10_000)].concat();
        assert!(name(&value).is_some());
    }
}
