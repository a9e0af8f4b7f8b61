//! A way in for the fuzz target `index_file`: any pages as an index file behind right checksums.

use std::path::Path;

use super::layout::{Lexicon, MAGIC, Table, VERSION, footer};
use super::segment::Segment;
use super::view::PAGE;
use crate::format::bytes::Reader;

/// Most rows, keys and texts that are looked at.
const MOST: u32 = 2000;
/// The bytes of a file with these pages.
fn file_of(pages: &[u8]) -> Vec<u8> {
    let mut file = pages.to_vec();
    file.resize(pages.len().next_multiple_of(PAGE).max(PAGE), 0);
    // The first page says which format it is in; its first bytes are those, so that inputs get past it.
    let begins = MAGIC.iter().copied().chain(VERSION.to_le_bytes()).chain(crate::DERIVATION.to_le_bytes());
    file.iter_mut().zip(begins).for_each(|(byte, right)| *byte = right);
    let sums: Vec<u8> = file.chunks(PAGE).flat_map(|page| crc32fast::hash(page).to_le_bytes()).collect();
    let end = footer(file.len() as u64);
    file.extend(sums);
    file.extend(end);
    file
}

/// The pages of a file, as a seed.
pub fn pages_of(file: &[u8]) -> Vec<u8> {
    let at = file.len().saturating_sub(super::layout::FOOTER);
    let content = file.get(at..).and_then(|end| Reader(end).u64().ok()).unwrap_or_default();
    file.get(..content as usize).unwrap_or_default().to_vec()
}

/// Reads everything in a file with these pages, which lies there for as long as it takes: all ends, and what is damaged says so.
/// Whether the file could be opened.
pub fn index_file(pages: &[u8], path: &Path) -> bool {
    std::fs::write(path, file_of(pages)).unwrap_or_default();
    let opened = Segment::open(path, 1);
    if let Ok(Some(segment)) = &opened {
        // Whether it is damaged is not asked; that it ends, and within bounds, is.
        for table in Table::ALL {
            read(segment, table);
        }
    }
    let _ = std::fs::remove_file(path);
    matches!(opened, Ok(Some(_)))
}

fn read(segment: &Segment, table: Table) {
    let reading = segment.reading();
    let mut values = Vec::new();
    for row in 0..segment.rows(table).min(MOST) {
        if reading.values(table, row, &mut values).is_ok() {
            let value = |column: usize| values.get(column).copied().unwrap_or_default();
            let key = super::segment::key(&value);
            let mut found = 0;
            let _ = reading.continuations_of(key, &mut |_| found += 1);
            match table {
                Table::Streams => drop(reading.stream(&values)),
                Table::Objects => drop(reading.object(&values)),
            }
        }
        for column in 0..table.columns().len() {
            let _ = reading.value(table, row, column);
        }
    }
    let mut run = Vec::new();
    for order in table.orders() {
        for n in 0..reading.keys(table, *order).min(MOST.into()) {
            let Ok((key, rows)) = reading.list_at(table, *order, n) else { continue };
            for at in (0..rows.runs()).take(4) {
                let _ = rows.run(at, &mut run);
                assert!(run.len() <= 128, "a run has too many rows");
            }
            let _ = rows.run_of(key);
            let _ = rows.run_near(key, n as usize);
            let _ = reading.count(table, *order, key..key.saturating_add(1));
        }
    }
    for lexicon in Lexicon::ALL {
        for n in 0..reading.strings(lexicon).min(MOST) {
            let _ = reading.string(lexicon, n);
        }
    }
    for n in 0..reading.strings(Lexicon::Classes).min(MOST) {
        let _ = reading.class(n);
    }
    let _ = reading.texts_with_prefix(b"www.");
    let find = |bytes: &[u8], from: usize| bytes.get(from..)?.iter().position(|byte| *byte == b'e').map(|at| from + at);
    let _ = reading.texts_with(0..reading.strings(Lexicon::Texts), &find, &|| true, &mut |_, _| true);
    let _ = reading.by_sha256(&[7; 32]);
    let _ = reading.by_md5(&[7; 16]);
    let _ = reading.by_sha1(&[7; 20]);
    let _ = reading.by_community(table, &[7; 20]);
    let _ = reading.continuing(&mut |_| {});
    for n in [0, 1, u64::MAX] {
        let _ = reading.row_of(table, &[n, n]);
        let _ = reading.between(table, 0, n);
    }
}
