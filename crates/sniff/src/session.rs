//! Sessions: what the first bytes of one side of a connection show its protocol to be.
//!
//! For streams that no dissector takes apart. Few bytes have to do, so each rule asks for fields that must be right, not
//! only for a number at the beginning.

use crate::bytes::{be16, first, from, le32, push_printable, starts_with, to_nul};
use crate::kind::Kind;
use crate::tls;

/// How much of a banner is shown, in bytes.
const BANNER: usize = 80;

/// The sentence for a side of a session that begins with `head`.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    if let Some(sentence) = tls::describe(head) {
        return Some(said(sentence));
    }
    if tls::is_version_2(head) {
        return Some(session("SSL 2.0 session"));
    }
    banner(head).or_else(|| binary(head).or_else(|| lines(head)).map(session))
}

const fn session(sentence: &'static str) -> Kind {
    Kind::fixed("application/octet-stream", sentence, "bin")
}

const fn said(sentence: String) -> Kind {
    Kind::made("application/octet-stream", sentence, "bin")
}

/// Protocols whose server or client says which program it is.
fn banner(head: &[u8]) -> Option<Kind> {
    if let Some(rest) = head.strip_prefix(b"SSH-") {
        let line = line(rest);
        let dash = line.iter().position(|b| *b == b'-')?;
        let (version, banner) = (first(line, dash), from(line, dash + 1));
        if version.is_empty() || version.len() > 8 {
            return None;
        }
        return Some(with("SSH-", version, " session", banner));
    }
    if let Some(rest) = head.strip_prefix(b"RFB ") {
        let version = line(rest);
        let sound = version.len() == 7 && version.iter().all(|b| b.is_ascii_digit() || *b == b'.');
        return sound.then(|| with("RFB ", version, " session", b""));
    }
    if let Some(rest) = head.strip_prefix(b"@RSYNCD: ") {
        return Some(with("rsync ", line(rest), " session", b""));
    }
    // The greeting: its length, the number 0, protocol 10, and the server's version.
    if let [_, _, 0, 0, 10, rest @ ..] = head {
        let version = to_nul(first(rest, BANNER));
        let sound = rest.get(version.len()) == Some(&0) && version.first().is_some_and(u8::is_ascii_digit);
        return sound.then(|| with("", b"MySQL", " session", version));
    }
    None
}

/// `SSH-2.0 session, OpenSSH_9.2`
fn with(before: &str, version: &[u8], after: &str, banner: &[u8]) -> Kind {
    let mut sentence = before.to_owned();
    push_printable(&mut sentence, version, 16);
    sentence.push_str(after);
    if !banner.is_empty() {
        sentence.push_str(", ");
        push_printable(&mut sentence, banner, BANNER);
    }
    said(sentence)
}

/// The first line, without its end.
fn line(bytes: &[u8]) -> &[u8] {
    let bytes = first(bytes, 256);
    first(bytes, memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len()))
}

