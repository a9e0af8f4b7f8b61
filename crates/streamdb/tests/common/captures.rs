//! Captures as an independent reader, pcap-parser, sees them; and where the tests' captures are.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pcap_parser::{Block, InterfaceDescriptionBlock, PcapBlockOwned, PcapHeader, create_reader};
use streamdb_capture::{Step, Ticker};
use streamdb_decode::{Config, Content, Decoder};
use streamdb_types::{LinkType, Timestamp};

/// What is said of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub link_type: i32,
    pub snap_length: u32,
    /// Units of time a second.
    pub per_second: u64,
    /// Seconds added to each time.
    pub time_offset: i64,
    /// The codes of pcapng's options, and the values of those that are text, which are the same in every byte order.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// A frame as the capture file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// In units of its interface's resolution.
    pub ticks: i64,
    pub wire_len: u32,
    pub data: Vec<u8>,
    pub interface: Rc<About>,
}

impl Frame {
    /// Nanoseconds since 1970.
    pub fn nanos(&self) -> i64 {
        let nanos = i128::from(self.ticks) * 1_000_000_000 / i128::from(self.interface.per_second);
        i64::try_from(nanos + i128::from(self.interface.time_offset) * 1_000_000_000).unwrap_or(i64::MAX)
    }
}

/// A capture, up to where it can be read.
#[derive(Debug, Default)]
pub struct Capture {
    pub frames: Vec<Frame>,
    /// Whether its last record is complete.
    pub whole: bool,
}

impl About {
    fn of_classic(header: &PcapHeader) -> Self {
        Self {
            // Above it are flags and the length of the frame check sequence.
            link_type: header.network.0 & 0xffff,
            snap_length: header.snaplen,
            per_second: if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 },
            time_offset: 0,
            options: Vec::new(),
        }
    }

    fn of_pcapng(block: &InterfaceDescriptionBlock<'_>) -> Self {
        // opt_comment, if_name, if_description, if_os, if_hardware; not if_tsresol, if_tsoffset and the end of options.
        const TEXTS: [u16; 5] = [1, 2, 3, 12, 15];
        const ELSEWHERE: [u16; 3] = [0, 9, 14];
        let value = |code: u16, bytes: &[u8]| if TEXTS.contains(&code) { bytes.to_vec() } else { Vec::new() };
        let options = block.options.iter().filter(|option| !ELSEWHERE.contains(&option.code.0));
        Self {
            link_type: block.linktype.0,
            snap_length: block.snaplen,
            per_second: block.ts_resolution().unwrap(),
            time_offset: block.if_tsoffset,
            options: options.map(|o| (o.code.0, value(o.code.0, o.as_bytes().unwrap()))).collect(),
        }
    }
}

/// The file's bytes, decompressed.
pub fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// Reads a capture file with pcap-parser.
pub fn read_capture(path: &Path) -> Capture {
    Capture::read(&unpacked(path))
}

impl Capture {
    /// Reads a capture's bytes with pcap-parser.
    pub fn read(bytes: &[u8]) -> Self {
        let mut capture = Self::default();
        let mut interfaces: Vec<Rc<About>> = Vec::new();
        let (mut first, mut last, mut left) = (0, 0, bytes.len());
        // The whole file is in the reader's buffer: whatever stops it, what counts is where.
        let Ok(mut reader) = create_reader(bytes.len().max(1 << 16), bytes) else { return capture };
        loop {
            let Ok((used, block)) = reader.next() else {
                capture.whole = left == 0;
                return capture;
            };
            match block {
                PcapBlockOwned::LegacyHeader(header) => interfaces.push(About::of_classic(&header).into()),
                PcapBlockOwned::Legacy(block) => {
                    let interface = Rc::clone(&interfaces[0]);
                    let seconds = i64::from(block.ts_sec) * i64::try_from(interface.per_second).unwrap();
                    capture.frames.push(Frame {
                        ticks: seconds + i64::from(block.ts_usec),
                        wire_len: block.origlen,
                        data: block.data[..block.caplen as usize].to_vec(),
                        interface,
                    });
                }
                PcapBlockOwned::NG(Block::SectionHeader(_)) => first = interfaces.len(),
                PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                    interfaces.push(About::of_pcapng(&block).into());
                }
                PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                    last = (u64::from(block.ts_high) << 32 | u64::from(block.ts_low)).cast_signed();
                    capture.frames.push(Frame {
                        ticks: last,
                        wire_len: block.origlen,
                        data: block.data[..block.caplen as usize].to_vec(),
                        interface: Rc::clone(&interfaces[first + block.if_id as usize]),
                    });
                }
                PcapBlockOwned::NG(Block::SimplePacket(block)) => {
                    let interface = Rc::clone(&interfaces[first]);
                    let most = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
                    // It has no time; ours is that of the frame before.
                    capture.frames.push(Frame {
                        ticks: last,
                        wire_len: block.origlen,
                        data: block.data[..block.origlen.min(most) as usize].to_vec(),
                        interface,
                    });
                }
                PcapBlockOwned::NG(_) => {}
            }
            left -= used;
            reader.consume(used);
        }
    }

    /// The frames must be those of another capture, in order; the sentence says where they are not.
    pub fn differs(&self, wanted: &[Frame]) -> Option<String> {
        let same = self.frames.iter().zip(wanted).take_while(|(ours, theirs)| ours == theirs).count();
        if same == self.frames.len() && same == wanted.len() {
            return None;
        }
        let short = |frame: Option<&Frame>| {
            frame.map(|f| format!("{} ticks, {} of {} bytes, {:?}", f.ticks, f.data.len(), f.wire_len, f.interface))
        };
        let (ours, theirs) = (short(self.frames.get(same)), short(wanted.get(same)));
        let (have, want) = (self.frames.len(), wanted.len());
        Some(format!("{have} frames, wanted {want}, equal up to {same}; then {ours:?}, wanted {theirs:?}"))
    }
}

/// The frames that `--packets tcp` keeps: those of TCP, and fragments, as what they belong to is known too late.
pub fn frames_of_tcp(frames: &[Frame]) -> Vec<Frame> {
    let mut decoder = Decoder::new(Config::default());
    let mut ticker = Ticker::new();
    let mut kept = Vec::new();
    for frame in frames {
        let time = Timestamp(frame.nanos());
        if let Some(Step::Tick(now) | Step::Back(now)) = ticker.advance(time) {
            decoder.tick(now);
        }
        let link = LinkType(u16::try_from(frame.interface.link_type).unwrap());
        let decoded = decoder.decode(link, &frame.data, frame.wire_len, time, kept.len() as u64);
        if matches!(decoded.content, Content::Tcp(_) | Content::Fragment) {
            kept.push(frame.clone());
        }
    }
    kept
}

/// A file of one of the repository's own cases.
pub fn testdata(case: &str, file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    root.join("testdata").join(case).join(file)
}

/// The folder that `STREAMDB_CORPUS` names; without it the test says so.
pub fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("STREAMDB_CORPUS").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("STREAMDB_CORPUS names no folder of captures: skipped");
    }
    folder
}
