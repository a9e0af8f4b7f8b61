//! One long download over HTTP, made by a rule: what `benches/long.sh` stores and fetches again.
//!
//! - `download frames BYTES SECONDS`: a capture (pcap) of it on standard output, in full frames, over so many seconds
//! - `download body BYTES [FROM TO]`: the body alone, or the bytes of it from FROM to before TO
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench that fails can only stop")]

use std::io::{BufWriter, Write, stdout};

use streamdb_benches::{ACK, FIN, Host, PSH, SYN, tcp};

const PAYLOAD: u64 = 1448;
/// The body is made of lines of so many bytes, each with its number: it shrinks well, and no two places are the same.
const LINE: u64 = 64;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = BufWriter::with_capacity(1 << 20, stdout().lock());
    match words[..] {
        ["frames", bytes, seconds] => frames(bytes.parse().unwrap(), seconds.parse().unwrap(), &mut out),
        ["body", bytes] => body(0, bytes.parse().unwrap(), &mut |piece| out.write_all(piece).unwrap()),
        ["body", _, from, to] => {
            body(from.parse().unwrap(), to.parse().unwrap(), &mut |piece| out.write_all(piece).unwrap());
        }
        _ => panic!("download frames BYTES SECONDS | body BYTES [FROM TO]"),
    }
    out.flush().unwrap();
}

/// The bytes of the body from `from` to before `to`, in pieces.
fn body(from: u64, to: u64, take: &mut dyn FnMut(&[u8])) {
    let mut line = *b"line 0000000000000000 of a body that has a great many such lines";
    let mut at = from;
    while at < to {
        let number = at / LINE;
        for (place, digit) in line[5..21].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15];
        }
        let end = ((number + 1) * LINE).min(to);
        take(&line[(at % LINE) as usize..][..(end - at) as usize]);
        at = end;
    }
}

fn frames(bytes: u64, seconds: u64, out: &mut impl Write) {
    const BEGUN: u64 = 1_330_674_711_000_000_000;
    for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.write_all(&field.to_le_bytes()).unwrap();
    }
    let segments = bytes / PAYLOAD + 8;
    let host = |addr, port| Host { addr, port, seq: 1, ip_id: 1, stamp: 1, echo: 1 };
    let (mut client, mut server) = (host([10, 0, 0, 5], 40_000), host([203, 0, 113, 9], 80));
    let mut frame = Vec::new();
    let mut count = 0_u64;
    let mut put = |frame: &mut Vec<u8>, segment: u64| {
        count += 1;
        let time = BEGUN + (u128::from(segment) * u128::from(seconds) * 1_000_000_000 / u128::from(segments)) as u64;
        let length = frame.len() as u32;
        for field in [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, length, length] {
            out.write_all(&field.to_le_bytes()).unwrap();
        }
        out.write_all(frame).unwrap();
        frame.clear();
    };
    tcp(&mut frame, &mut client, &server, SYN, b"");
    put(&mut frame, 0);
    tcp(&mut frame, &mut server, &client, SYN | ACK, b"");
    put(&mut frame, 0);
    tcp(&mut frame, &mut client, &server, ACK, b"");
    put(&mut frame, 0);
    tcp(&mut frame, &mut client, &server, PSH | ACK, b"GET /long.iso HTTP/1.1\r\nHost: files.example\r\n\r\n");
    put(&mut frame, 0);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
    tcp(&mut frame, &mut server, &client, PSH | ACK, head.as_bytes());
    put(&mut frame, 0);
    let mut payload = Vec::new();
    let mut at = 0;
    for segment in 0.. {
        if at == bytes {
            break;
        }
        let to = (at + PAYLOAD).min(bytes);
        payload.clear();
        body(at, to, &mut |piece| payload.extend_from_slice(piece));
        tcp(&mut frame, &mut server, &client, ACK, &payload);
        put(&mut frame, segment);
        if segment % 8 == 0 {
            server.stamp = server.stamp.wrapping_add(1);
            client.echo = server.stamp;
            tcp(&mut frame, &mut client, &server, ACK, b"");
            put(&mut frame, segment);
        }
        at = to;
    }
    tcp(&mut frame, &mut server, &client, FIN | ACK, b"");
    put(&mut frame, segments);
    tcp(&mut frame, &mut client, &server, FIN | ACK, b"");
    put(&mut frame, segments);
    tcp(&mut frame, &mut server, &client, ACK, b"");
    put(&mut frame, segments);
}
