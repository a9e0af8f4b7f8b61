//! Damaged and cut files: what is before the damage is read, then one sentence says what is wrong, and never a panic.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Read;
use std::path::Path;

use common::{Build, Said, gzip, only_frames, read, read_whole, sentence};
use proptest::prelude::*;
use streamdb_capture::{CaptureFile, Error, MAX_FRAME};

const MICRO: u32 = 0xa1b2_c3d4;

/// A small file of each format, in both orders, with everything that is read.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for big in [false, true] {
        let classic = |magic| Build::new(big).pcap(magic, 1);
        samples.push(classic(MICRO).record(1, 2, 3, b"abc").record(2, 3, 60, b"defgh").record(3, 0, 0, b"").bytes);
        let modified = |b: Build| b.u32(1).u32(2).u32(3).u32(9).raw(&[7; 8]).raw(b"abc");
        samples.push(modified(modified(classic(0xa1b2_cd34))).bytes);
        let file = Build::default()
            .section(big)
            .interface(1, 4, |b| {
                b.option(9, &[9]).option_u64(14, 1).option(13, &[4]).option(11, &[1; 9]).option(0, &[])
            })
            .block(10, |b| b.u32(1).u32(5).padded(b"keys!"))
            .packet_with(0, 5, 9, b"abcde", |b| b.option(1, b"hello").option_u64(4, 2).option(0, &[]))
            .simple(9, b"abcd")
            .block(4, |b| b.u16(1).u16(8).padded(b"\x0a\0\0\x01abc\0").u32(0))
            .section(!big)
            .block(0x0bad, |b| b.u32(1))
            .interface(101, 0, |b| b)
            .block(2, |b| b.u16(0).u16(1).u32(0).u32(9).u32(3).u32(3).padded(b"old"))
            .block(5, |b| b.u32(0).u32(0).u32(9).option_u64(5, 7));
        samples.push(file.bytes);
    }
    samples
}

#[test]
fn a_file_cut_at_any_byte_gives_what_is_before_the_cut_and_then_an_error() {
    for sample in samples() {
        let whole = read_whole(&sample);
        let mut clean = 0;
        for cut in 0..sample.len() {
            let (said, error) = read(&sample[..cut]);
            assert!(whole.starts_with(&said), "cut at {cut}");
            match error {
                None => clean += 1,
                Some(Error::Empty { .. }) => assert_eq!(cut, 0),
                Some(Error::NotCapture { .. }) => assert!(cut < 4),
                Some(Error::Truncated { place, found, frames, .. }) => {
                    assert_eq!(place.offset + found, cut as u64);
                    assert_eq!(frames, only_frames(said).len() as u64);
                }
                Some(other) => panic!("cut at {cut}: {other}"),
            }
        }
        // Between records nobody can tell that something is missing: classic files have 3 and 2 such places, the other
        // has 10 between its 11 blocks.
        assert!([3, 2, 10].contains(&clean), "{clean}");
    }
}

#[test]
fn a_compressed_file_cut_at_any_byte_gives_what_is_before_the_cut_and_then_an_error() {
    for sample in samples() {
        let whole = read_whole(&sample);
        for packed in [gzip(&sample), zstd::bulk::compress(&sample, 3).unwrap()] {
            for cut in 1..packed.len() {
                let (said, error) = read(&packed[..cut]);
                assert!(whole.starts_with(&said), "cut at {cut}");
                match error {
                    Some(Error::Decompress { position, frames, .. }) => {
                        assert!(position <= cut as u64);
                        assert_eq!(frames, only_frames(said).len() as u64);
                    }
                    Some(Error::NotCapture { .. }) if cut < 4 => {}
                    other => panic!("cut at {cut}: {other:?}"),
                }
            }
        }
    }
}

/// gzip that does not compress: its bytes are where one expects them, whatever wrote them.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01";
    let length = bytes.len() as u16;
    let (crc, all) = (crc32fast::hash(bytes).to_le_bytes(), u32::from(length).to_le_bytes());
    [head.as_slice(), &length.to_le_bytes(), &(!length).to_le_bytes(), bytes, &crc, &all].concat()
}

