//! The name of a file as its sender gave it: from Content-Disposition (RFC 6266, RFC 8187), or else from the path that was
//! asked for. Never a path: folders are cut off, control characters left out.

/// Longest name, in bytes.
const LONGEST: usize = 255;

/// The name that a Content-Disposition gives.
pub(crate) fn disposition(value: &[u8]) -> Option<String> {
    streamdb_extract::disposition(value).as_deref().and_then(clean)
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
    clean(&String::from_utf8_lossy(&streamdb_extract::percent(segment)))
}

/// A name without folders, blanks around it and control characters; `None` when nothing is left.
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
