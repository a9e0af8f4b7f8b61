//! The protocol of a connection in a word, by the first bytes of one side.

use crate::bytes::first;
use crate::kind::HEAD_BYTES;
use crate::session;

/// How each sentence about a session begins, and the word for the protocol. Sentences that name two protocols have none.
const WORDS: &[(&str, &str)] = &[
    ("TLS ", "tls"),
    ("SSL ", "tls"),
    ("SSH-", "ssh"),
    ("HTTP session", "http"),
    ("HTTP/2 ", "http2"),
    ("SMB session", "smb"),
    ("SMB2 ", "smb"),
    ("NetBIOS ", "netbios"),
    ("RDP ", "rdp"),
    ("RFB ", "rfb"),
    ("X11 ", "x11"),
    ("Telnet ", "telnet"),
    ("FTP session", "ftp"),
    ("SMTP session", "smtp"),
    ("IMAP ", "imap"),
    ("POP3 ", "pop3"),
    ("NNTP ", "nntp"),
    ("IRC ", "irc"),
    ("XMPP ", "xmpp"),
    ("SIP ", "sip"),
    ("RTSP ", "rtsp"),
    ("DNS ", "dns"),
    ("LDAP ", "ldap"),
    ("DCE/RPC ", "dcerpc"),
    ("Sun RPC ", "sunrpc"),
    ("SOCKS", "socks"),
    ("MySQL ", "mysql"),
    ("PostgreSQL ", "postgresql"),
    ("Microsoft SQL Server ", "mssql"),
    ("MongoDB ", "mongodb"),
    ("Redis ", "redis"),
    ("MQTT ", "mqtt"),
    ("AMQP ", "amqp"),
    ("BitTorrent", "bittorrent"),
    ("Bitcoin ", "bitcoin"),
    ("Git ", "git"),
    ("rsync ", "rsync"),
];

/// Every word that [`protocol`] answers.
pub fn protocols() -> impl Iterator<Item = &'static str> {
    WORDS.chunk_by(|one, next| one.1 == next.1).filter_map(|same| same.first()).map(|(_, word)| *word)
}

/// The protocol that these bytes, the first of one side of a connection, show; `None` also when they fit two.
pub fn protocol(head: &[u8]) -> Option<&'static str> {
    let kind = session::describe(first(head, HEAD_BYTES))?;
    WORDS.iter().find(|(begins, _)| kind.description.starts_with(begins)).map(|(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_has_its_word() {
        let source = include_str!("session.rs");
        let (code, _) = source.split_once("#[cfg(test)]").unwrap();
        let mut sentences = 0;
        for sentence in code.split('"').skip(1).step_by(2).filter(|text| text.ends_with(" session")) {
            let both = sentence.contains(" or ");
            // The names of those that say their version stand apart.
            let known = WORDS.iter().any(|(begins, _)| sentence.starts_with(begins)) || sentence == " session";
            assert_eq!(known, !both, "{sentence}");
            sentences += 1;
        }
        assert!(sentences > 30, "{sentences}");
    }

    #[test]
    fn first_bytes_show_it() {
        for (head, word) in [
            (&b"\x16\x03\x01\x00\x2e\x01\0\0\x2a\x03\x03"[..], Some("tls")),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some("ssh")),
            (b"GET / HTTP/1.1\r\n", Some("http")),
            (b"HTTP/1.1 200 OK\r\n", Some("http")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("http2")),
            (b"\0\0\0\x40\xfeSMB", Some("smb")),
            (b"RFB 003.008\n", Some("rfb")),
            (b"@RSYNCD: 31.0\n", Some("rsync")),
            (b"220 ready\r\n", None),
            (b"EHLO a\r\n", Some("smtp")),
            (b"SS", None),
            (b"", None),
        ] {
            assert_eq!(protocol(head), word, "{head:?}");
        }
    }
}
