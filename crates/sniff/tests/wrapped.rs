//! Executables in codings of texts and in gzip: found as a whole with where they end, and nothing found that is not one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test without its sample has failed")]

mod common;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{Pe, elf};
use proptest::prelude::*;
use streamdb_sniff::{Coding, HEAD_BYTES, TextDecoder, wrapped};

const SENTENCE: &str = "PE32 executable (GUI) Intel 80386, for MS Windows, 3 sections";

fn program() -> Vec<u8> {
    let mut program = Pe::GUI.build();
    program.push(0xfb);
    program
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn lines(text: &str, line_end: &str) -> String {
    text.as_bytes().chunks(76).map(|line| format!("{}{line_end}", str::from_utf8(line).unwrap())).collect()
}

fn digits(plain: &[u8], mark: &str, between: &str) -> String {
    plain.iter().map(|byte| format!("{mark}{byte:02x}")).collect::<Vec<_>>().join(between)
}

/// It is one, between these places, and the decoder gives it back.
#[track_caller]
fn is(text: &str, coding: Coding, begins: usize, ends: Option<usize>) {
    let found = wrapped(text.as_bytes()).unwrap();
    assert_eq!(
        (found.coding, found.begins, found.ends, found.kind.description.as_ref()),
        (coding, begins, ends, SENTENCE)
    );
    let mut plain = Vec::new();
    let mut decoder = TextDecoder::new(coding).unwrap();
    decoder.feed(&text.as_bytes()[begins..ends.unwrap_or(text.len())], &mut plain);
    decoder.finish(&mut plain);
    assert_eq!(plain, program());
}

#[test]
fn base64() {
    let text = STANDARD.encode(program());
    let end = text.len();
    is(&text, Coding::Base64, 0, None);
    is(&format!("\r\n{text}\r\n"), Coding::Base64, 2, None);
    is(&URL_SAFE_NO_PAD.encode(program()), Coding::Base64, 0, None);
    let lined = lines(&text, "\r\n");
    is(&lined, Coding::Base64, 0, None);
    is(&format!("data:application/octet-stream;base64,{text}"), Coding::Base64, 37, None);
    let armour = format!("-----BEGIN CERTIFICATE-----\r\n{lined}-----END CERTIFICATE-----\r\n");
    is(&armour, Coding::Base64, 29, Some(29 + lined.len() - 2));
    let script = format!("$b = [Convert]::FromBase64String(\"{text}\")\n[IO.File]::WriteAllBytes('a.exe', $b)\n");
    is(&script, Coding::Base64, 34, Some(34 + end));
}

#[test]
fn hex() {
    let text = digits(&program(), "", "");
    is(&text, Coding::Hex, 0, None);
    is(&text.to_ascii_uppercase(), Coding::Hex, 0, None);
    is(&digits(&program(), "", " "), Coding::Hex, 0, None);
    is(&lines(&text, "\n"), Coding::Hex, 0, None);
    is(&digits(&program(), "0x", ", "), Coding::Hex, 0, None);
    is(&digits(&program(), "&H", ","), Coding::Hex, 0, None);
    is(&format!("x = \"{text}\"\nrun x\n"), Coding::Hex, 5, Some(5 + text.len()));
    is(&format!("char b[] = \"{}\";", digits(&program(), "\\x", "")), Coding::Hex, 12, Some(12 + 4 * program().len()));
    let short = program().iter().map(|byte| format!("{byte:#x}")).collect::<Vec<_>>().join(",");
    is(&short, Coding::Hex, 0, None);
}

#[test]
fn compressed() {
    let whole = gzip(&program());
    let ends = |bytes: &[u8]| wrapped(bytes).map(|found| (found.coding, found.begins, found.ends));
    assert_eq!(ends(&whole), Some((Coding::Gzip, 0, Some(whole.len()))));
    assert_eq!(ends(&[&whole[..], b"more"].concat()), Some((Coding::Gzip, 0, Some(whole.len()))));
    assert_eq!(ends(&whole[..whole.len() - 1]), Some((Coding::Gzip, 0, None)));
    let mut wrong = whole.clone();
    let last = wrong.len() - 5;
    wrong[last] ^= 1;
    assert_eq!(ends(&wrong), Some((Coding::Gzip, 0, None)));
    assert_eq!(wrapped(&whole).unwrap().kind.description, SENTENCE);
    // More comes out than is looked at.
    let long = gzip(&[program(), vec![0; 10 << 20]].concat());
    assert_eq!(ends(&long), Some((Coding::Gzip, 0, None)));
    assert_eq!(ends(&gzip(b"MZ and words")), None);
}

#[test]
fn programs_for_linux() {
    let found = wrapped(STANDARD.encode(elf(2, None, None, true)).as_bytes()).unwrap();
    assert!(found.kind.description.starts_with("ELF 64-bit LSB executable"));
}

#[test]
fn a_head_that_is_cut() {
    let long = STANDARD.encode([program(), vec![7; 2 * HEAD_BYTES]].concat());
    let found = wrapped(long.as_bytes()).unwrap();
    assert_eq!((found.begins, found.ends), (0, None));
}

#[test]
fn what_is_none() {
    let text = STANDARD.encode(program());
    let hidden = [
        // Something else behind it, or before it.
        format!("{text} and words"),
        format!("words {text}"),
        // The quote that ends it is another one, or text that goes on for long.
        format!("x = \"{text}'"),
        format!("x = \"{text}\"{}", "a".repeat(5000)),
        format!("{}\"{text}\"", "a".repeat(5000)),
        format!("data:application/octet stream;base64,{text}"),
        format!("data:text/plain,{text}"),
        format!("-----BEGIN CERTIFICATE-----\n{text}\nEND\n"),
        // Not a program.
        STANDARD.encode(b"MZ, and then nothing of a program, for as long as a header would be, and a little longer"),
        digits(&program()[..0x84], "", ""),
        "4d5a".repeat(100),
    ];
    for text in hidden {
        assert_eq!(wrapped(text.as_bytes()), None, "{}", &text[..40]);
    }
    assert_eq!(wrapped(&program()), None);
}

proptest! {
    /// Whatever the pieces of a text, the same comes out, and it is what other decoders say.
    #[test]
    fn pieces(plain in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..50, line in 1_usize..80, hex: bool, mark in prop::sample::select(vec!["", "0x", "\\x", "&H"])) {
        let (coding, text) = if hex {
            (Coding::Hex, digits(&plain, mark, if mark.is_empty() { "" } else { ",\n" }))
        } else {
            let text = STANDARD.encode(&plain);
            (Coding::Base64, text.as_bytes().chunks(line).map(|line| format!("{}\r\n", str::from_utf8(line).unwrap())).collect())
        };
        let mut decoder = TextDecoder::new(coding).unwrap();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            prop_assert_eq!(decoder.feed(piece, &mut out), None);
        }
        decoder.finish(&mut out);
        prop_assert_eq!(&out, &plain);
        // After its end nothing comes.
        prop_assert_eq!(decoder.feed(b"TVqQ", &mut out), Some(0));
        prop_assert_eq!(out, plain);
    }

    #[test]
    fn nothing_in_what_is_random(start in prop::sample::select(vec!["", "TVqQ", "4d5a", "0x4d,", "data:;base64,TVqQ", "-----BEGIN A-----\nTVqQ", "x='TVqQ"]), rest in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(wrapped(&[start.as_bytes(), &rest].concat()), None);
    }
}
