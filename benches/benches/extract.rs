//! Finding one HTTP response in a connection and handing out its body.
//!
//! Backs bodies being walked in windows, in pieces, and never held whole: `body/*` beside `whole/*`, which has the body in
//! one piece in memory already and makes one piece of it. So `whole/plain` is one copy, `whole/gzip` is inflate alone, and
//! what `body/*` costs more is the windows. `messages/*` is what finding and framing alone costs.
#![allow(clippy::unwrap_used, reason = "a bench that fails can only stop")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use streamdb_benches::content;
use streamdb_extract::{BodyLimits, Decode, Limits, MemorySource, Messages, Piece, body, messages};
use streamdb_types::Direction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: usize = 1 << 20;

fn extract(criterion: &mut Criterion) {
    let plain = content(5, BODY);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut chunked = Vec::new();
    for chunk in plain.chunks(8 << 10) {
        write!(chunked, "{:x}\r\n", chunk.len()).unwrap();
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");

    let request = MemorySource::new(*b"GET /download.bin HTTP/1.1\r\nHost: example.org\r\n\r\n");
    let mut group = criterion.benchmark_group("extract");
    group.throughput(Throughput::Bytes(BODY as u64));
    for (name, fields, sent) in [
        ("plain", format!("Content-Length: {BODY}"), &plain),
        ("chunked", "Transfer-Encoding: chunked".to_owned(), &chunked),
        ("gzip", format!("Content-Length: {}\r\nContent-Encoding: gzip", gzip.len()), &gzip),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\n{fields}\r\n\r\n");
        let response = MemorySource::new([head.as_bytes(), sent].concat());
        let find = || messages(&request, &response, &Limits::default());
        let found = find();
        assert_eq!(hand_out(&found, &response), BODY);
        group.bench_function(format!("messages/{name}"), |b| b.iter(|| black_box(find())));
        group.bench_function(format!("body/{name}"), |b| b.iter(|| hand_out(&found, &response)));
    }
    group.bench_function("whole/plain", |b| b.iter(|| black_box(plain.clone()).len()));
    group.bench_function("whole/gzip", |b| {
        b.iter(|| {
            let mut whole = Vec::with_capacity(BODY);
            GzDecoder::new(&*gzip).read_to_end(&mut whole).unwrap();
            black_box(whole).len()
        });
    });
    group.finish();
}

/// The body of the first response, piece by piece; how many bytes it has.
fn hand_out(found: &Messages, response: &MemorySource) -> usize {
    let message = found.of(Direction::ToClient).first().unwrap();
    let mut bytes = 0;
    let outcome = body(message, response, Decode::Decoded, &BodyLimits::default(), &mut |piece| {
        if let Piece::Bytes(piece) = piece {
            bytes += black_box(piece).len();
        }
        ControlFlow::Continue(())
    });
    assert!(outcome.complete);
    bytes
}

criterion_group!(benches, extract);
criterion_main!(benches);
