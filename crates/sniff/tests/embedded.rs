//! What is inside of anything: all of it, where it is, as long as it says; and the same whatever the pieces.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test without its sample has failed")]

mod common;

use std::time::{Duration, Instant};

use common::{Pe, Program, compound, elf, put, zip};
use proptest::prelude::*;
use streamdb_sniff::EmbeddedKind::{Cabinet, Elf, Gzip, Ole, Pdf, Rar, SevenZip, Zip};
use streamdb_sniff::{EMBEDDED_MOST, Embedded, EmbeddedKind, EmbeddedScanner, embedded};

fn find(kind: EmbeddedKind, at: usize, length: Option<usize>) -> Embedded {
    Embedded { kind, at: at as u64, length: length.map(|length| length as u64) }
}

/// Each kind as its writers make it, and whether it says its length.
fn samples() -> Vec<(EmbeddedKind, Vec<u8>, bool)> {
    let mut cabinet = b"MSCF\0\0\0\0".to_vec();
    put(&mut cabinet, 8, &[100]);
    put(&mut cabinet, 24, &[3, 1, 1, 0, 1, 0]);
    put(&mut cabinet, 99, &[7]);
    let mut seven = b"7z\xbc\xaf\x27\x1c\0\x04".to_vec();
    put(&mut seven, 8, &CRC.to_le_bytes());
    put(&mut seven, 12, &[5]);
    put(&mut seven, 20, &[7]);
    put(&mut seven, 28, &[9, 0, 0, 0]);
    put(&mut seven, 43, &[1]);
    let mut signed = Program::new();
    signed.imports(&[("KERNEL32.dll", &["ExitProcess"], &[])]);
    let end = signed.build().len();
    signed.directory(4, end as u32, 0x80);
    let mut signed = signed.build();
    put(&mut signed, end + 0x7f, &[3]);
    // Two symbols behind the sections, and eight bytes of strings.
    let mut symbols = Pe::GUI.build();
    put(&mut symbols, 0x80 + 12, &[0, 6, 0, 0, 2]);
    put(&mut symbols, 0x600 + 36, b"\x08\0\0\0abc\0");
    vec![
        (EmbeddedKind::Pe, Pe::GUI.build(), true),
        (EmbeddedKind::Pe, Pe { plus: true, machine: 0x8664, ..Pe::GUI }.build(), true),
        (EmbeddedKind::Pe, signed, true),
        (EmbeddedKind::Pe, symbols, true),
        (Elf, elf(2, None, None, true), true),
        (Zip, zip(&[(0, "a.txt", b"", b"abc"), (0, "b/c.txt", b"", b"d")]), true),
        (Pdf, b"%PDF-1.4\n1 0 obj\nendobj\n%%EOF\nxref\n%%EOF\r\n".to_vec(), true),
        (Ole, compound([0; 16], &["a", "b", "c", "d", "e"]), true),
        (Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec(), false),
        (SevenZip, seven, true),
        (Rar, b"Rar!\x1a\x07\x01\0rest".to_vec(), false),
        (Cabinet, cabinet, true),
    ]
}

/// Of the numbers 5, 7 and 9 in the start header.
const CRC: u32 = 0x2dcf_ed97;

/// In pieces that end at these places.
fn in_pieces(content: &[u8], mut ends: Vec<usize>) -> Vec<Embedded> {
    ends.push(content.len());
    ends.sort_unstable();
    let mut begins = 0;
    let pieces = ends.into_iter().map(|end| &content[std::mem::replace(&mut begins, end)..end]);
    embedded(pieces.collect::<Vec<_>>())
}

#[test]
fn each_kind() {
    for (kind, bytes, says) in samples() {
        let content = [b"some words before", &bytes[..], b"and behind"].concat();
        assert_eq!(embedded([&content[..]]), [find(kind, 17, says.then_some(bytes.len()))]);
    }
}

/// One bit of what makes a header sound, and there is nothing.
#[test]
fn signatures_alone_are_nothing() {
    let unsound: [(usize, usize); 8] = [(0, 0x84), (0, 0x80), (4, 6), (4, 52), (5, 8), (7, 28), (9, 12), (11, 25)];
    for (sample, at) in unsound {
        let (kind, mut bytes, _) = samples().swap_remove(sample);
        bytes[at] ^= 0x80;
        let found = embedded([&bytes[..]]);
        assert!(found.iter().all(|found| found.at > 0 || found.kind != kind), "{kind:?} with {at} changed: {found:?}");
    }
    let words = b"MZ \x7fELF PK\x03\x04 PK\x05\x06 %PDF-x %%EOF \xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 \x1f\x8b\x08 7z\xbc\xaf\x27\x1c Rar!\x1a\x07 MSCF\0\0\0\0";
    assert_eq!(embedded([&words[..]]), []);
}