/// The same with zstd.
fn raw_zstd(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u8;
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    [b"\x28\xb5\x2f\xfd\x20".as_slice(), &[length], &block[..3], bytes].concat()
}

#[test]
fn every_fault_is_one_sentence() {
    let pcap = || Build::new(false).pcap(MICRO, 1);
    let ng = || Build::default().section(false).interface(1, 0, |b| b);
    let cut = |mut build: Build, bytes: usize| {
        build.bytes.truncate(build.bytes.len() - bytes);
        build.bytes
    };
    let patched = |mut build: Build, from_end: usize, byte: u8| {
        let at = build.bytes.len() - from_end;
        build.bytes[at] = byte;
        build.bytes
    };
    let two = pcap().record(1, 0, 3, b"abc").record(1, 0, 3, b"abc");
    let flipped = |mut bytes: Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0xff;
        bytes
    };
    let not = "; pcap and pcapng are read, plain or compressed by gzip or zstd";
    for (bytes, expected) in [
        (vec![], "x.pcap: is empty: expected a capture (pcap or pcapng, plain, gzip or zstd)".into()),
        (
            gzip(b""),
            "x.pcap: its uncompressed data is empty: expected a capture (pcap or pcapng, plain, gzip or zstd)".into(),
        ),
        (b"#!/bin/sh\n".to_vec(), format!("x.pcap: not a capture: it begins with 23 21 2f 62 69 6e 2f 73{not}")),
        (b"ab".to_vec(), format!("x.pcap: not a capture: it begins with 61 62{not}")),
        (b"\xfd7zXZ\0\0\x04".to_vec(), format!("x.pcap: not a capture: it is compressed by xz{not}")),
        (
            gzip(&pcap().zstd()),
            format!("x.pcap: not a capture: what comes out of decompression is compressed again, by zstd{not}"),
        ),
        (
            cut(pcap(), 4),
            "x.pcap: truncated at byte 0: expected a file header of 24 bytes, found 20 of them; no whole frame is before it".into(),
        ),
        (
            pcap().pcap_version(MICRO, 1, 3, 1).bytes.split_off(24),
            "x.pcap: damaged at byte 4: expected a pcap version of 2.0 to 2.4, found 3.1; no whole frame is before it".into(),
        ),
        (
            cut(two.clone(), 1),
            "x.pcap: truncated at byte 43: expected a record of 19 bytes, found 18 of them; the 1 frame before it was read".into(),
        ),
        (
            cut(two.clone(), 10),
            "x.pcap: truncated at byte 43: expected a record header of 16 bytes, found 9 of them; the 1 frame before it was read".into(),
        ),
        (
            gzip(&cut(two.clone(), 1)),
            "x.pcap: truncated at byte 43 of the uncompressed data: expected a record of 19 bytes, found 18 of them; the 1 frame before it was read".into(),
        ),
        (
            two.clone().u64(0).u32(300_000).u32(300_000).bytes,
            "x.pcap: damaged at byte 62: expected a record of at most 262144 captured bytes, found 300000; the 2 frames before it were read".into(),
        ),
        (
            cut(Build { bytes: stored(&two.bytes), ..Build::default() }, 9),
            "x.pcap: its gzip data is damaged at about byte 76 (at byte 61 of the uncompressed data): the compressed data ends early; the 1 frame before it was read".into(),
        ),
        (
            flipped(stored(&two.bytes), 8),
            "x.pcap: its gzip data is damaged at about byte 85 (at byte 62 of the uncompressed data): its checksum does not fit its bytes; the 2 frames before it were read".into(),
        ),
        (
            flipped(stored(&two.bytes), 1),
            "x.pcap: its gzip data is damaged at about byte 85 (at byte 62 of the uncompressed data): its length does not fit its bytes; the 2 frames before it were read".into(),
        ),
        (
            [stored(&two.bytes), b"tail".to_vec()].concat(),
            "x.pcap: its gzip data is damaged at about byte 85 (at byte 62 of the uncompressed data): the compressed data ends early; the 2 frames before it were read".into(),
        ),
        (
            [stored(&two.bytes), b"a longer tail".to_vec()].concat(),
            "x.pcap: its gzip data is damaged at about byte 85 (at byte 62 of the uncompressed data): bytes that are no gzip member follow; the 2 frames before it were read".into(),
        ),
        (
            [raw_zstd(&two.bytes), b"a longer tail".to_vec()].concat(),
            "x.pcap: its zstd data is damaged at about byte 71 (at byte 62 of the uncompressed data): Unknown frame descriptor; the 2 frames before it were read".into(),
        ),
        (
            patched(Build::default().section(false), 19, 0),
            "x.pcap: damaged at byte 8: expected a section's byte-order magic 1a2b3c4d, found 4d002b1a; no whole frame is before it".into(),
        ),
        (
            Build::default().block(0x0a0d_0d0a, |b| b.u32(0x1a2b_3c4d).u16(2).u16(0).u64(0)).bytes,
            "x.pcap: damaged at byte 12: expected a pcapng version of 1.0 or 1.2, found 2.0; no whole frame is before it".into(),
        ),
        (
            ng().u32(6).u32(33).u32(0).bytes,
            "x.pcap: damaged at byte 52: expected a block length that is a multiple of 4 and at least 12, found 33; no whole frame is before it".into(),
        ),
        (
            ng().u32(6).u32(1 << 30).u32(0).bytes,
            "x.pcap: damaged at byte 52: expected a block of type 0x6 of at most 16777216 bytes, found 1073741824; no whole frame is before it".into(),
        ),
        (
            cut(ng().packet(0, 1, 4, b"abcd"), 8),
            "x.pcap: truncated at byte 48: expected a block of 36 bytes, found 28 of them; no whole frame is before it".into(),
        ),
        (
            cut(ng().packet(0, 1, 4, b"abcd").block(0x0bad, |b| b.u32(1)), 1),
            "x.pcap: truncated at byte 84: expected a block of 16 bytes, found 15 of them; the 1 frame before it was read".into(),
        ),
        (
            patched(ng().packet(0, 1, 4, b"abcd"), 4, 9),
            "x.pcap: damaged at byte 80: expected the block's length 36 again, found 9; no whole frame is before it".into(),
        ),
        (
            ng().packet(1, 1, 4, b"abcd").bytes,
            "x.pcap: damaged at byte 48: expected one of the 1 interfaces described in this section, found interface 1; no whole frame is before it".into(),
        ),
        (
            Build::default().section(false).simple(1, b"x").bytes,
            "x.pcap: damaged at byte 28: expected one of the 0 interfaces described in this section, found interface 0; no whole frame is before it".into(),
        ),
        (
            ng().block(6, |b| b.u32(0).u64(0).u32(9).u32(9).raw(b"eightbyt")).bytes,
            "x.pcap: damaged at byte 48: expected a packet of at most 8 captured bytes, found 9; no whole frame is before it".into(),
        ),
        (
            ng().block(6, |b| b.u32(0)).bytes,
            "x.pcap: damaged at byte 48: expected an enhanced packet, found a body of 4 bytes; no whole frame is before it".into(),
        ),
        (
            ng().interface(1, 0, |b| b.option(9, &[6, 0])).bytes,
            "x.pcap: damaged at byte 48: expected an if_tsresol option of 1 byte, found 2 bytes; no whole frame is before it".into(),
        ),
        (
            ng().interface(1, 0, |b| b.u16(2).u16(80).u32(0)).bytes,
            "x.pcap: damaged at byte 48: expected options that lie within their block, found option 2 of 80 bytes; no whole frame is before it".into(),
        ),
        (
            ng().block(10, |b| b.u32(1).u32(5).u32(0)).bytes,
            "x.pcap: damaged at byte 48: expected secrets of at most the 4 bytes that the block has, found 5; no whole frame is before it".into(),
        ),
    ] {
        assert_eq!(sentence(&bytes), expected);
    }
}