/// Protocols of numbers.
fn binary(head: &[u8]) -> Option<&'static str> {
    match head {
        // A NetBIOS session message (RFC 1002 §4.3), in which SMB lies also where there is no NetBIOS.
        [0, 0..=1, _, _, 0xff, b'S', b'M', b'B', ..] => return Some("SMB session"),
        [0, _, _, _, 0xfe, b'S', b'M', b'B', ..] => return Some("SMB2 session"),
        [0, _, _, _, 0xfd, b'S', b'M', b'B', ..] => return Some("SMB2 session (encrypted)"),
        [0x81, 0, 0, 0x44, 0x20, ..] => return Some("NetBIOS session"),
        // A positive answer, after which the messages come.
        [0x82, 0, 0, 0, rest @ ..] if matches!(rest, [] | [0, ..]) => {
            return binary(rest).or(Some("NetBIOS session"));
        }
        [0x83, 0, 0, 1, 0x80..=0x8f] => return Some("NetBIOS session"),
        [19, rest @ ..] if rest.starts_with(b"BitTorrent protocol") => return Some("BitTorrent"),
        // A TPKT with a connection request or confirm (RFC 1006), and in it a cookie or a negotiation ([MS-RDPBCGR] §2.2.1).
        [3, 0, _, _, _, 0xe0, 0, 0, _, _, 0, rest @ ..]
            if rest.starts_with(b"Cookie: ") || matches!(rest, [1, _, 8, 0, ..]) =>
        {
            return Some("RDP session");
        }
        [3, 0, 0, 19, 14, 0xd0, _, _, _, _, _, 2..=3, _, 8, 0, ..] => return Some("RDP session"),
        // Version 5, a bind or its answer, in ASCII and IEEE (C706 §12.6).
        [5, 0 | 1, 11 | 12 | 14 | 15, _, 0 | 0x10, 0, 0, 0, ..] => return Some("DCE/RPC session"),
        // The methods of authentication, each once and in order, and then a request (RFC 1928 §3, §4).
        [5, 1, 0 | 2, rest @ ..] | [5, 2, 0, 1 | 2, rest @ ..] | [5, 3, 0, 1, 2, rest @ ..]
            if matches!(rest, [] | [5, 1..=3, 0, 1 | 3 | 4, ..] | [1, ..]) =>
        {
            return Some("SOCKS5 session");
        }
        // The start-up message and the request for TLS.
        [0, 0, _, _, 0, 3, 0, 0, rest @ ..] if rest.starts_with(b"user\0") || rest.starts_with(b"database\0") => {
            return Some("PostgreSQL session");
        }
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, ..] => return Some("PostgreSQL session"),
        // The server's: perhaps no to TLS, then how to authenticate.
        [b'R', 0, 0, 0, 8..=64, 0, 0, 0, 0..=12, ..] | [b'N', b'R', 0, 0, 0, 8..=64, 0, 0, 0, 0..=12, ..] => {
            return Some("PostgreSQL session");
        }
        // A login: number 1, capabilities with those of version 4.1, and 23 zeros before the name.
        [_, _, 0, 1, _, flags, ..] if flags & 2 != 0 && from(head, 13).starts_with(&[0; 23]) => {
            return Some("MySQL session");
        }
        // A pre-login packet ([MS-TDS] §2.2.6.5).
        [0x12, 1, _, _, 0, 0, _, 0, 0, 0, ..] => return Some("Microsoft SQL Server session"),
        [0x10, _, 0, 4, b'M', b'Q', b'T', b'T', ..] | [0x10, 0x80..=0xff, _, 0, 4, b'M', b'Q', b'T', b'T', ..] => {
            return Some("MQTT session");
        }
        [b'A', b'M', b'Q', b'P', 0 | 1 | 3, ..] => return Some("AMQP session"),
        [0xf9, 0xbe, 0xb4, 0xd9, b'v', b'e', b'r', b's', b'i', b'o', b'n', 0, ..] => return Some("Bitcoin session"),
        // Option negotiation (RFC 854, RFC 855).
        [0xff, 0xfb..=0xfe, 0..=49] | [0xff, 0xfb..=0xfe, 0..=49, 0xff | b'\r' | b'\n', ..] => {
            return Some("Telnet session");
        }
        [b'l', 0, 11, 0, 0, 0, ..] | [b'B', 0, 0, 11, 0, 0, ..] => return Some("X11 session"),
        // A remote procedure call or its answer in a record (RFC 5531 §9, §11): 0 or 1, and version 2.
        [0x80, _, _, _, _, _, _, _, 0, 0, 0, 0, 0, 0, 0, 2, ..] => return Some("Sun RPC session"),
        _ => {}
    }
    if is_ldap(head) {
        return Some("LDAP session");
    }
    if is_mongo(head) {
        return Some("MongoDB session");
    }
    is_dns(head).then_some("DNS over TCP")
}

/// A message that is a bind request or its response, or a search (RFC 4511 §4.1.1).
fn is_ldap(head: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = head else { return false };
    let rest = if *length >= 0x80 { from(rest, usize::from(length & 0x7f).min(8)) } else { rest };
    let [2, id @ 1..=4, rest @ ..] = rest else { return false };
    matches!(from(rest, usize::from(*id)), [0x60 | 0x61 | 0x63 | 0x64 | 0x65 | 0x77 | 0x78, _, ..])
}

/// A header of 16 bytes with a plausible length and an operation that exists.
fn is_mongo(head: &[u8]) -> bool {
    le32(head, 0).is_some_and(|length| (16..=48_000_000).contains(&length))
        && matches!(le32(head, 12), Some(2004 | 2012 | 2013))
}

