//! Names of files and folders.

/// The longest path that is kept.
pub(super) const PATH: usize = 4 << 10;

/// A path as a server takes it in a folder. A relative folder, or an empty one, is one below where the login led to.
pub(super) fn join(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let drive = matches!(path, [letter, b':', ..] if letter.is_ascii_alphabetic());
    if drive {
        return path.to_vec();
    }
    let base = if path.starts_with(b"/") { &b""[..] } else { folder };
    let absolute = path.starts_with(b"/") || folder.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in base.split(is_slash).chain(path.split(is_slash)) {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => _ = parts.pop(),
                None if absolute => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let mut whole = if absolute { b"/".to_vec() } else { Vec::new() };
    whole.extend(parts.join(&b'/'));
    whole
}

/// Goes from a folder, as [`join`] gives it, into another one.
pub(super) fn enter(folder: &mut Vec<u8>, path: &[u8]) {
    // Nearly always it is one below, and then nothing is gone through again.
    let one = !path.is_empty() && !matches!(path, b"." | b".." | [_, b':', ..]) && !path.iter().any(is_slash);
    if !one {
        *folder = join(folder, path);
        return;
    }
    if !folder.is_empty() && folder.last() != Some(&b'/') {
        folder.push(b'/');
    }
    folder.extend_from_slice(path);
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

/// The name in quotes in a reply; quotes in it are doubled (RFC 959, appendix II).
pub(super) fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let open = text.iter().position(|byte| *byte == b'"')?;
    let mut rest = text.get(open + 1..)?.iter().peekable();
    let mut name = Vec::new();
    while let Some(byte) = rest.next() {
        if *byte == b'"' && rest.next_if(|next| **next == b'"').is_none() {
            return Some(name);
        }
        name.push(*byte);
    }
    None
}

/// What LIST and NLST are asked for, behind options for the program that lists.
pub(super) fn listed(argument: &[u8]) -> &[u8] {
    let mut rest = argument.trim_ascii_start();
    while rest.starts_with(b"-") {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        let join = |folder: &str, path: &str| String::from_utf8(join(folder.as_bytes(), path.as_bytes())).unwrap();
        assert_eq!(join("/pub", "a.bin"), "/pub/a.bin");
        assert_eq!(join("/pub", "/a/../b.bin"), "/b.bin");
        assert_eq!(join("/pub/x", "../y/./z"), "/pub/y/z");
        assert_eq!(join("/", "../../x"), "/x");
        assert_eq!(join("", "a.bin"), "a.bin");
        assert_eq!(join("", "../a.bin"), "../a.bin");
        assert_eq!(join("..", "../a.bin"), "../../a.bin");
        assert_eq!(join("x", ".."), "");
        assert_eq!(join("/pub", ""), "/pub");
        assert_eq!(join("/pub", "C:\\a"), "C:\\a");
    }

    #[test]
    fn folders_are_entered_as_paths_are_joined() {
        for folder in ["", "/", "/pub", "x", "..", "C:\\a"] {
            for path in ["", "a", ".", "..", "a/b", "/", "C:", "c:\\x", ":", "a:", "..."] {
                let mut entered = folder.as_bytes().to_vec();
                enter(&mut entered, path.as_bytes());
                assert_eq!(entered, join(folder.as_bytes(), path.as_bytes()), "{folder:?} {path:?}");
            }
        }
    }

    #[test]
    fn names_in_replies_and_lists() {
        assert_eq!(quoted(b"\"/a \"\"b\"\"\" is current").unwrap(), b"/a \"b\"");
        assert_eq!(quoted(b"\"/a"), None);
        assert_eq!(listed(b"-la -R  sub dir"), b"sub dir");
        assert_eq!(listed(b"-la"), b"");
    }
}
