//! Several files as one: the order of frames, the numbers of interfaces, and what happens when one of them is damaged.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Build, Folder, Said, only_frames};
use proptest::prelude::*;
use streamdb_capture::{Merged, fingerprint};

const MICRO: u32 = 0xa1b2_c3d4;

/// A classic file with a frame at each of these seconds; the bytes are a letter and the frame's ordinal.
fn file(letter: char, seconds: &[u32]) -> Build {
    let head = Build::new(false).pcap(MICRO, 1);
    seconds.iter().enumerate().fold(head, |b, (n, s)| b.record(*s, 0, 60, format!("{letter}{n}").as_bytes()))
}

/// Everything, and the errors on the way.
fn all(paths: &[PathBuf]) -> (Vec<Said>, Vec<String>) {
    let mut merged = Merged::open(paths).unwrap();
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    loop {
        match merged.next() {
            Ok(Some(item)) => said.push(Said::of(item)),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert!(merged.next().unwrap().is_none());
    let (used, size) = merged.progress();
    assert_eq!(errors.is_empty(), Some(used) == size, "all is used up unless there was an error");
    (said, errors)
}

/// The texts of the frames, in order.
fn texts(said: Vec<Said>) -> String {
    let text = |s| match s {
        Said::Frame(_, _, _, data) => String::from_utf8(data).unwrap(),
        other => panic!("{other:?}"),
    };
    only_frames(said).into_iter().map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn files_may_be_given_in_any_order() {
    let folder = Folder::new("order");
    let a = folder.file("z.pcap", &file('a', &[1, 2, 3]).bytes);
    let b = folder.file("y.pcap", &file('b', &[4, 5]).gzip());
    let c = folder.file("x.pcap", &file('c', &[6]).zstd());
    let expected = "a0 a1 a2 b0 b1 c0";
    for paths in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a]] {
        let (said, errors) = all(&paths.map(Clone::clone));
        assert!(errors.is_empty());
        // Each is opened when its time comes, so the numbers of interfaces do not depend on the order given either.
        let shape: String =
            said.iter().map(|s| if let Said::Interface(n, _) = s { format!("{n}") } else { ".".into() }).collect();
        assert_eq!(shape, "0...1..2.");
        assert_eq!(texts(said), expected);
    }
}

#[test]
fn frames_of_overlapping_files_are_merged_and_ties_have_an_order() {
    let folder = Folder::new("ties");
    let b = folder.file("b.pcap", &file('b', &[1, 5, 9]).bytes);
    let a = folder.file("a.pcap", &file('a', &[1, 5, 6, 9]).bytes);
    let early = folder.file("z.pcap", &file('z', &[0, 5]).bytes);
    // The first time decides, then the name; the same file given twice goes by its place in the arguments.
    assert_eq!(texts(all(&[b.clone(), a.clone(), early]).0), "z0 a0 b0 z1 a1 b1 a2 a3 b2");
    assert_eq!(texts(all(&[b.clone(), a.clone(), b]).0), "a0 b0 b0 a1 b1 b1 a2 a3 b2 b2");
}

#[test]
fn the_order_within_a_file_is_never_changed() {
    let folder = Folder::new("within");
    let a = folder.file("a.pcap", &file('a', &[1, 8, 2, 9]).bytes);
    let b = folder.file("b.pcap", &file('b', &[3, 4, 8, 10]).bytes);
    assert_eq!(texts(all(&[a, b]).0), "a0 b0 b1 a1 a2 b2 a3 b3");
}

#[test]
fn interfaces_have_their_own_numbers_over_all_files() {
    let folder = Folder::new("interfaces");
    let ng = |first: u64, text: &[u8]| {
        let b = Build::default().section(false).interface(1, 0, |b| b).interface(101, 0, |b| b);
        let b = b.packet(1, first, 9, text).packet(0, first + 2, 9, text).section(true).interface(113, 0, |b| b);
        b.packet_with(0, first + 4, 9, text, |b| b.option_u64(4, 1)).bytes
    };
    let a = folder.file("a.pcap", &ng(10, b"a"));
    let b = folder.file("b.pcap", &ng(11, b"b"));
    let (said, errors) = all(&[b, a]);
    assert!(errors.is_empty());
    let shape = said.into_iter().map(|s| match s {
        Said::Interface(n, interface) => format!("+{n}:{}", interface.link_type.0),
        Said::Frame(_, n, _, data) => format!("{}{n}", String::from_utf8(data).unwrap()),
        Said::Drops(drops) => format!("-{}", drops.interface),
        other => panic!("{other:?}"),
    });
    let expected = "+0:1 +1:101 a1 +2:1 +3:101 b3 a0 +4:113 -4 b2 +5:113 -5 a4 b5";
    assert_eq!(shape.collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn the_others_go_on_when_one_is_damaged() {
    let folder = Folder::new("damage");
    let mut cut = file('a', &[1, 4, 7]).bytes;
    cut.pop();
    let a = folder.file("a.pcap", &cut);
    let b = folder.file("b.pcap", &file('b', &[2, 5, 8]).bytes);
    let c = folder.file("c.pcap", b"no capture at all");
    let d = folder.file("d.pcap", b"");
    let e = folder.file("e.pcap", &file('e', &[]).bytes);
    let (said, errors) = all(&[a, b, c, d, e]);
    assert_eq!(texts(said), "a0 b0 a1 b1 b2");
    let kinds: Vec<_> =
        errors.iter().map(|e| e.split("pcap: ").nth(1).unwrap().split([':', ' ']).next().unwrap()).collect();
    assert_eq!(kinds, ["not", "is", "truncated"], "{errors:?}");
}

#[test]
fn what_is_not_there_is_said_before_anything_is_read() {
    let folder = Folder::new("missing");
    let a = folder.file("a.pcap", &file('a', &[1]).bytes);
    for missing in [folder.0.join("b.pcap"), folder.0.clone()] {
        let error = Merged::open(&[a.clone(), missing.clone()]).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{}: cannot be opened: ", missing.display())), "{error}");
    }
    let mut nothing = Merged::open(&[]).unwrap();
    assert!(nothing.next().unwrap().is_none());
    assert_eq!(nothing.progress(), (0, Some(0)));
}

#[test]
fn a_thousand_files_in_a_row_need_few_open_at_a_time() {
    let folder = Folder::new("row");
    let paths: Vec<_> =
        (0..1000).map(|n| folder.file(&format!("{n}.pcap"), &file('a', &[n, n, n + 1]).bytes)).rev().collect();
    let open = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut merged = Merged::open(&paths).unwrap();
    let (mut frames, mut most) = (0, 0);
    while let Some(item) = merged.next().unwrap() {
        frames += usize::from(matches!(item, streamdb_capture::Item::Frame(_)));
        if frames % 50 == 0 {
            most = most.max(open());
        }
    }
    assert_eq!(frames, 3000);
    // The other tests of this file, which run beside, have a few.
    assert!(most < 100, "{most} files were open");
}

#[test]
fn progress_is_in_bytes_of_the_files() {
    let folder = Folder::new("progress");
    let a = file('a', &[1, 2]).bytes;
    let b = file('b', &[3, 4]).gzip();
    let total = (a.len() + b.len()) as u64;
    let mut merged = Merged::open(&[folder.file("a", &a), folder.file("b", &b)]).unwrap();
    let mut last = 0;
    assert_eq!(merged.progress(), (0, Some(total)));
    while merged.next().unwrap().is_some() {
        let (used, size) = merged.progress();
        assert!(used >= last && used <= total && size == Some(total));
        last = used;
    }
    assert_eq!(merged.progress(), (total, Some(total)));
    assert_eq!(Merged::open(&["-".into()]).unwrap().progress(), (0, None));
}

#[test]
fn a_fingerprint_sees_length_ends_and_samples() {
    let folder = Folder::new("fingerprint");
    let of = |bytes: &[u8]| fingerprint(&folder.file("f", bytes)).unwrap();
    assert_eq!(of(b""), "0-00000000-00000000");
    // CRC-32 of "1234" and "56789".
    assert_eq!(of(b"123456789"), format!("9-{:08x}-{:08x}", crc32fast::hash(b"1234"), crc32fast::hash(b"56789")));
    for length in [1_000_usize, 376 << 10, (376 << 10) + 1, 5_000_000] {
        let bytes: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
        let whole = of(&bytes);
        assert_eq!(of(&bytes), whole);
        assert_ne!(of(&bytes[..length - 1]), whole);
        for at in [0, 700, length - 700, length - 1, 65_536.min(length - 1)] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(of(&changed), whole, "byte {at} of {length}");
        }
    }
    assert!(fingerprint(&folder.0).is_err());
    assert!(fingerprint(std::path::Path::new("-")).is_err());
}

/// The slow twin: looks at the head of every file for each frame.
fn slowly(mut files: Vec<(String, Vec<u32>)>) -> String {
    files.sort_by_key(|(name, times)| (times.first().copied(), name.clone()));
    let mut heads = vec![0; files.len()];
    let mut out = Vec::new();
    loop {
        let next =
            (0..files.len()).filter(|f| heads[*f] < files[*f].1.len()).min_by_key(|f| (files[*f].1[heads[*f]], *f));
        let Some(f) = next else { return out.join(" ") };
        out.push(format!("{}{}", files[f].0, heads[f]));
        heads[f] += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 20_000 } else { 200 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn merging_is_what_looking_at_every_head_gives(
        times in prop::collection::vec(prop::collection::vec(0_u32..12, 0..8), 0..6),
        turn in 0..6_usize,
    ) {
        let folder = Folder::new("twin");
        let files: Vec<_> = times.iter().zip('a'..).map(|(t, letter)| (letter.to_string(), t.clone())).collect();
        let mut paths: Vec<_> =
            times.iter().zip('a'..).map(|(t, letter)| folder.file(&letter.to_string(), &file(letter, t).bytes)).collect();
        let turn = turn % paths.len().max(1);
        paths.rotate_left(turn);
        prop_assert_eq!(texts(all(&paths).0), slowly(files));
    }
}