#[test]
fn what_cannot_be_opened_is_said_so() {
    let said = |path: &str| CaptureFile::open(Path::new(path)).err().unwrap().to_string();
    assert_eq!(said("no/such.pcap"), "no/such.pcap: cannot be opened: No such file or directory (os error 2)");
    assert_eq!(said("no/\x1b[2Jsuch"), "no/\\u{1b}[2Jsuch: cannot be opened: No such file or directory (os error 2)");
    assert_eq!(said("src"), "src: cannot be opened: is a directory");
}

#[test]
fn a_failing_disk_is_said_so_after_what_was_read() {
    struct Failing(std::io::Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::Error::other("bad sector")),
                n => Ok(n),
            }
        }
    }
    let bytes = Build::new(false).pcap(MICRO, 1).record(1, 0, 3, b"abc").record(1, 0, 3, b"abc").bytes;
    let path = Path::new("x.pcap");
    let mut file = CaptureFile::from_reader(path, Failing(std::io::Cursor::new(bytes[..50].to_vec()))).unwrap();
    assert!(file.next().unwrap().is_some() && file.next().unwrap().is_some());
    let error = file.next().unwrap_err();
    assert_eq!(error.to_string(), "x.pcap: cannot be read at byte 50: bad sector; the 1 frame before it was read");
    assert!(file.next().unwrap().is_none());
}

