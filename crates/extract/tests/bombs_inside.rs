//! What is cheap to send in other protocols than HTTP/1 must be cheap to look at, too: bounds on processor time and memory, each
//! beside what it bounds. There is one test, as memory is counted for the whole process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::bomb::{Made, measures, within};
use streamdb_extract::{Limits, MemorySource, Piece, Source, inside, messages, multipart};

const MIB: u64 = 1 << 20;
/// Bytes of each bomb.
const LONG: u64 = 64 * MIB;

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A record of TLS (RFC 8446 §5.1).
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(payload.len() as u16).to_be_bytes(), payload].concat()
}

/// How many things are found in a connection.
fn parts(to_server: &dyn Source, to_client: &dyn Source) -> usize {
    let limits = Limits::default();
    let found = messages(to_server, to_client, &limits);
    inside(&found, [to_server, to_client], &limits).map_or(0, |(_, found)| found.parts.iter().map(Vec::len).sum())
}

#[test]
fn what_is_cheap_to_send_is_cheap_to_look_at() {
    if !measures("what_is_cheap_to_send_is_cheap_to_look_at") {
        return;
    }
    let nothing = MemorySource::new([]);

    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat();
    let head = frame(1, 0, 1, &[0x82, 0x86, 0x84]);
    let whole = frame(1, 5, 1, &[0x82, 0x86, 0x84]);
    let open = frame(1, 4, 1, &[0x82, 0x86, 0x84]);
    for (what, start, unit) in [
        ("HTTP/2: frames of data without a byte", &open, frame(0, 0, 1, b"")),
        ("HTTP/2: frames of one byte", &open, frame(0, 0, 1, b"x")),
        ("HTTP/2: a head that goes on and on", &head, frame(9, 0, 1, &[0x82; 16])),
        ("HTTP/2: the same request again and again", &whole, whole.clone()),
        ("HTTP/2: pings", &whole, frame(6, 0, 0, b"12345678")),
        ("HTTP/2: settings", &whole, frame(4, 0, 0, &[0, 1, 0, 0, 0x10, 0].repeat(8))),
        ("HTTP/2: pushes", &whole, frame(5, 4, 1, &[0, 0, 0, 2, 0x82, 0x86, 0x84])),
    ] {
        let source = Made::new([&preface[..], start].concat(), &unit, LONG, b"");
        within(what, 10.0, 128.0, || parts(&source, &nothing));
    }

    let ask = MemorySource::new(
        *b"GET /c HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    );
    let taken = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let deflated = format!("{taken}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    for (what, start, unit) in [
        ("WebSocket: messages without a byte", format!("{taken}\r\n"), &[0x82, 0][..]),
        ("WebSocket: one message of fragments without a byte", format!("{taken}\r\n\x02\0"), &[0, 0]),
        ("WebSocket: pings", format!("{taken}\r\n"), &[0x89, 0]),
        // Each is a block of deflate that repeats what came before.
        ("WebSocket: small messages, deflated", deflated, &[0xc2, 4, 0x4a, 0x04, 0x03, 0x00]),
    ] {
        let source = Made::new(start, unit, LONG, b"");
        within(what, 20.0, 256.0, || parts(&ask, &source));
    }

    let greeting = MemorySource::new(
        *b"220 mx.example ESMTP\r\n250 hello\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
    );
    let opened = "EHLO h\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";
    let mixed = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n";
    for (what, start, unit) in [
        ("SMTP: a line that does not end", opened.to_owned(), &b"a"[..]),
        ("SMTP: lines without a letter", opened.to_owned(), b"\r\n"),
        ("SMTP: dots", format!("{opened}\r\n"), b"..\r\n"),
        ("SMTP: a field that goes on and on", format!("{opened}Subject: x\r\n"), b" y\r\n"),
        ("SMTP: fields", opened.to_owned(), b"a: b\r\n"),
        ("SMTP: parts of a mail", format!("{opened}{mixed}"), b"--x\r\n"),
        (
            "SMTP: parts that begin parts",
            format!("{opened}{mixed}"),
            b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n",
        ),
        ("SMTP: mails without a line", opened.to_owned(), b".\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"),
        ("SMTP: chunks without a byte", "EHLO h\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n".to_owned(), b"BDAT 0\r\n"),
        ("SMTP: recipients", "EHLO h\r\nMAIL FROM:<a@x>\r\n".to_owned(), b"RCPT TO:<b@y>\r\n"),
    ] {
        let source = Made::new(start, unit, LONG, b"\r\n");
        within(what, 20.0, 256.0, || parts(&source, &greeting));
    }

    for (what, start, unit) in [
        ("TLS: records without a byte", record(22, &[1, 0, 0, 4, 3, 3]), record(22, b"")),
        ("TLS: a hello in records of a byte", record(22, &[1, 0xff, 0xff, 0xff, 3, 3]), record(22, b"\0")),
        ("TLS: alerts", record(22, &[1, 0, 0, 2, 3, 3]), record(21, b"\x01\0")),
        ("TLS: hellos", record(22, &[1, 0, 0, 2, 3, 3]), record(22, &[1, 0, 0, 2, 3, 3])),
        (
            "TLS: certificates without a byte",
            record(22, &[2, 0, 0, 2, 3, 3]),
            record(22, &[11, 0, 0, 6, 0, 0, 3, 0, 0, 0]),
        ),
    ] {
        let source = Made::new(start, &unit, LONG, b"");
        within(what, 10.0, 64.0, || parts(&source, &source));
    }

    let files = MemorySource::new(
        *b"220 FTP server ready\r\n331 password\r\n230 in\r\n227 Entering Passive Mode (1,2,3,4,5,6)\r\n",
    );
    for (what, unit) in [
        ("FTP: commands", &b"PASV\r\nRETR a\r\n"[..]),
        ("FTP: folders", b"CWD aaaaaaaaaaaaaaaa\r\n"),
        ("FTP: a line that does not end", b"a"),
    ] {
        let source = Made::new("USER x\r\nPASS y\r\nPASV\r\nRETR a\r\n", unit, LONG, b"\r\n");
        within(what, 20.0, 128.0, || parts(&source, &files));
    }

    let socks = Made::new(*b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50", b"\0", LONG, b"");
    within("SOCKS: bytes of nothing", 10.0, 64.0, || {
        parts(&socks, &MemorySource::new(*b"\x05\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"))
    });

    for (what, unit) in [
        ("a form of boundaries", &b"--y\r\n"[..]),
        ("a form of heads", b"--y\r\nContent-Disposition: form-data; name=a\r\n\r\n"),
        ("a form of dashes", b"--"),
        ("a form that nests", b"--y\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n"),
    ] {
        let piece = unit.repeat(1 + (64 << 10) / unit.len());
        let found = within(what, 10.0, 64.0, || {
            let mut parts = multipart(b"multipart/form-data; boundary=y").unwrap();
            (0..LONG / piece.len() as u64).for_each(|_| parts.push(Piece::Bytes(&piece)));
            parts.finish(None).len()
        });
        assert!(found <= 2000, "{what}: {found}");
    }
}
