//! Floods, frame by frame: what somebody sends who wants a sensor to lose what it should see.

use crate::Random;

/// What kind of flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// SYNs, each of another connection.
    Syn,
    /// Datagrams between random ports.
    Udp,
    /// First fragments whose packets never become whole.
    Fragments,
    /// Segments of a few connections, each leaving a hole before it.
    OutOfOrder,
    /// Segments of one byte.
    Tiny,
    /// Segments that overlap and differ.
    Overlaps,
}

impl Flood {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Syn, Self::Udp, Self::Fragments, Self::OutOfOrder, Self::Tiny, Self::Overlaps];

    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Udp => "udp",
            Self::Fragments => "fragments",
            Self::OutOfOrder => "out-of-order",
            Self::Tiny => "tiny",
            Self::Overlaps => "overlaps",
        }
    }

    /// The `n`th Ethernet frame, from hosts that there are not to one that there is not.
    fn frame(self, n: u32, random: &mut Random) -> Vec<u8> {
        let any = |random: &mut Random| (random.next() >> 32) as u32;
        match self {
            Self::Syn => ip(any(random), 6, 0, &tcp((n % 60_000) as u16 + 1024, any(random), SYN, b"")),
            Self::Udp => {
                let ports = any(random).to_be_bytes();
                let udp = [&ports[..], &40_u16.to_be_bytes(), &[0, 0], &[n as u8; 32]].concat();
                ip(0x0a2a_0000 | n & 0xff, 17, 0, &udp)
            }
            Self::Fragments => {
                // More fragments follow, says each, and it lies somewhere.
                let place = 0x2000 | if n % 2 == 0 { 0 } else { n as u16 & 0x0fff };
                ip(0x0a2a_0000 | n & 0xffff, 17, place, &[n as u8; 480])
            }
            Self::OutOfOrder => {
                let seq = (n / 64).wrapping_mul(2000).wrapping_add(1000);
                ip(0x0a2a_0001, 6, 0, &tcp(2000 + (n % 64) as u16, seq, ACK, &[n as u8; 1000]))
            }
            Self::Tiny => ip(0x0a2a_0002, 6, 0, &tcp(2000 + (n % 16) as u16, n / 16, ACK, &[n as u8])),
            Self::Overlaps => {
                let seq = (n / 16).wrapping_mul(100);
                ip(0x0a2a_0003, 6, 0, &tcp(2000 + (n % 16) as u16, seq, ACK, &[n as u8; 1400]))
            }
        }
    }

    /// So many frames as a classic pcap capture.
    pub fn capture(self, count: u32) -> Vec<u8> {
        let mut random = Random(7);
        let mut out = Vec::new();
        for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            out.extend(field.to_le_bytes());
        }
        for n in 0..count {
            let frame = self.frame(n, &mut random);
            for field in [1_330_674_711, n, frame.len() as u32, frame.len() as u32] {
                out.extend(field.to_le_bytes());
            }
            out.extend(frame);
        }
        out
    }
}

const SYN: u8 = 2;
const ACK: u8 = 0x10;

fn tcp(port: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = port.to_be_bytes().to_vec();
    out.extend(80_u16.to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
    out
}

/// A packet from this host, with a right header checksum, in a frame that no interface takes for its own.
fn ip(src: u32, protocol: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend((src as u16 ^ place).to_be_bytes());
    header.extend(place.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(src.to_be_bytes());
    header.extend([10, 42, 255, 254]);
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&[2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 0x98, 8, 0], &header[..], payload].concat()
}
