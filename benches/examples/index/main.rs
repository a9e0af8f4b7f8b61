//! Look-ups at the size of a real site: an index of 90 days, made by a rule, and questions to it. `benches/index.sh` runs it.
//!
//! - `index make DATA STREAMS [BUCKETS]`: makes a data folder whose buckets are empty and whose index has so many streams and a
//!   tenth as many objects, merged meanwhile as the derive loop does it; and says what that costs. With BUCKETS, the streams of so
//!   many buckets are a file at first.
//! - `index warm DATA [WORD...]`, `index cold DATA [WORD...]`: asks it, all of it in memory as far as it goes in; and with nothing of
//!   it in memory before each question. With words, only the kinds of questions whose names have one of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench that fails can only stop"
)]

mod ask;
mod make;
mod measure;
mod objects;
mod questions;
mod site;

use std::path::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of which a site is made.
const SEED: u64 = 1;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["make", data, streams] => make::make(Path::new(data), streams.parse().unwrap(), SEED, None),
        ["make", data, streams, buckets] => {
            make::make(Path::new(data), streams.parse().unwrap(), SEED, Some(buckets.parse().unwrap()));
        }
        ["warm", data, ref kinds @ ..] => ask::all(Path::new(data), false, kinds),
        ["cold", data, ref kinds @ ..] => ask::all(Path::new(data), true, kinds),
        _ => panic!("index make DATA STREAMS [BUCKETS] | warm DATA [WORD...] | cold DATA [WORD...]"),
    }
}
