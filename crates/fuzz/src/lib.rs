//! Fuzz targets as plain functions: each takes bytes, does with them what a reader does, and asserts what must hold
//! whatever they are. The programs in `targets` hand them to libFuzzer; the tests replay `seeds` without it.

mod bucket;
mod capture_file;
mod coding;
mod decode;
mod fragments;
mod ftp;
mod http;
mod index_file;
mod inside;
mod journal;
mod mail;
mod reassembly;
mod records;
mod scan;
mod script;
mod sniff;
mod talk;
mod text;
mod tls;

pub use bucket::bucket;
pub use capture_file::capture_file;
pub use coding::{base64, brotli, deflate, gzip, letters, quoted_printable, zstd};
pub use decode::decode;
pub use fragments::fragments;
pub use ftp::ftp;
pub use http::http;
pub use index_file::index_file;
pub use inside::{http2, socks, websocket};
pub use journal::journal;
pub use mail::{handover, multipart, pop3, smtp};
pub use reassembly::reassembly;
pub use records::{joins, records};
pub use scan::{scan_lists, verdicts};
pub use sniff::sniff;
pub use text::{query_string, submission_record};
pub use tls::tls;