#[test]
fn interfaces_are_bounded() {
    let mut build = Build::default();
    for _ in 0..65 {
        build = build.section(true);
        for _ in 0..1024 {
            build = build.interface(1, 0, |b| b);
        }
    }
    let (said, error) = read(&build.bytes);
    assert_eq!(said.len(), 65_536);
    assert!(error.unwrap().to_string().contains("at most 65536 interfaces, found one more"));
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Word(usize, u32),
    Remove(usize, usize),
    Repeat(usize, usize),
}

impl Change {
    /// Makes the change and says where the file is not what it was.
    fn apply(&self, bytes: &mut Vec<u8>) -> usize {
        let length = bytes.len().max(1);
        match *self {
            Self::Set(at, byte) => {
                let at = at % length;
                if let Some(b) = bytes.get_mut(at) {
                    *b = byte;
                }
                at
            }
            Self::Word(at, word) => {
                let at = at % length / 4 * 4;
                for (b, w) in bytes.iter_mut().skip(at).zip(word.to_le_bytes()) {
                    *b = w;
                }
                at
            }
            Self::Remove(at, n) => {
                let at = at % length;
                bytes.drain(at.min(bytes.len())..(at + n).min(bytes.len()));
                at
            }
            Self::Repeat(at, n) => {
                let at = at % length;
                let copy: Vec<u8> = bytes.iter().copied().skip(at).take(n).collect();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), copy);
                at
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), prop_oneof![any::<u32>(), 0..64_u32, Just(u32::MAX), Just(1 << 24)])
            .prop_map(|(at, word)| Change::Word(at, word)),
        (any::<usize>(), 1..64_usize).prop_map(|(at, n)| Change::Remove(at, n)),
        (any::<usize>(), 1..64_usize).prop_map(|(at, n)| Change::Repeat(at, n)),
    ]
}

/// The contract that holds for every file, good or bad.
fn check(said: &[Said]) {
    let mut interfaces = 0;
    for s in said {
        match s {
            Said::Interface(n, _) => {
                assert_eq!(*n, interfaces, "interfaces are numbered in order");
                interfaces += 1;
            }
            Said::Frame(_, interface, _, data) => {
                assert!(*interface < interfaces, "an interface is announced before its frames");
                assert!(data.len() <= MAX_FRAME);
            }
            Said::Drops(drops) => assert!(drops.interface < interfaces && drops.by_kernel | drops.by_interface > 0),
            Said::Secrets(..) | Said::Names(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 1_000_000 } else { 10_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn changed_files_are_read_up_to_the_change_and_never_panic(
        which in 0..6_usize,
        changes in prop::collection::vec(change(), 1..4),
        packing in 0..3_u8,
    ) {
        let mut bytes = samples().swap_remove(which);
        let whole = read_whole(&bytes);
        let first = changes.iter().map(|change| change.apply(&mut bytes)).min().unwrap();
        let (said, _) = read(&bytes);
        check(&said);
        // The whole records before the first change.
        let (before, _) = read(&samples().swap_remove(which)[..first]);
        prop_assert!(whole.starts_with(&before) && said.starts_with(&before));
        let mut packed = match packing {
            0 => return Ok(()),
            1 => gzip(&bytes),
            _ => zstd::bulk::compress(&bytes, 1).unwrap(),
        };
        for change in &changes {
            change.apply(&mut packed);
        }
        check(&read(&packed).0);
    }
}