/// A message behind its length (RFC 1035 §4.2.2): a header that makes sense, and one whole question.
fn is_dns(head: &[u8]) -> bool {
    let (Some(length), Some(flags), Some(questions), Some(answers)) =
        (be16(head, 0), be16(head, 4), be16(head, 6), be16(head, 8))
    else {
        return false;
    };
    let opcode = flags >> 11 & 15;
    if length < 17 || !matches!(opcode, 0 | 2 | 4 | 5) || questions != 1 || flags & 0x40 != 0 {
        return false;
    }
    // A question that is asked has no answers, except in a transfer or an update.
    if flags & 0x8000 == 0 && opcode == 0 && answers != 0 {
        return false;
    }
    let mut name = from(head, 14);
    for _ in 0..128 {
        match name {
            [0, rest @ ..] => {
                let (Some(kind), Some(class)) = (be16(rest, 0), be16(rest, 2)) else { return false };
                return (1..=65281).contains(&kind) && matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255);
            }
            [label @ 1..=63, rest @ ..] if rest.len() > usize::from(*label) => name = from(rest, usize::from(*label)),
            _ => return false,
        }
    }
    false
}

/// Protocols of words.
fn lines(head: &[u8]) -> Option<&'static str> {
    let line = line(head);
    let has = |word: &[u8]| crate::bytes::contains(line, word);
    match head.first()?.to_ascii_uppercase() {
        b'2' if line.starts_with(b"220") && matches!(line.get(3), Some(b' ' | b'-')) => {
            // FTP and SMTP greet alike; most servers say which they are.
            Some(if has(b"smtp") || has(b"mail") {
                "SMTP session"
            } else if has(b"ftp") {
                "FTP session"
            } else {
                "SMTP or FTP session"
            })
        }
        b'2' if line.starts_with(b"200 ") && has(b"nntp") || line.starts_with(b"201 ") && has(b"nntp") => {
            Some("NNTP session")
        }
        b'E' if starts_with(line, b"EHLO ") => Some("SMTP session"),
        b'H' if starts_with(line, b"HELO ") => Some("SMTP session"),
        b'+' if line.starts_with(b"+OK ") || line == b"+OK" => Some("POP3 session"),
        b'*' if line.starts_with(b"* OK") || line.starts_with(b"* PREAUTH") => Some("IMAP session"),
        b'*' if matches!(line, [b'*', b'1'..=b'9', ..]) && is_redis(head) => Some("Redis session"),
        b'U' if line.starts_with(b"USER ") => Some(if has(b" :") { "IRC session" } else { "FTP or POP3 session" }),
        b'N' if line.starts_with(b"NICK ") => Some("IRC session"),
        b'C' if line.starts_with(b"CAP LS") => Some("IRC session"),
        b'P' if head.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") => Some("HTTP/2 session"),
        b'R' if line.starts_with(b"RTSP/1.0 ") => Some("RTSP session"),
        b'S' if line.starts_with(b"SIP/2.0 ") => Some("SIP session"),
        b'H' if line.starts_with(b"HTTP/1.") => Some("HTTP session"),
        b'<' if has(b"http://etherx.jabber.org/streams") || head.starts_with(b"<stream:stream") => Some("XMPP session"),
        b':' if has(b" notice ") || has(b" 001 ") => Some("IRC session"),
        b'0' if line.len() > 8 && has(b"git-upload-pack") || has(b"git-receive-pack") => Some("Git session"),
        _ if line.ends_with(b" SIP/2.0") => Some("SIP session"),
        _ if line.ends_with(b" RTSP/1.0") => Some("RTSP session"),
        _ if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") => Some("HTTP session"),
        _ => None,
    }
}

/// A command as an array of strings with their lengths.
fn is_redis(head: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(first(head, 16), b"\r\n") else { return false };
    let count = first(head, end).get(1..).unwrap_or_default();
    count.iter().all(u8::is_ascii_digit) && matches!(from(head, end + 2), [b'$', b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(head: &[u8]) -> String {
        describe(head).map_or_else(String::new, |kind| kind.description.into_owned())
    }

    #[test]
    fn words_and_banners() {
        assert_eq!(say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0"), "SSH-2.0 session, OpenSSH_9.2p1 Debian-2");
        assert_eq!(say(b"SSH-2.0-\x1b]0;x\x07\n"), "SSH-2.0 session, \\x1b]0;x\\x07");
        assert_eq!(say(b"220 mail.example.com ESMTP Postfix\r\n"), "SMTP session");
        assert_eq!(say(b"220 (vsFTPd 3.0.3)\r\n"), "FTP session");
        assert_eq!(say(b"\x4a\0\0\0\x0a8.0.34\0rest"), "MySQL session, 8.0.34");
        assert_eq!(say(b"RFB 003.008\n"), "RFB 003.008 session");
        assert_eq!(say(b"*1\r\n$4\r\nPING\r\n"), "Redis session");
        assert_eq!(say(b"plain words\n"), "");
    }
}
