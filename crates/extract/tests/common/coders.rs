//! Content codings done, by the name that undoes them.

use std::io::Write as _;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

pub fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

pub fn br(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut coder = brotli::CompressorWriter::new(&mut coded, 4096, 5, 22);
    coder.write_all(bytes).unwrap();
    drop(coder);
    coded
}

/// A frame with a check sum.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut coder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    coder.include_checksum(true).unwrap();
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

/// Codings as a Content-Encoding field lists them.
pub fn code(names: &str, bytes: &[u8]) -> Vec<u8> {
    names.split(',').fold(bytes.to_vec(), |bytes, name| match name.trim() {
        "gzip" => gzip(&bytes),
        "deflate" => zlib(&bytes),
        "raw-deflate" => raw_deflate(&bytes),
        "br" => br(&bytes),
        "zstd" => zstd(&bytes),
        other => panic!("{other} is no coding"),
    })
}