#[test]
fn one_in_another() {
    let program = Pe::GUI.build();
    let inner = zip(&[(0, "x", b"", b"y")]);
    let outer = zip(&[(0, "a.exe", b"", &program), (0, "b.zip", b"", &inner), (0, "c", b"", b"z")]);
    let inner_at = outer.windows(inner.len()).position(|part| part == inner).unwrap();
    assert_eq!(
        embedded([&outer[..]]),
        [
            find(Zip, 0, Some(outer.len())),
            find(EmbeddedKind::Pe, 35, Some(program.len())),
            find(Zip, inner_at, Some(inner.len())),
        ]
    );
    // One without an end, and another.
    let cut = [&outer[..40], &inner[..]].concat();
    assert_eq!(embedded([&cut[..]]), [find(Zip, 0, None), find(Zip, 40, Some(inner.len()))]);
    // An archive that unpacks itself: its directory may count from the program or from the archive.
    let sfx = [&program[..], &inner[..]].concat();
    let both = [find(EmbeddedKind::Pe, 0, Some(program.len())), find(Zip, program.len(), Some(inner.len()))];
    assert_eq!(embedded([&sfx[..]]), both);
    let mut counted = sfx.clone();
    let place = counted.len() - 6;
    let from_program = program.len() as u32 + u32::from_le_bytes(counted[place..place + 4].try_into().unwrap());
    put(&mut counted, place, &from_program.to_le_bytes());
    assert_eq!(embedded([&counted[..]]), both);
}

/// What a packer left in the header of where symbols were.
#[test]
fn symbols_that_are_gone() {
    let mut program = Pe::GUI.build();
    put(&mut program, 0x80 + 12, &[0, 16, 0, 0, 2]);
    let content = [&program[..], &[8; 9000]].concat();
    assert_eq!(embedded([&content[..]]), [find(EmbeddedKind::Pe, 0, Some(program.len()))]);
}

/// The table of a compound file may come long after its header.
#[test]
fn a_table_far_away() {
    let mut file = compound([0; 16], &[]);
    // Sector 1000 is the table of allocations, the only one: what it knows is its own 128 sectors.
    put(&mut file, 76, &1000_u32.to_le_bytes());
    put(&mut file, 1001 * 512, &[0xff; 512]);
    put(&mut file, 1001 * 512 + 4 * 100, &[0xfe]);
    for ends in [vec![], vec![600], vec![1001 * 512 + 100], (0..file.len()).step_by(777).collect()] {
        assert_eq!(in_pieces(&file, ends), [find(Ole, 0, Some(102 * 512))]);
    }
    assert_eq!(embedded([&file[..1001 * 512 + 511]]), [find(Ole, 0, None)]);
}

#[test]
fn gaps() {
    let program = Pe::GUI.build();
    let mut scanner = EmbeddedScanner::default();
    scanner.feed(&program);
    scanner.gap(1 << 40);
    scanner.feed(&program[..0x90]);
    // Its other half is missing.
    scanner.gap(10);
    scanner.feed(&program);
    let second = (1_usize << 40) + program.len() + 0x90 + 10;
    let length = Some(program.len());
    assert_eq!(scanner.finish(), [find(EmbeddedKind::Pe, 0, length), find(EmbeddedKind::Pe, second, length)]);
}

