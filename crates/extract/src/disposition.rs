//! The name of a file as its sender gave it in a Content-Disposition (RFC 6266, RFC 8187); it may hold anything.

/// The name that a Content-Disposition gives, quotes and escapes undone.
pub fn disposition(value: &[u8]) -> Option<String> {
    let mut plain = None;
    for (name, value) in parameters(value) {
        if name.eq_ignore_ascii_case(b"filename*") {
            // The extended form counts, where both are given (RFC 6266 §4.3).
            if let Some(name) = extended(&value) {
                return Some(name);
            }
        } else if name.eq_ignore_ascii_case(b"filename") && plain.is_none() {
            plain = Some(String::from_utf8_lossy(&value).into_owned());
        }
    }
    plain.filter(|name| !name.is_empty())
}

/// The parameters after the first semicolon, quotes taken off.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = skip_to(value, b';');
    while !rest.is_empty() {
        let end = rest.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().trim_ascii();
        rest = rest.get(end..).unwrap_or_default();
        let Some(after) = rest.strip_prefix(b"=") else {
            rest = skip_to(rest, b';');
            continue;
        };
        let after = after.trim_ascii_start();
        let (value, after) = match after.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.iter().position(|b| *b == b';').unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end).unwrap_or((after, b""));
                (value.trim_ascii().to_vec(), after)
            }
        };
        found.push((name, value));
        rest = skip_to(after, b';');
    }
    found
}

/// What comes after the next `byte`.
fn skip_to(bytes: &[u8], byte: u8) -> &[u8] {
    bytes.iter().position(|b| *b == byte).and_then(|at| bytes.get(at + 1..)).unwrap_or_default()
}

/// A quoted string up to its closing quote, and what comes after it. A backslash before anything but a quote or another
/// one stays: it stands in paths that old browsers send.
fn unquote(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'\\', byte @ (b'"' | b'\\'), after @ ..] => {
                value.push(*byte);
                after
            }
            [b'"', after @ ..] => return (value, after),
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
            [] => return (value, rest),
        };
    }
}

/// `UTF-8'en'na%C3%AFve.txt` (RFC 8187 §3.2).
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let charset = parts.next()?;
    let bytes = percent(parts.nth(1)?);
    if charset.eq_ignore_ascii_case(b"utf-8") {
        Some(String::from_utf8_lossy(&bytes).into_owned())
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

/// Percent-encoding undone (RFC 3986 §2.1); what is none stays.
pub fn percent(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if let ([high, low, after @ ..], b'%') = (after, byte)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispositions_give_names() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"attachment; filename=a.exe", Some("a.exe")),
            (b"attachment; FileName = \"a; \\\"b\\\".exe\" ; x=y", Some("a; \"b\".exe")),
            (b"attachment; filename=\"C:\\dir\\a.exe\"", Some("C:\\dir\\a.exe")),
            (b"attachment; filename=a; filename*=UTF-8''na%C3%AFve.txt", Some("na\u{ef}ve.txt")),
            (b"attachment; filename*=iso-8859-1'en'%A3.txt", Some("\u{a3}.txt")),
            (b"attachment; filename*=koi8-r''x; filename=y", Some("y")),
            (b"attachment; filename=\"\"", None),
            (b"filename=a", None),
            (b"inline", None),
        ];
        for (value, name) in cases {
            assert_eq!(disposition(value).as_deref(), *name, "{}", value.escape_ascii());
        }
    }
}
