//! Builds capture files byte by byte, in either byte order, and reads them back by value.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "only tests, each uses some"
)]

use std::io::{Cursor, Write};
use std::path::Path;

use streamdb_capture::{CaptureFile, Drops, Error, Item};
use streamdb_types::Interface;

/// A file in one byte order.
#[derive(Clone, Default)]
pub struct Build {
    pub big: bool,
    pub bytes: Vec<u8>,
}

impl Build {
    pub fn new(big: bool) -> Self {
        Self { big, bytes: Vec::new() }
    }

    pub fn u16(mut self, n: u16) -> Self {
        self.bytes.extend(if self.big { n.to_be_bytes() } else { n.to_le_bytes() });
        self
    }

    pub fn u32(mut self, n: u32) -> Self {
        self.bytes.extend(if self.big { n.to_be_bytes() } else { n.to_le_bytes() });
        self
    }

    pub fn u64(mut self, n: u64) -> Self {
        self.bytes.extend(if self.big { n.to_be_bytes() } else { n.to_le_bytes() });
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes with the padding of pcapng.
    pub fn padded(self, bytes: &[u8]) -> Self {
        self.raw(bytes).raw(&[0; 3][..bytes.len().wrapping_neg() & 3])
    }

    /// The header of a classic file of version 2.4.
    pub fn pcap(self, magic: u32, network: u32) -> Self {
        self.pcap_version(magic, network, 2, 4)
    }

    pub fn pcap_version(self, magic: u32, network: u32, major: u16, minor: u16) -> Self {
        self.u32(magic).u16(major).u16(minor).u32(0).u32(0).u32(65_535).u32(network)
    }

    /// A record of a classic file.
    pub fn record(self, seconds: u32, fraction: u32, wire_len: u32, data: &[u8]) -> Self {
        self.u32(seconds).u32(fraction).u32(data.len() as u32).u32(wire_len).raw(data)
    }

    /// A block of pcapng around a body made by `body`.
    pub fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let body = body(Self::new(self.big)).bytes;
        let length = body.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&body).u32(length)
    }

    /// A section header; what follows it is in its byte order.
    pub fn section(mut self, big: bool) -> Self {
        self.big = big;
        self.block(0x0a0d_0d0a, |b| b.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX))
    }

    /// An interface description; `options` writes its options.
    pub fn interface(self, link: u16, snap: u32, options: impl FnOnce(Self) -> Self) -> Self {
        self.block(1, |b| options(b.u16(link).u16(0).u32(snap)))
    }

    pub fn option(self, code: u16, value: &[u8]) -> Self {
        self.u16(code).u16(value.len() as u16).padded(value)
    }

    pub fn option_u64(self, code: u16, value: u64) -> Self {
        self.u16(code).u16(8).u64(value)
    }

    /// An enhanced packet without options.
    pub fn packet(self, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) -> Self {
        self.packet_with(interface, ticks, wire_len, data, |b| b)
    }

    pub fn packet_with(
        self,
        interface: u32,
        ticks: u64,
        wire_len: u32,
        data: &[u8],
        options: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.block(6, |b| {
            let b = b.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            options(b.u32(data.len() as u32).u32(wire_len).padded(data))
        })
    }

    /// A simple packet: its data as the snap length leaves it.
    pub fn simple(self, wire_len: u32, data: &[u8]) -> Self {
        self.block(3, |b| b.u32(wire_len).padded(data))
    }

    pub fn gzip(&self) -> Vec<u8> {
        gzip(&self.bytes)
    }

    pub fn zstd(&self) -> Vec<u8> {
        zstd::bulk::compress(&self.bytes, 3).unwrap()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

/// An item by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Interface(u32, Interface),
    /// Nanoseconds, interface, wire length, bytes.
    Frame(i64, u32, u32, Vec<u8>),
    Secrets(u32, Vec<u8>),
    Names(Vec<u8>),
    Drops(Drops),
}

impl Said {
    pub fn of(item: Item<'_>) -> Self {
        match item {
            Item::Interface(n, interface) => Self::Interface(n, interface.clone()),
            Item::Frame(f) => Self::Frame(f.time.0, f.interface, f.wire_len, f.data.to_vec()),
            Item::Secrets { kind, data } => Self::Secrets(kind, data.to_vec()),
            Item::Names(data) => Self::Names(data.to_vec()),
            Item::Drops(drops) => Self::Drops(drops),
        }
    }
}

/// A frame as it should be read.
pub fn frame(time: i64, interface: u32, wire_len: u32, data: &[u8]) -> Said {
    Said::Frame(time, interface, wire_len, data.to_vec())
}

/// Everything that a file called `x.pcap` of these bytes says, and how it ended.
pub fn read(bytes: &[u8]) -> (Vec<Said>, Option<Error>) {
    let mut file = match CaptureFile::from_reader(Path::new("x.pcap"), Cursor::new(bytes.to_vec())) {
        Ok(file) => file,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut said = Vec::new();
    loop {
        match file.next() {
            Ok(Some(item)) => said.push(Said::of(item)),
            Ok(None) => return (said, None),
            Err(error) => {
                assert!(file.next().unwrap().is_none(), "after an error there is nothing more");
                return (said, Some(error));
            }
        }
    }
}

/// The items of a file without fault.
pub fn read_whole(bytes: &[u8]) -> Vec<Said> {
    let (said, error) = read(bytes);
    assert!(error.is_none(), "{}", error.unwrap());
    said
}

/// The frames of a file without fault.
pub fn frames(bytes: &[u8]) -> Vec<Said> {
    only_frames(read_whole(bytes))
}

pub fn only_frames(mut said: Vec<Said>) -> Vec<Said> {
    said.retain(|s| matches!(s, Said::Frame(..)));
    said
}

/// The sentence with which reading these bytes ends.
pub fn sentence(bytes: &[u8]) -> String {
    read(bytes).1.map_or_else(|| "no error".into(), |error| error.to_string())
}

/// A folder that is removed at the end of its test.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("streamdb-capture-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
