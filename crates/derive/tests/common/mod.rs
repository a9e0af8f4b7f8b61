//! A store of a few conversations, written by the writer itself. Used by the tests of `http-api` too.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use streamdb_storage::{DiskVolume, FrameIn, Loss, Store, StreamFacts, WriteFolder, Writer, WriterConfig};
use streamdb_testkit::TestFolder;
use streamdb_types::{
    Counters, Direction, Endpoint, Gap, GapKind, Interface, LinkType, Marks, Path, Protocol, Reason, Resolution,
    StreamOffset, Timestamp, Tuple,
};

/// Ethernet, IPv4 and TCP without options.
pub const HEADERS: usize = 54;
/// Payload of a frame.
const SEGMENT: usize = 1400;

/// Something said in one direction.
pub enum Said<'a> {
    ToServer(&'a [u8]),
    ToClient(&'a [u8]),
    /// So many bytes to the client that nobody captured.
    Lost(u64),
    /// So many frames that the kernel dropped at this moment.
    Dropped(u64),
    /// Nothing: these marks of the direction to the client, in place of what the reason makes them.
    Marked(Marks),
    /// Nothing: it is over UDP.
    Udp,
    /// Nothing: it has not ended yet, whatever the reason says, and neither has its bucket.
    Open,
    /// Nothing: it is to go on in the next bucket, of which there is none.
    GoesOn,
}

/// A connection from one side to the other.
pub struct Talk<'a> {
    pub client: &'a str,
    pub server: &'a str,
    /// When it began; each frame comes a tenth of a second after the one before.
    pub begun: &'a str,
    pub said: Vec<Said<'a>>,
    pub reason: Reason,
}

/// A store with these conversations, and the folder that it lies in.
pub fn store(talks: &[Talk<'_>]) -> (TestFolder, Arc<Store>) {
    let folder = TestFolder::new("store");
    let path = folder.path().join("data");
    let write = Arc::new(WriteFolder::open(&path, Box::new(DiskVolume)).unwrap());
    let mut writer = Writer::new(write, 0, WriterConfig::default()).unwrap();
    for (slot, talk) in talks.iter().enumerate() {
        converse(&mut writer, slot as u32, talk);
    }
    if talks.iter().flat_map(|talk| &talk.said).any(|said| matches!(said, Said::Open)) {
        writer.commit().unwrap();
        // Another thread stores it; and it stays open, as nobody ends the writer.
        std::mem::forget(writer);
        while Store::open(&path).unwrap().buckets().unwrap().iter().flatten().all(|bucket| bucket.streams == 0) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    } else {
        writer.finish(&Counters::default()).unwrap();
    }
    let store = Arc::new(Store::open(&path).unwrap());
    (folder, store)
}

fn converse(writer: &mut Writer, slot: u32, talk: &Talk<'_>) {
    let end = |text: &str| {
        let (addr, port) = text.rsplit_once(':').unwrap();
        Endpoint::new(addr.parse().unwrap(), port.parse().unwrap())
    };
    let is_tcp = !talk.said.iter().any(|said| matches!(said, Said::Udp));
    let protocol = if is_tcp { Protocol::TCP } else { Protocol::UDP };
    let tuple = Tuple { protocol, client: end(talk.client), server: end(talk.server) };
    let interface = writer.interface(&Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 0,
        resolution: Resolution::MICROS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    });
    let mut time: Timestamp = talk.begun.parse().unwrap();
    let mut opened = false;
    let mut packets = [0u64; 2];
    let mut times = [(time, time); 2];
    let mut ends = [0u64; 2];
    let mut gaps = Vec::new();
    // As both sides open with a frame without payload, both directions are there whatever is said.
    let opening = [Said::ToServer(b""), Said::ToClient(b"")];
    for said in opening.iter().chain(&talk.said) {
        let (direction, bytes) = match said {
            Said::ToServer(bytes) => (Direction::ToServer, *bytes),
            Said::ToClient(bytes) => (Direction::ToClient, *bytes),
            Said::Lost(length) => {
                let end = &mut ends[Direction::ToClient.index()];
                gaps.push(Gap { offset: StreamOffset(*end), length: *length, kind: GapKind::Missing });
                *end += length;
                continue;
            }
            Said::Dropped(kernel) => {
                let loss = Loss { from: time.plus(-1_000_000_000), to: time, kernel: *kernel, interface: 0, shed: 0 };
                writer.loss(&loss).unwrap();
                continue;
            }
            Said::Marked(_) | Said::Udp | Said::Open | Said::GoesOn => continue,
        };
        let at = direction.index();
        let segments: Vec<&[u8]> = if bytes.is_empty() { vec![b""] } else { bytes.chunks(SEGMENT).collect() };
        for payload in segments {
            let mut frame = vec![0u8; HEADERS];
            frame[12] = 8;
            frame.extend_from_slice(payload);
            let input = FrameIn {
                time,
                interface,
                wire_len: frame.len() as u32,
                data: &frame,
                payload_at: HEADERS,
                payload_len: payload.len(),
                is_tcp,
            };
            let tag = writer.frame(&input).unwrap();
            if !opened {
                writer.opened(slot, &tuple, &Path::EMPTY, time);
                opened = true;
            }
            let offset = StreamOffset(ends[at]);
            if !payload.is_empty() {
                writer.data(slot, direction, offset, payload).unwrap();
                writer.placed(tag, offset);
            }
            writer.belongs(tag, slot, direction);
            ends[at] += payload.len() as u64;
            if packets[at] == 0 {
                times[at].0 = time;
            }
            times[at].1 = time;
            packets[at] += 1;
            time = time.plus(100_000_000);
        }
    }
    let marked = talk.said.iter().find_map(|said| if let Said::Marked(marks) = said { Some(*marks) } else { None });
    let facts = Direction::BOTH.map(|direction| {
        let at = direction.index();
        StreamFacts {
            packets: packets[at],
            first: times[at].0,
            last: times[at].1,
            length: StreamOffset(ends[at]),
            gaps: if direction == Direction::ToClient { &gaps } else { &[] },
            marks: match marked {
                Some(marks) if direction == Direction::ToClient => marks,
                _ if !is_tcp => Marks::default(),
                _ if talk.reason == Reason::Fin => Marks::SYN.with(Marks::FIN),
                _ => Marks::SYN,
            },
            limited: false,
        }
    });
    if talk.said.iter().any(|said| matches!(said, Said::Open | Said::GoesOn)) {
        writer.checkpoint(slot, facts, None).unwrap();
        return;
    }
    writer.checkpoint(slot, facts, Some(talk.reason)).unwrap();
    writer.closed(slot);
}
