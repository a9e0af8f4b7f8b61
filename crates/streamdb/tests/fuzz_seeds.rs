//! Every seed of the fuzz targets, and with them every finding of the fuzzer that was mended, through its target once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "only tests"
)]

use std::fs;
use std::path::Path;

// The targets themselves; their crate needs libFuzzer, and with it a nightly toolchain.
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn seeds_pass() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 31] = [
        ("base64", fuzz::base64),
        ("brotli", fuzz::brotli),
        ("bucket", fuzz::bucket),
        ("capture_file", fuzz::capture_file),
        ("decode", fuzz::decode),
        ("deflate", fuzz::deflate),
        ("fragments", fuzz::fragments),
        ("ftp", fuzz::ftp),
        ("gzip", fuzz::gzip),
        ("handover", fuzz::handover),
        ("letters", fuzz::letters),
        ("http", fuzz::http),
        ("http2", fuzz::http2),
        ("index_file", fuzz::index_file),
        ("joins", fuzz::joins),
        ("journal", fuzz::journal),
        ("multipart", fuzz::multipart),
        ("pop3", fuzz::pop3),
        ("query_string", fuzz::query_string),
        ("quoted_printable", fuzz::quoted_printable),
        ("reassembly", fuzz::reassembly),
        ("records", fuzz::records),
        ("scan_lists", fuzz::scan_lists),
        ("smtp", fuzz::smtp),
        ("sniff", fuzz::sniff),
        ("socks", fuzz::socks),
        ("submission_record", fuzz::submission_record),
        ("tls", fuzz::tls),
        ("verdicts", fuzz::verdicts),
        ("websocket", fuzz::websocket),
        ("zstd", fuzz::zstd),
    ];
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, target) in targets {
        let mut played = 0;
        for entry in fs::read_dir(seeds.join(name)).expect("each target has seeds") {
            let path = entry.expect("the folder can be read").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("the seed can be read"));
            played += 1;
        }
        assert!(played > 0, "{name} has no seeds");
    }
}

/// What is refused at its first page tests nothing.
#[test]
fn the_seed_for_index_files_is_one() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/index_file/imagedump");
    let path = std::env::temp_dir().join(format!("streamdb-seed-{}", std::process::id()));
    assert!(streamdb_storage::index::fuzzing::index_file(&fs::read(seed).unwrap(), &path));
}
