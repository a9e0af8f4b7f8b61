//! The same input gives the same buckets, byte for byte, by whichever way it comes in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{Data, Made, Talk, testdata, wait};
use serde_json::Value;

/// A store of these files, in this order.
fn stored(flags: &[&str], files: &[&Path]) -> Data {
    let data = Data::new("deterministic");
    data.ingest(flags, files).well();
    data
}

fn assert_same(one: &Data, other: &Data) {
    let (one, other) = (one.buckets(), other.buckets());
    let names = |buckets: &[(String, Vec<u8>)]| buckets.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        assert!(one == other, "{name}: {} and {} bytes, equal up to {same}", one.len(), other.len());
    }
}

/// Many connections at once over 40 seconds, some longer than a bucket; and large ones, so that long streams have blocks
/// of their own.
fn busy() -> Made {
    let mut made = Made::default();
    let mut talks: Vec<Talk> = (0..30).map(|n| Talk::new(40_000 + n)).collect();
    for (n, talk) in talks.iter_mut().enumerate() {
        talk.open(&mut made, n as u64 * 30);
    }
    let body: Vec<u8> = (0..60_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for second in 1..40 {
        for (n, talk) in talks.iter_mut().enumerate() {
            if second % (n + 1) == 0 {
                let millis = second as u64 * 1000 + n as u64 * 7;
                talk.ask(&mut made, millis, format!("GET /{second} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes());
                talk.answer(&mut made, millis + 3, &body[..body.len() / (n + 1)]);
            }
        }
    }
    for (n, talk) in talks.iter_mut().enumerate().filter(|(n, _)| n % 3 > 0) {
        talk.close(&mut made, 41_000 + n as u64);
    }
    made
}

/// Datagrams to many ports, half of them in fragments.
fn datagrams() -> Made {
    let mut made = Made::default();
    for n in 0..2000_u64 {
        let payload: Vec<u8> = (0..(n * 37 % 4000)).map(|byte| (byte * n) as u8).collect();
        let most = if n % 2 == 0 { 1480 } else { 65_000 };
        made.datagram(n * 10, (n % 50) as u16 + 1, &payload, most);
    }
    made
}

#[test]
fn twice_the_same_input_gives_the_same_buckets() {
    let place = Data::new("deterministic-input");
    let busy = place.write("busy.pcap", &busy().file());
    let datagrams = place.write("datagrams.pcap", &datagrams().file());
    let lossy = testdata("lossy-path", "capture.pcap");
    for (capture, least, flags) in [
        (&busy, 1, &[][..]),
        (&busy, 1, &["--compression", "fast"]),
        (&busy, 40, &["--bucket", "1s"]),
        (&datagrams, 1, &[]),
        (&datagrams, 19, &["--bucket", "1s", "--packets", "tcp"]),
        (&lossy, 1, &[]),
    ] {
        let (one, other) = (stored(flags, &[capture]), stored(flags, &[capture]));
        assert!(one.buckets().len() >= least, "{} buckets", one.buckets().len());
        assert_same(&one, &other);
        one.is_well();
    }
}

/// What comes through a pipe is published each second, so its blocks are cut otherwise than those of a file; and each time
/// the same.
/// Feeds a capture to `ingest -` in pieces of so many bytes.
fn piped(bytes: &[u8], piece: usize, pause: Duration) -> Data {
    let data = Data::new("deterministic-piped");
    let mut child = data.command("ingest", &["-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in bytes.chunks(piece) {
        pipe.write_all(piece).unwrap();
        std::thread::sleep(pause);
    }
    drop(pipe);
    assert!(wait(&mut child).success());
    data
}

/// A pipe is published at each second of packet time, a file when its blocks are full, so that their buckets differ; but
/// when the bytes of a pipe come does not matter, and what is stored is the same.
#[test]
fn standard_input_gives_the_same_buckets_however_slowly_it_comes() {
    let busy = busy();
    let bytes = busy.file();
    let one = piped(&bytes, 1 << 20, Duration::ZERO);
    assert_same(&one, &piped(&bytes, 100_003, Duration::from_millis(20)));
    one.is_well();
    let file = stored(&[], &[&one.write("busy.pcap", &bytes)]);
    assert_eq!(one.export().differs(&file.export().frames), None);
    let rows = |data: &Data| {
        let rows = data.streams(&[]).into_iter().map(|mut row| {
            ["oid", "peer_oid"].iter().for_each(|name| row[*name] = Value::Null);
            row.to_string()
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(&one), rows(&file));
}

/// Dealt out to three files, frame by frame or one after the other, and given in any order.
#[test]
fn the_order_of_files_does_not_matter() {
    let place = Data::new("deterministic-input");
    let frames = busy().frames;
    let mut dealt = vec![Made::default(); 3];
    for (n, frame) in frames.iter().enumerate() {
        dealt[n % 3].frames.push(frame.clone());
    }
    let third = frames.len() / 3;
    let parts = [&frames[..third], &frames[third..2 * third], &frames[2 * third..]];
    let parts = parts.map(|frames| Made { frames: frames.to_vec() });
    for (kind, files) in [("dealt", dealt.as_slice()), ("parts", &parts)] {
        let files: Vec<_> =
            files.iter().enumerate().map(|(n, made)| place.write(&format!("{kind}-{n}.pcap"), &made.file())).collect();
        let [a, b, c] = files.iter().map(|file| file.as_path()).collect::<Vec<_>>()[..] else { panic!("three files") };
        let whole = place.write("whole.pcap", &Made { frames: frames.clone() }.file());
        let wanted = stored(&[], &[&whole]);
        for order in [[a, b, c], [c, b, a], [b, c, a]] {
            assert_same(&wanted, &stored(&[], &order));
        }
    }
}
