//! The name of a file as its sender gave it: from Content-Disposition (RFC 6266, RFC 8187), or else from the path that was
//! asked for. Never a path: folders are cut off, control characters left out.

/// Longest name, in bytes.
const LONGEST: usize = 255;

/// The name that a Content-Disposition gives.
pub(crate) fn disposition(value: &[u8]) -> Option<String> {
    let mut plain = None;
    for (name, value) in parameters(value) {
        if name.eq_ignore_ascii_case(b"filename*") {
            // The extended form counts, where both are given (RFC 6266 §4.3).
            if let Some(name) = extended(&value).and_then(|name| clean(&name)) {
                return Some(name);
            }
        } else if name.eq_ignore_ascii_case(b"filename") && plain.is_none() {
            plain = clean(&String::from_utf8_lossy(&value));
        }
    }
    plain
}

/// The last segment of a request target's path.
pub(crate) fn target(target: &[u8]) -> Option<String> {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let path = match path.windows(3).position(|three| three == b"://") {
        // Without a path there is no name: the last segment would be the host.
        Some(at) => {
            path.get(at + 3..).and_then(|rest| rest.iter().position(|b| *b == b'/').and_then(|at| rest.get(at..)))?
        }
        None => path,
    };
    if !path.starts_with(b"/") {
        return None;
    }
    let segment = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    clean(&String::from_utf8_lossy(&percent(segment)))
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
fn percent(text: &[u8]) -> Vec<u8> {
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

pub(crate) fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean = String::new();
    for c in last.trim().chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > LONGEST {
            break;
        }
        clean.push(c);
    }
    (!clean.is_empty() && !clean.chars().all(|c| c == '.')).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispositions_give_names() {
        for (value, name) in [
            (&b"attachment; filename=setup.exe"[..], Some("setup.exe")),
            (b"attachment; filename=\"my file.exe\"; size=3", Some("my file.exe")),
            (b"attachment;FileName = \"a\\\"b;c.txt\"", Some("a\"b;c.txt")),
            (b"attachment; filename=\"C:\\temp\\x.doc\"", Some("x.doc")),
            (b"attachment; filename=../../etc/passwd", Some("passwd")),
            (b"attachment; filename=old.txt; filename*=UTF-8''na%C3%AFve.txt", Some("na\u{ef}ve.txt")),
            (b"attachment; filename*=utf-8'en'%2e%2e%2fx", Some("x")),
            (b"attachment; filename*=klingon''x; filename=y", Some("y")),
            (b"form-data; name=\"f\"; filename=\"a\x1b[31m\n.txt\"", Some("a[31m.txt")),
            (b"inline", None),
            (b"attachment; filename=", None),
            (b"attachment; filename=..", None),
            (b"attachment; filename=\"cut", Some("cut")),
            (b";;;=;\"", None),
        ] {
            assert_eq!(disposition(value).as_deref(), name, "{}", value.escape_ascii());
        }
        assert_eq!(disposition(&[b"; filename=".as_slice(), &[b'x'; 1000]].concat()).unwrap().len(), LONGEST);
    }

    #[test]
    fn targets_give_names() {
        for (asked, name) in [
            (&b"/imagedump/image.php?size=0"[..], Some("image.php")),
            (b"http://a.example/x/y%20z.zip", Some("y z.zip")),
            (b"http://a.example", None),
            (b"a.example:443", None),
            (b"/", None),
            (b"*", None),
            (b"/a/b%2fc", Some("c")),
            (b"/100%", Some("100%")),
        ] {
            assert_eq!(target(asked).as_deref(), name, "{}", asked.escape_ascii());
        }
    }
}
