//! XMPP (RFC 6120 §5.4.2): behind the elements `starttls` and `proceed`.

use memchr::memmem;

/// Where TLS begins on both sides.
pub(super) fn place([client, server]: [&[u8]; 2]) -> Option<[usize; 2]> {
    let begins = client.trim_ascii_start();
    if !begins.starts_with(b"<?xml") && !begins.starts_with(b"<stream:stream") {
        return None;
    }
    Some([behind(client, b"starttls")?, behind(server, b"proceed")?])
}

/// Where the first element of this name ends, and white space behind it.
fn behind(bytes: &[u8], name: &[u8]) -> Option<usize> {
    let opens = memmem::find(bytes, &[b"<", name, b" "].concat())?;
    let mut end = opens + bytes.get(opens..)?.iter().position(|byte| *byte == b'>')? + 1;
    if bytes.get(..end)?.ends_with(b"/>") || bytes.get(end..)?.starts_with(b"\x16") {
        return Some(end + blanks(bytes, end));
    }
    let closes = [b"</", name, b">"].concat();
    end += memmem::find(bytes.get(end..)?, &closes)? + closes.len();
    Some(end + blanks(bytes, end))
}

fn blanks(bytes: &[u8], from: usize) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}
