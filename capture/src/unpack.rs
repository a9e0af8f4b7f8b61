//! gzip and zstd, a piece at a time, with nothing lost: what can be decompressed before a damage is handed out first.
//!
//! The stream readers of the two crates drop what they made in the call that meets the damage. Here inflate's output
//! counts even when it fails, and zstd is fed one block at a time, so that a failing call has made nothing.

use std::io::{self, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::error::{Checked, Compression, Fault};

/// Compressed bytes read at once. More than the largest zstd block with its header, so that each is fed in one piece.
const RAW: usize = 256 * 1024;

/// A decompressor and the compressed bytes it is at.
pub(crate) struct Unpacker {
    raw: Raw,
    kind: Kind,
    /// What went wrong in a call that had made something before.
    failed: Option<String>,
}

enum Kind {
    Gzip(Gzip),
    Zstd(Zstd),
}

impl Unpacker {
    /// A decompressor of data of which `begin` was read already. zstd windows above this power of two are refused: memory is
    /// bounded whatever the file says.
    pub(crate) fn new(compression: Compression, begin: &[u8], window_log: u32) -> io::Result<Self> {
        let mut buffer = begin.to_vec();
        buffer.resize(RAW.max(begin.len()), 0);
        let raw = Raw { buffer, start: 0, end: begin.len(), ended: false, used: 0 };
        let kind = match compression {
            Compression::Gzip => Kind::Gzip(Gzip {
                inflate: Decompress::new(false),
                crc: Crc::new(),
                state: GzipState::Header,
                members: 0,
            }),
            Compression::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
                Kind::Zstd(Zstd { decoder, wanted: FIRST_FEED, inside: false, filled: false })
            }
        };
        Ok(Self { raw, kind, failed: None })
    }

    /// How the data is compressed.
    pub(crate) const fn compression(&self) -> Compression {
        match self.kind {
            Kind::Gzip(_) => Compression::Gzip,
            Kind::Zstd(_) => Compression::Zstd,
        }
    }

    /// Compressed bytes used up.
    pub(crate) const fn used(&self) -> u64 {
        self.raw.used
    }

    /// Writes what comes next into `out`, which is not empty; 0 at the end.
    pub(crate) fn read(&mut self, reader: &mut dyn Read, out: &mut [u8]) -> Checked<usize> {
        let made = match (&self.failed, &mut self.kind) {
            (Some(_), _) => Ok(Made::Bytes(0)),
            (None, Kind::Gzip(gzip)) => gzip.read(&mut self.raw, reader, out),
            (None, Kind::Zstd(zstd)) => zstd.read(&mut self.raw, reader, out),
        };
        match made {
            Ok(Made::Bytes(0)) => match self.failed.take() {
                Some(reason) => Err(self.fault(reason)),
                None => Ok(0),
            },
            Ok(Made::Bytes(length)) => Ok(length),
            Ok(Made::BytesThen(0, reason)) => Err(self.fault(reason)),
            Ok(Made::BytesThen(length, reason)) => {
                self.failed = Some(reason);
                Ok(length)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn fault(&self, reason: String) -> Box<Fault> {
        Box::new(Fault::Unpack { compression: self.compression(), reason })
    }
}

/// What one call made: bytes (0 is the end), and perhaps what went wrong after them.
enum Made {
    Bytes(usize),
    BytesThen(usize, String),
}

const ENDS_EARLY: &str = "the compressed data ends early";

/// The compressed bytes that are read and not used up.
struct Raw {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    used: u64,
}

impl Raw {
    /// At least `wanted` bytes (at most the buffer's size), fewer only at the end.
    fn want(&mut self, reader: &mut dyn Read, wanted: usize) -> io::Result<&[u8]> {
        if self.end - self.start < wanted && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted && !self.ended {
            let Some(room) = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty()) else { break };
            match reader.read(room) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        self.used += length as u64;
    }

    fn byte(&mut self, reader: &mut dyn Read) -> io::Result<Option<u8>> {
        let byte = self.want(reader, 1)?.first().copied();
        if byte.is_some() {
            self.consume(1);
        }
        Ok(byte)
    }
}

/// The members of a gzip file, one after the other (RFC 1952 §2.2).
struct Gzip {
    inflate: Decompress,
    crc: Crc,
    state: GzipState,
    members: u64,
}

/// `Header -> Body -> Trailer -> Header ...`, the end only before a header.
#[derive(Clone, Copy)]
enum GzipState {
    Header,
    Body,
    Trailer,
}

/// What stands where a member's header may be.
enum Header {
    Read,
    NoMore,
    Wrong(&'static str),
}

impl Gzip {
    fn read(&mut self, raw: &mut Raw, reader: &mut dyn Read, out: &mut [u8]) -> io::Result<Made> {
        loop {
            match self.state {
                GzipState::Header => match read_gzip_header(raw, reader, self.members == 0)? {
                    Header::NoMore => return Ok(Made::Bytes(0)),
                    Header::Wrong(reason) => return Ok(Made::BytesThen(0, reason.into())),
                    Header::Read => {
                        self.members += 1;
                        self.inflate.reset(false);
                        self.crc.reset();
                        self.state = GzipState::Body;
                    }
                },
                GzipState::Body => {
                    let input = raw.want(reader, 1)?;
                    let at_end = input.is_empty();
                    let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
                    let result = self.inflate.decompress(input, out, FlushDecompress::None);
                    let taken = (self.inflate.total_in() - taken) as usize;
                    let made = (self.inflate.total_out() - made) as usize;
                    raw.consume(taken);
                    self.crc.update(out.get(..made).unwrap_or_default());
                    match result {
                        // The library's own words depend on how the bytes came.
                        Err(_) => return Ok(Made::BytesThen(made, "it is no deflate data from there on".into())),
                        Ok(Status::StreamEnd) => self.state = GzipState::Trailer,
                        Ok(_) if made == 0 && at_end => return Ok(Made::BytesThen(0, ENDS_EARLY.into())),
                        Ok(_) if made == 0 && taken == 0 => {
                            return Ok(Made::BytesThen(0, "inflate does not go on".into()));
                        }
                        Ok(_) => {}
                    }
                    if made > 0 {
                        return Ok(Made::Bytes(made));
                    }
                }
                GzipState::Trailer => {
                    let Some(trailer) = raw.want(reader, 8)?.first_chunk::<8>() else {
                        return Ok(Made::BytesThen(0, ENDS_EARLY.into()));
                    };
                    let [a, b, c, d, e, f, g, h] = *trailer;
                    raw.consume(8);
                    if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
                        return Ok(Made::BytesThen(0, "its checksum does not fit its bytes".into()));
                    }
                    if u32::from_le_bytes([e, f, g, h]) != self.crc.amount() {
                        return Ok(Made::BytesThen(0, "its length does not fit its bytes".into()));
                    }
                    self.state = GzipState::Header;
                }
            }
        }
    }
}

/// Reads over a member's header. After the first member zeros may follow, as tapes and dd leave them.
fn read_gzip_header(raw: &mut Raw, reader: &mut dyn Read, first: bool) -> io::Result<Header> {
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const HEADER_CRC: u8 = 1 << 1;
    if !first {
        while raw.want(reader, 1)?.first() == Some(&0) {
            raw.consume(1);
        }
        if raw.want(reader, 1)?.is_empty() {
            return Ok(Header::NoMore);
        }
    }
    let Some(fixed) = raw.want(reader, 10)?.first_chunk::<10>() else { return Ok(Header::Wrong(ENDS_EARLY)) };
    let [0x1f, 0x8b, method, flags, ..] = *fixed else {
        return Ok(Header::Wrong("bytes that are no gzip member follow"));
    };
    if method != 8 {
        return Ok(Header::Wrong("its method is not deflate"));
    }
    raw.consume(10);
    let mut skip = 0;
    if flags & EXTRA != 0 {
        let (Some(low), Some(high)) = (raw.byte(reader)?, raw.byte(reader)?) else {
            return Ok(Header::Wrong(ENDS_EARLY));
        };
        skip = u16::from_le_bytes([low, high]);
    }
    for _ in 0..skip {
        if raw.byte(reader)?.is_none() {
            return Ok(Header::Wrong(ENDS_EARLY));
        }
    }
    let texts = [NAME, COMMENT].into_iter().filter(|flag| flags & flag != 0).count();
    for _ in 0..texts {
        loop {
            match raw.byte(reader)? {
                Some(0) => break,
                Some(_) => {}
                None => return Ok(Header::Wrong(ENDS_EARLY)),
            }
        }
    }
    if flags & HEADER_CRC != 0 && (raw.byte(reader)?.is_none() || raw.byte(reader)?.is_none()) {
        return Ok(Header::Wrong(ENDS_EARLY));
    }
    Ok(Header::Read)
}

/// What zstd is fed first: the shortest start of a frame header.
const FIRST_FEED: usize = 5;

/// The frames of a zstd file, one after the other (RFC 8878 §3.1).
struct Zstd {
    decoder: Decoder<'static>,
    /// The decoder's own hint: what it needs up to the end of the next block, and no more.
    wanted: usize,
    /// Within a frame: the data must not end here.
    inside: bool,
    /// The last call filled the output: there may be more of the same block, to be fetched before the next is fed.
    filled: bool,
}

impl Zstd {
    fn read(&mut self, raw: &mut Raw, reader: &mut dyn Read, out: &mut [u8]) -> io::Result<Made> {
        loop {
            let feed = if self.filled { 0 } else { self.wanted.clamp(1, RAW) };
            let input = raw.want(reader, feed)?;
            let input = input.get(..feed).unwrap_or(input);
            let at_end = input.is_empty() && !self.filled;
            if at_end && !self.inside {
                return Ok(Made::Bytes(0));
            }
            let (mut source, mut target) = (InBuffer::around(input), OutBuffer::around(&mut *out));
            let hint = match self.decoder.run(&mut source, &mut target) {
                Ok(hint) => hint,
                Err(error) => return Ok(Made::BytesThen(0, error.to_string())),
            };
            let (taken, made) = (source.pos(), target.pos());
            raw.consume(taken);
            // A hint of 0 is the end of a frame; another may follow.
            self.inside = hint != 0;
            self.wanted = if hint == 0 { FIRST_FEED } else { hint };
            let was_filled = std::mem::replace(&mut self.filled, made == out.len());
            if made > 0 {
                return Ok(Made::Bytes(made));
            }
            if taken == 0 && !was_filled {
                return Ok(Made::BytesThen(0, if at_end { ENDS_EARLY } else { "zstd does not go on" }.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Something like text, enough for several blocks of either compression.
    fn original() -> Vec<u8> {
        let mut state = 1_u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (state >> 16) % 500 * 7_654_321;
            format!("{number} ")
        };
        (0..60_000).flat_map(|_| word().into_bytes()).collect()
    }

    fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                coder.write_all(bytes).unwrap();
                coder.finish().unwrap()
            }
            Compression::Zstd => {
                let mut coder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
                coder.include_checksum(true).unwrap();
                coder.write_all(bytes).unwrap();
                coder.finish().unwrap()
            }
        }
    }

    /// What comes out when so many bytes are asked for at once, and whether it ended well.
    fn unpack(packed: &[u8], at_once: usize) -> (Vec<u8>, bool) {
        let (begin, mut rest) = packed.split_at(packed.len().min(4));
        let mut unpacker = Unpacker::new(Compression::of(begin).unwrap(), begin, 27).unwrap();
        let (mut all, mut out) = (Vec::new(), vec![0; at_once]);
        loop {
            match unpacker.read(&mut rest, &mut out) {
                Ok(0) => return (all, true),
                Ok(n) => all.extend_from_slice(&out[..n]),
                Err(_) => return (all, false),
            }
        }
    }

    /// The slow twin: the crates' own readers, asked for one byte at a time.
    fn byte_by_byte(packed: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn Read> = match Compression::of(packed).unwrap() {
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
        };
        let (mut all, mut byte) = (Vec::new(), [0]);
        while let Ok(1) = reader.read(&mut byte) {
            all.push(byte[0]);
        }
        all
    }

    #[test]
    fn damage_costs_nothing_that_lies_before_it() {
        let original = original();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let good = pack(compression, &original);
            assert!(unpack(&good, 1 << 20) == (original.clone(), true));
            let all_but_ends = original.len() / 5..original.len() / 5 * 4;
            let mut kept = Vec::new();
            for at in (20..good.len()).step_by(good.len() / 12) {
                let mut bad = good.clone();
                bad[at] ^= 0x55;
                let (all, ended_well) = unpack(&bad, 1 << 20);
                assert!(!ended_well, "both formats have checksums");
                // The twin cannot say the byte that it made in the call that failed.
                let twin = byte_by_byte(&bad);
                assert!(all.starts_with(&twin) && all.len() - twin.len() <= 1, "{compression}, damage at {at}");
                assert!(all == unpack(&bad, 999).0, "{compression}, damage at {at}");
                kept.push(all.len());
            }
            // The test would say nothing if all were lost at the first byte or noticed at the last.
            assert!(kept.iter().any(|n| all_but_ends.contains(n)), "{compression}: {kept:?}");
        }
    }
}
