//! Captures that others made: every frame is compared with what an independent reader, pcap-parser, finds.
//!
//! The captures are read from the folder that `STREAMDB_CORPUS` names; without it the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use common::{Said, frame, only_frames};
use pcap_parser::{Block, PcapBlockOwned, create_reader};
use streamdb_capture::{CaptureFile, fingerprint};

/// What pcap-parser finds, and whether it came to the end of the file.
fn reference(bytes: &[u8]) -> (Vec<Said>, bool) {
    let mut frames = Vec::new();
    let mut interfaces = Vec::new();
    let (mut first, mut last, mut unit, mut left) = (0, 0, 1000, bytes.len());
    let mut reader = match create_reader(bytes.len().max(1 << 16), Cursor::new(bytes)) {
        Ok(reader) => reader,
        Err(_) => return (frames, false),
    };
    loop {
        // The whole file is in the reader's buffer: whatever stops it, what counts is where.
        let Ok((used, block)) = reader.next() else { return (frames, left == 0) };
        match block {
            PcapBlockOwned::LegacyHeader(header) => unit = if header.is_nanosecond_precision() { 1 } else { 1000 },
            PcapBlockOwned::Legacy(b) => {
                let time = i64::from(b.ts_sec) * 1_000_000_000 + i64::from(b.ts_usec) * unit;
                frames.push(frame(time, 0, b.origlen, &b.data[..b.caplen as usize]));
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => first = interfaces.len(),
            PcapBlockOwned::NG(Block::InterfaceDescription(b)) => {
                interfaces.push((b.ts_resolution().unwrap(), b.if_tsoffset, b.snaplen));
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(b)) => {
                let interface = first + b.if_id as usize;
                let (per_second, offset, _) = interfaces[interface];
                let ticks = u64::from(b.ts_high) << 32 | u64::from(b.ts_low);
                // Half a nanosecond cannot occur in the resolutions of the corpus, so rounding does not matter.
                // A capture with times before 1970 is among them: counts below zero, in two's complement.
                let nanos = i128::from(ticks.cast_signed()) * 1_000_000_000;
                let nanos = nanos.div_euclid(i128::from(per_second)) + i128::from(offset) * 1_000_000_000;
                last = i64::try_from(nanos).unwrap();
                frames.push(frame(last, interface as u32, b.origlen, &b.data[..b.caplen as usize]));
            }
            PcapBlockOwned::NG(Block::SimplePacket(b)) => {
                let (_, _, snap) = interfaces[first];
                let length = if snap == 0 { b.origlen } else { b.origlen.min(snap) } as usize;
                frames.push(frame(last, first as u32, b.origlen, &b.data[..length]));
            }
            PcapBlockOwned::NG(_) => {}
        }
        left -= used;
        reader.consume(used);
    }
}

/// What we find, and the error at the end.
fn ours(path: &Path) -> (Vec<Said>, Option<String>) {
    let mut said = Vec::new();
    let mut file = match CaptureFile::open(path) {
        Ok(file) => file,
        Err(error) => return (said, Some(error.to_string())),
    };
    loop {
        match file.next() {
            Ok(Some(item)) => said.push(Said::of(item)),
            Ok(None) => {
                assert_eq!(Some(file.position()), file.size());
                return (only_frames(said), None);
            }
            Err(error) => return (only_frames(said), Some(error.to_string())),
        }
    }
}

#[test]
fn every_frame_of_the_corpus_is_as_another_reader_finds_it() {
    let Some(folder) = std::env::var_os("STREAMDB_CORPUS").filter(|folder| Path::new(folder).is_dir()) else {
        println!("skipped: STREAMDB_CORPUS names no folder of captures");
        return;
    };
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e != "tsv" && e != "md"));
    paths.sort();
    let (mut files, mut frames, mut wrong) = (0, 0, Vec::new());
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        }
        let (theirs, to_the_end) = reference(&bytes);
        let (ours, error) = ours(&path);
        if ours != theirs || to_the_end != error.is_none() {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            wrong.push(format!(
                "{name}: {} and {} frames, equal up to {same}, {error:?}, {to_the_end}",
                ours.len(),
                theirs.len()
            ));
        }
        assert_eq!(fingerprint(&path).unwrap(), fingerprint(&path).unwrap());
        (files, frames) = (files + 1, frames + ours.len());
    }
    println!("{files} captures, {frames} frames");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