/// An archive whose first member a gap swallowed is not the one that begins with its second.
#[test]
fn a_gap_in_front_of_an_archive() {
    let program = Pe::GUI.build();
    let archive = zip(&[(0, "a", b"", b"abc"), (0, "b", b"", b"d")]);
    let second = archive.windows(4).rposition(|part| part == b"PK\x03\x04").unwrap();
    let mut counted = archive.clone();
    let place = counted.len() - 6;
    let directory = u32::from_le_bytes(counted[place..place + 4].try_into().unwrap());
    put(&mut counted, place, &(directory + program.len() as u32).to_le_bytes());
    // What is before, how much is missing, what comes, and whether that is whole.
    for (before, missing, behind, begins, whole) in [
        (&b"HTTP"[..], 10, &archive[10..], second - 10, false),
        (b"HTTP", second, &archive[second..], 0, false),
        (b"HTTP", 10, &archive, 0, true),
        (b"HTTP", 10, &[&program[..], &counted].concat(), program.len(), true),
        (b"HTTP", 10, &[&program[1..], &counted].concat(), program.len() - 1, false),
    ] {
        let mut scanner = EmbeddedScanner::default();
        scanner.feed(before);
        scanner.gap(missing as u64);
        scanner.feed(behind);
        let at = before.len() + missing + begins;
        let length = whole.then(|| behind.len() - begins);
        let found: Vec<_> = scanner.finish().into_iter().filter(|found| found.kind == Zip).collect();
        assert_eq!(found, [find(Zip, at, length)], "{missing} bytes in front of {} are missing", behind.len());
    }
}

/// The table of a compound file that a gap swallowed, and one that it cut, say nothing of the length; one behind it does.
#[test]
fn a_gap_in_a_table() {
    let file = compound([0; 16], &["a"]);
    for (cut, missing, length) in [(512, 512, None), (600, 512, None), (512, 600, None), (1030, 1, Some(file.len()))] {
        let mut scanner = EmbeddedScanner::default();
        scanner.feed(&file[..cut]);
        scanner.gap(missing);
        scanner.feed(&file[cut + missing as usize..]);
        scanner.feed(&[0; 2000]);
        assert_eq!(scanner.finish(), [find(Ole, 0, length)], "{missing} at {cut}");
    }
}

/// Around the place where one search ends and the next begins.
#[test]
fn where_searches_meet() {
    let samples = samples();
    for at in (65_536 - 12..=65_536 + 2).chain(2 * 65_536 - 12..=2 * 65_536 + 2) {
        for (kind, bytes, says) in &samples {
            let content = [&vec![b'.'; at][..], bytes, &[b'.'; 9000]].concat();
            assert_eq!(embedded([&content[..]]), [find(*kind, at, says.then_some(bytes.len()))], "{kind:?} at {at}");
        }
    }
}

/// Finds without number, and headers that all lead to one place: bounded, and in no time.
#[test]
fn bombs() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".repeat(1 << 20);
    let mut programs = Vec::new();
    // Each `MZ` leads into the same zeros, some thousand bytes further.
    for n in 0..(10 << 20) / 64 {
        put(&mut programs, n * 64, b"MZ");
        put(&mut programs, n * 64 + 0x3c, &0x1000_u32.to_le_bytes());
    }
    let members = zip(&[(0, "a", b"", b"")])[..31].repeat(300_000);
    let ends = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".repeat(400_000);
    for (content, most) in
        [(gzip, EMBEDDED_MOST), (programs, 0), (members, 1), (ends, 0), (b"%PDF-1.4".repeat(1 << 20), EMBEDDED_MOST)]
    {
        let began = Instant::now();
        assert_eq!(embedded([&content[..]]).len(), most);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("STREAMDB_SOAK").is_some_and(|v| v == "1") { 20_000 } else { 300 }))]

    /// Known contents at known places, in words that are none of them, in pieces: exactly these are found.
    #[test]
    fn what_was_put_in_comes_out(
        parts in prop::collection::vec((prop::sample::select(samples()), prop_oneof![0_usize..400, 60_000_usize..70_000]), 0..6),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (mut content, mut expected) = (Vec::new(), Vec::new());
        for ((kind, bytes, says), words) in parts {
            content.extend((0..words).map(|n| b'a' + (n % 26) as u8));
            expected.push(find(kind, content.len(), says.then_some(bytes.len())));
            content.extend(bytes);
        }
        let ends = ends.into_iter().map(|end| end.index(content.len() + 1)).collect();
        prop_assert_eq!(in_pieces(&content, ends), expected);
    }

    /// Damaged, and cut to pieces: what is found does not depend on the pieces.
    #[test]
    fn the_same_whatever_the_pieces(
        parts in prop::collection::vec(prop::sample::select(samples()), 1..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        fill in prop_oneof![Just(0_usize), 60_000_usize..80_000],
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut content = vec![0; fill];
        content.extend(parts.into_iter().flat_map(|(_, bytes, _)| bytes));
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        let ends = ends.into_iter().map(|end| end.index(content.len() + 1)).collect();
        prop_assert_eq!(in_pieces(&content, ends), embedded([&content[..]]));
    }
}
