//! TLS behind another protocol: who hands a connection over to it, and where.
//!
//! Protocols of which more is known ([`smtp`](crate::smtp), [`pop3`](crate::pop3), [`ftp`](crate::ftp)) find the place themselves, and
//! call [`then`]. For the others the table here has one file each, which looks at the beginnings of both streams only. Either way,
//! what follows is found as in a connection of TLS alone, and is there only if hellos are.

mod imap;
mod ldap;
mod lines;
mod mysql;
mod postgres;
mod rdp;
mod xmpp;

use streamdb_types::{Direction, StreamOffset};

use crate::inside::Found;
use crate::limits::Limits;
use crate::source::Source;
use crate::tls;
use crate::window::Window;

/// How much of each stream is looked at: what comes before TLS is short.
const HEAD: usize = 16 << 10;

/// Where TLS begins in the beginnings of what the client and the server send, if they speak the protocol and agree on it.
type Place = fn([&[u8]; 2]) -> Option<[usize; 2]>;

/// Who hands over to TLS, as sentences have it, and where.
const PROTOCOLS: [(&str, Place); 6] = [
    ("IMAP", imap::place),
    ("XMPP", xmpp::place),
    ("MySQL", mysql::place),
    ("PostgreSQL", postgres::place),
    ("LDAP", ldap::place),
    ("RDP", rdp::place),
];

/// What both streams of a connection say, when one of these protocols hands them over to TLS.
pub(crate) fn find(streams: [&dyn Source; 2], _: &Limits) -> Option<Found> {
    if streams.iter().any(|stream| stream.is_datagrams()) {
        return None;
    }
    let heads = streams.map(|stream| {
        let mut window = Window::new(stream, HEAD);
        let bytes = window.look(StreamOffset(0), HEAD).bytes;
        bytes.get(..HEAD).unwrap_or(bytes).to_vec()
    });
    Direction::BOTH.into_iter().find_map(|client| {
        let said = [client, client.flip()].map(|direction| direction.of(&heads).as_slice());
        let (name, [client_at, server_at]) = PROTOCOLS.iter().find_map(|(name, place)| Some((name, place(said)?)))?;
        let mut from = [StreamOffset(client_at as u64); 2];
        *client.flip().of_mut(&mut from) = StreamOffset(server_at as u64);
        let mut found = Found::default();
        for direction in Direction::BOTH {
            if direction.of(&streams).end() > StreamOffset(0) {
                *direction.of_mut(&mut found.sentences) = Some(format!("{name} session"));
            }
        }
        then(&mut found, streams, from).then_some(found)
    })
}

/// Adds what TLS says from these places on, if it begins there; says whether it does. In each direction it comes after all that was
/// found before.
pub(crate) fn then(found: &mut Found, streams: [&dyn Source; 2], from: [StreamOffset; 2]) -> bool {
    let Some(secret) = tls::find_from(streams, from) else { return false };
    for (parts, more) in found.parts.iter_mut().zip(secret.parts) {
        let before = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        parts.extend(more.into_iter().map(|mut part| {
            part.number = part.number.saturating_add(before);
            part
        }));
    }
    for (sentence, then) in found.sentences.iter_mut().zip(secret.sentences) {
        if let (Some(sentence), Some(then)) = (sentence, then) {
            sentence.push_str(", then ");
            sentence.push_str(&then);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySource;

    /// A hello of a client that offers TLS 1.2, and a server's that takes it, shows a certificate of one byte and is done.
    fn hellos() -> [Vec<u8>; 2] {
        let record = |handshake: &[u8]| [&[22, 3, 1, 0, handshake.len() as u8][..], handshake].concat();
        let fields = |rest: &[u8]| [&[3, 3][..], &[7; 32], &[0], rest].concat();
        let message = |kind: u8, body: &[u8]| [&[kind, 0, 0, body.len() as u8][..], body].concat();
        let client = message(1, &fields(&[0, 2, 0xc0, 0x2f, 1, 0]));
        let shown = message(11, &[0, 0, 4, 0, 0, 1, b'c']);
        let server = [message(2, &fields(&[0xc0, 0x2f, 0])), shown].concat();
        [record(&client), record(&server)]
    }

    fn found(client: &[u8], server: &[u8], swapped: bool) -> Option<Found> {
        let [hello, answer] = hellos();
        let (client, server) = ([client, &hello].concat(), [server, &answer].concat());
        let sources = [MemorySource::new(client), MemorySource::new(server)];
        let [one, two] = &sources;
        find(if swapped { [two, one] } else { [one, two] }, &Limits::default())
    }

    const STARTTLS: &[u8] = b"<?xml version='1.0'?><stream:stream to='x.example' xmlns='jabber:client' version='1.0'>\
        <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    const PROCEED: &[u8] =
        b"<?xml version='1.0'?><stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>\
        <required/></starttls></stream:features><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    /// Extended request and response, with and without the optional name and sums of the answer (RFC 4511 §4.14).
    const LDAP: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    const LDAP_DONE: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
    const MYSQL: &[u8] = b"\x20\0\0\x01\x85\xae\x7f\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const MYSQL_GREETING: &[u8] = b"\x1c\0\0\0\x0a8.0.34\0\x08\0\0\0saltsalt\0\xff\xff\xff\x02\0\xff\xdf";
    const RDP: &[u8] = b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0";
    const RDP_TAKEN: &[u8] = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0";

    #[test]
    fn each_protocol_hands_over() {
        let (imap, ready) =
            (b"a CAPABILITY\r\nb2 starttls\r\n", b"* OK hi\r\n* CAPABILITY IMAP4\r\na OK x\r\nb2 OK begin\r\n");
        let cases: &[(&str, &[u8], &[u8])] = &[
            ("IMAP", imap, ready),
            ("IMAP", b". CAPABILITY\r\n. STARTTLS\r\n", b"* OK hi\r\n* CAPABILITY IMAP4\r\n. OK x\r\n. OK begin\r\n"),
            ("XMPP", STARTTLS, PROCEED),
            ("MySQL", MYSQL, MYSQL_GREETING),
            ("PostgreSQL", b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f", b"NS"),
            ("PostgreSQL", b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"),
            ("LDAP", LDAP, LDAP_DONE),
            ("RDP", RDP, RDP_TAKEN),
        ];
        for (name, client, server) in cases {
            for swapped in [false, true] {
                let found = found(client, server, swapped).unwrap_or_else(|| panic!("{name}"));
                let [asked, answered] = found.sentences.map(Option::unwrap_or_default);
                for said in [&asked, &answered] {
                    assert!(said.starts_with(&format!("{name} session, then TLS 1.2 session")), "{said}");
                }
                let parts = &found.parts[usize::from(!swapped)];
                assert_eq!((parts.len(), parts[0].number, parts[0].protocol), (1, 1, "tls"), "{name}");
                let answer = server.len() + hellos()[1].len();
                assert_eq!(parts[0].content, std::slice::from_ref(&(answer as u64 - 1..answer as u64)), "{name}");
            }
        }
    }

    #[test]
    fn what_is_refused_is_not_handed_over() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"b STARTTLS\r\n", b"* OK hi\r\nb NO never\r\n"),
            (b"b STARTTLS\r\n", b"* OK hi\r\nbb OK other\r\n"),
            (STARTTLS, b"<?xml version='1.0'?><stream:stream><failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", b"N"),
            (LDAP, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0"),
            (LDAP, b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\0\x04\0\x04\0"),
            (RDP, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\0\0\0\0"),
            (b"", b""),
        ];
        for (client, server) in cases {
            assert_eq!(found(client, server, false), None, "{}", client.escape_ascii());
        }
    }
}
