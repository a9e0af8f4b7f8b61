//! Conversations as they are on the wire, and what must come out of each: the files in `samples/`.
//!
//! A file has a line of explanation, the bytes of both directions (`> ` to the server, `< ` to the client; joined line by
//! line, with `\r`, `\n`, `\\` and `\xNN`; `{gap N}` is a hole; `{gzip TEXT}`, and likewise `deflate`, `raw-deflate`, `br` and
//! `zstd`, that text coded; `{chunked gzip TEXT}` the same in chunks of 7 bytes), lines beginning with `=`
//! that say how a direction ended, and after `---` the messages as text. `STREAMDB_BLESS=1` writes the last part anew.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::coders::code;
use streamdb_extract::MemorySource;
use streamdb_types::{GapKind, Marks, Reason};

#[derive(Default)]
struct Side {
    bytes: Vec<u8>,
    gaps: Vec<(u64, u64)>,
    end: Option<(Option<Reason>, Marks)>,
}

impl Side {
    fn add(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let directive = rest.strip_prefix('{').and_then(|r| r.split_once('}'));
            if let Some((inside, after)) = directive
                && let Some((word, argument)) = inside.split_once(' ')
            {
                match word {
                    "gap" => {
                        let length = argument.parse().unwrap();
                        self.gaps.push((self.bytes.len() as u64, length));
                        self.bytes.extend(vec![0; length as usize]);
                    }
                    "chunked" => {
                        let (coding, text) = argument.split_once(' ').unwrap();
                        for chunk in code(coding, text.as_bytes()).chunks(7) {
                            self.bytes.extend(format!("{:X}\r\n", chunk.len()).bytes());
                            self.bytes.extend(chunk);
                            self.bytes.extend(b"\r\n");
                        }
                        self.bytes.extend(b"0\r\n\r\n");
                    }
                    coding => self.bytes.extend(code(coding, argument.as_bytes())),
                }
                rest = after;
                continue;
            }
            if let Some(escape) = rest.strip_prefix('\\') {
                let (byte, length) = match escape.as_bytes()[0] {
                    b'r' => (b'\r', 1),
                    b'n' => (b'\n', 1),
                    b't' => (b'\t', 1),
                    b'\\' => (b'\\', 1),
                    b'x' => (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3),
                    other => panic!("unknown escape \\{}", char::from(other)),
                };
                self.bytes.push(byte);
                rest = &escape[length..];
                continue;
            }
            self.bytes.extend(c.to_string().bytes());
            rest = &rest[c.len_utf8()..];
        }
    }

    fn source(self) -> MemorySource {
        let mut source = MemorySource::new(self.bytes);
        for (offset, length) in self.gaps {
            source = source.with_gap(offset, length, GapKind::Missing);
        }
        match self.end {
            Some((reason, marks)) => source.with_end(reason, marks),
            None => source,
        }
    }
}

fn read(text: &str) -> (MemorySource, MemorySource, String) {
    let (input, expected) = text.split_once("---\n").unwrap_or((text, ""));
    let (mut to_server, mut to_client) = (Side::default(), Side::default());
    for line in input.lines() {
        match line.split_at_checked(2) {
            Some(("> ", bytes)) => to_server.add(bytes),
            Some(("< ", bytes)) => to_client.add(bytes),
            Some((which @ ("=>" | "=<"), words)) => {
                let end = match words.trim() {
                    "open" => (None, Marks::SYN),
                    "reset" => (Some(Reason::Rst), Marks::SYN.with(Marks::RST)),
                    "was reset" => (Some(Reason::Rst), Marks::SYN),
                    "exiting" => (Some(Reason::Exiting), Marks::SYN),
                    "cutoff" => (Some(Reason::SizeCutoff), Marks::SYN.with(Marks::FIN)),
                    "midstream" => (Some(Reason::Fin), Marks::MIDSTREAM.with(Marks::FIN)),
                    other => panic!("unknown end {other}"),
                };
                if which == "=>" { to_server.end = Some(end) } else { to_client.end = Some(end) }
            }
            _ => {}
        }
    }
    (to_server.source(), to_client.source(), expected.to_string())
}

#[test]
fn samples_give_what_is_written_below_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "the samples are there");
    let mut wrong = Vec::new();
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        let (to_server, to_client, expected) = read(&content);
        let found = common::scan(&to_server, &to_client);
        let view = common::view(&found, &to_server, &to_client);
        // However few bytes a read gives, the outcome is the same.
        for most in [1, 7, 1000] {
            let (slow_server, slow_client) =
                (to_server.clone().with_reads_of(most), to_client.clone().with_reads_of(most));
            assert_eq!(common::scan(&slow_server, &slow_client), found, "{} with reads of {most}", file.display());
            assert_eq!(common::view(&found, &slow_server, &slow_client), view);
        }
        if std::env::var_os("STREAMDB_BLESS").is_some() {
            let input = content.split_once("---\n").map_or(content.as_str(), |(input, _)| input);
            fs::write(&file, format!("{input}---\n{view}")).unwrap();
        } else if view != expected {
            wrong.push(format!("{}\nexpected\n{expected}\nfound\n{view}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
