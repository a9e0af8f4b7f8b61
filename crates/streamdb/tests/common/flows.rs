//! Many flows at once, frame by frame, in every wrapping: plain, in fragments, in tunnels, and in both.

/// How a flow's packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    Plain,
    Fragmented,
    Gre,
    Vxlan,
    /// The inner packets are in fragments.
    VxlanOfFragments,
    /// The outer ones are.
    FragmentsOfVxlan,
    /// Both are.
    FragmentsOfVxlanOfFragments,
    FragmentsOfIpOfFragments,
    /// Both are, in packets of a tunnel that come in any way.
    VxlanOfFragmentsOfIpOfFragments,
}

const WRAPS: [Wrap; 9] = [
    Wrap::Plain,
    Wrap::Fragmented,
    Wrap::Gre,
    Wrap::Vxlan,
    Wrap::VxlanOfFragments,
    Wrap::FragmentsOfVxlan,
    Wrap::FragmentsOfVxlanOfFragments,
    Wrap::FragmentsOfIpOfFragments,
    Wrap::VxlanOfFragmentsOfIpOfFragments,
];

/// Payload that fits into one fragment.
const FRAGMENT: usize = 400;
const GROUP: usize = 50;

/// One of the flows.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub n: u32,
    pub wrap: Wrap,
    pub v6: bool,
    pub tcp: bool,
    server: u16,
    id: u32,
    seq: [u32; 2],
}

/// A port of servers that no tunnel listens on.
const WELL_KNOWN: u16 = 80;
/// One that may be a client's as well.
const OTHER: u16 = 8080;

/// A frame, and which side sent it: 0 the client, 1 the server.
pub type Sent = (usize, Vec<u8>);

impl Flow {
    pub fn new(n: u32) -> Self {
        let kind = n as usize;
        let (wrap, v6, tcp) = (WRAPS[kind % 9], kind / 9 % 2 == 1, (kind / 18).is_multiple_of(2));
        Self { n, wrap, v6, tcp, id: n * 64, server: WELL_KNOWN, seq: [n.wrapping_mul(77_777), n.wrapping_mul(99_991)] }
    }

    pub const fn ports(&self) -> [u16; 2] {
        [20_000 + (self.n % 20_000) as u16, self.server]
    }

    /// The client's address, as text.
    pub fn client(&self) -> String {
        let [a, b, c, d] = (0x0a00_0000 + self.n).to_be_bytes();
        if self.v6 {
            std::net::Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(self.n)).to_string()
        } else {
            format!("{a}.{b}.{c}.{d}")
        }
    }

    /// What each side says in all.
    pub fn says(&self, side: usize) -> Vec<u8> {
        let len = [700, 1900][side];
        let noise = |k: usize| (k as u32 ^ self.n.wrapping_mul(2_654_435_761) >> 7).wrapping_mul(2_246_822_519) >> 24;
        // No payload looks like what is inside of a tunnel.
        (0..len).map(|k| noise(k + side * 5000) as u8 | 0x80).collect()
    }

    /// How many steps its conversation has.
    const STEPS: usize = 9;

    /// The frames of a step.
    fn step(&mut self, step: usize) -> Vec<Sent> {
        let (ask, answer) = (self.says(0), self.says(1));
        let (one, two) = answer.split_at(950);
        if !self.tcp {
            return match step {
                3 => self.send(0, 0, &ask),
                4 => self.send(1, 0, one),
                5 => self.send(1, 0, two),
                _ => Vec::new(),
            };
        }
        match step {
            0 => self.send(0, 0x02, &[]),
            1 => self.send(1, 0x12, &[]),
            2 => self.send(0, 0x10, &[]),
            3 => self.send(0, 0x18, &ask),
            4 => self.send(1, 0x18, one),
            5 => self.send(1, 0x18, two),
            6 => self.send(0, 0x11, &[]),
            7 => self.send(1, 0x11, &[]),
            _ => self.send(0, 0x10, &[]),
        }
    }

    fn send(&mut self, side: usize, flags: u8, payload: &[u8]) -> Vec<Sent> {
        self.id += 1;
        let transport = self.transport(side, flags, payload);
        let protocol = if self.tcp { 6 } else { 17 };
        let inner = match self.wrap {
            Wrap::Plain | Wrap::Gre | Wrap::Vxlan | Wrap::FragmentsOfVxlan => {
                vec![self.packet(side, protocol, 0, false, &transport, false)]
            }
            _ => self.fragments(side, protocol, &transport),
        };
        let ethertype = if self.v6 { 0x86dd } else { 0x0800 };
        let frames = inner.into_iter().zip(1..).flat_map(|(packet, number)| match self.wrap {
            Wrap::Plain | Wrap::Fragmented => vec![ethernet(ethertype, &packet)],
            Wrap::Gre => {
                vec![ethernet(
                    0x0800,
                    &self.outer(side, 47, number, 0, &[&[0, 0], &be(ethertype)[..], &packet].concat()),
                )]
            }
            Wrap::Vxlan | Wrap::VxlanOfFragments => {
                vec![ethernet(0x0800, &self.outer(side, 17, number, 0, &self.vxlan(side, ethertype, &packet)))]
            }
            Wrap::FragmentsOfVxlan | Wrap::FragmentsOfVxlanOfFragments => {
                self.outer_fragments(side, 17, number, &self.vxlan(side, ethertype, &packet))
            }
            Wrap::FragmentsOfIpOfFragments => self.outer_fragments(side, if self.v6 { 41 } else { 4 }, number, &packet),
            Wrap::VxlanOfFragmentsOfIpOfFragments => {
                let tunnelled = self.outer_fragments(side, if self.v6 { 41 } else { 4 }, number, &packet);
                let wrap = |(k, frame): (usize, Vec<u8>)| {
                    let mut datagram = self.vxlan(side, 0x0800, &frame[14..]);
                    // As of a switch to which fragments are flows.
                    datagram[1] ^= k as u8 ^ number as u8;
                    ethernet(0x0800, &self.outer(side, 17, number, 0, &datagram))
                };
                tunnelled.into_iter().enumerate().map(wrap).collect()
            }
        });
        let mut frames: Vec<Sent> = frames.map(|frame| (side, frame)).collect();
        // Of some, the last fragment comes first.
        if self.n.is_multiple_of(5) {
            frames.reverse();
        }
        frames
    }

    fn transport(&mut self, side: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [from, to] = if side == 0 { self.ports() } else { [self.ports()[1], self.ports()[0]] };
        let mut out = [be(from), be(to)].concat();
        if self.tcp {
            out.extend(self.seq[side].to_be_bytes());
            out.extend(if flags & 0x10 == 0 { [0; 4] } else { self.seq[1 - side].to_be_bytes() });
            out.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            let counted = payload.len() as u32 + u32::from(flags & 1) + u32::from(flags >> 1 & 1);
            self.seq[side] = self.seq[side].wrapping_add(counted);
        } else {
            out.extend(be(payload.len() as u16 + 8));
            out.extend([0, 0]);
        }
        out.extend(payload);
        out
    }

    fn fragments(&self, side: usize, protocol: u8, transport: &[u8]) -> Vec<Vec<u8>> {
        let last = transport.len().div_ceil(FRAGMENT) - 1;
        let piece = |(k, piece): (usize, &[u8])| self.packet(side, protocol, k * FRAGMENT, k < last, piece, last > 0);
        transport.chunks(FRAGMENT).enumerate().map(piece).collect()
    }

    /// The packet, or a fragment of it.
    fn packet(&self, side: usize, protocol: u8, offset: usize, more: bool, payload: &[u8], fragment: bool) -> Vec<u8> {
        if !self.v6 {
            let ends = [0x0a00_0000 + self.n, 0xcb00_7100 + self.n % 250];
            let ends = if side == 0 { ends } else { [ends[1], ends[0]] };
            return ipv4(protocol, self.id as u16, (offset / 8) as u16 | if more { 0x2000 } else { 0 }, ends, payload);
        }
        let (next, payload) = if fragment {
            let place = offset as u16 | u16::from(more);
            let header = [&[protocol, 0], &be(place)[..], &self.id.to_be_bytes()].concat();
            (44, [&header, payload].concat())
        } else {
            (protocol, payload.to_vec())
        };
        let mut out = vec![0x60, 0, 0, 0];
        out.extend(be(payload.len() as u16));
        out.extend([next, 64]);
        let end = |last: u32| (0xfd00_u128 << 112 | u128::from(last)).to_be_bytes();
        let ends = [end(self.n), end(0xffff_0000 + self.n % 250)];
        out.extend(ends[side]);
        out.extend(ends[1 - side]);
        out.extend(payload);
        out
    }

    fn vxlan(&self, side: usize, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        // The port of the sender is a hash of what is inside, another one for each direction.
        let from = 50_000 + (self.n * 7 + side as u32 * 131) as u16 % 10_000;
        let inner = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &ethernet(ethertype, packet)].concat();
        [&be(from)[..], &be(4789), &be(inner.len() as u16 + 8), &[0, 0], &inner].concat()
    }

    /// The outer packet around the inner one of this number.
    fn outer(&self, side: usize, protocol: u8, number: u32, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let ends = [0xac10_0001 + self.n % 4, 0xac10_0101];
        let ends = if side == 0 { ends } else { [ends[1], ends[0]] };
        ipv4(protocol, (self.id + number * 16) as u16, fragment, ends, payload)
    }

    fn outer_fragments(&self, side: usize, protocol: u8, number: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let last = payload.len().div_ceil(FRAGMENT) - 1;
        let piece = |(k, piece): (usize, &[u8])| {
            let place = (k * FRAGMENT / 8) as u16 | if k < last { 0x2000 } else { 0 };
            ethernet(0x0800, &self.outer(side, protocol, number, place, piece))
        };
        payload.chunks(FRAGMENT).enumerate().map(piece).collect()
    }
}

/// The frames of all these flows, many at a time.
pub fn frames(flows: u32) -> Vec<Sent> {
    frames_to(flows, WELL_KNOWN)
}

/// The same, and no port tells the server from the client.
pub fn frames_without_known_ports(flows: u32) -> Vec<Sent> {
    frames_to(flows, OTHER)
}

fn frames_to(flows: u32, server: u16) -> Vec<Sent> {
    frames_of(&(0..flows).map(|n| Flow { server, ..Flow::new(n) }).collect::<Vec<_>>())
}

/// The frames of these flows.
pub fn frames_of(flows: &[Flow]) -> Vec<Sent> {
    let mut all = Vec::new();
    for group in flows.chunks(GROUP) {
        let mut group = group.to_vec();
        for step in 0..Flow::STEPS {
            group.iter_mut().for_each(|flow| all.extend(flow.step(step)));
        }
    }
    all
}

const fn be(n: u16) -> [u8; 2] {
    n.to_be_bytes()
}

fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &be(ethertype)[..], packet].concat()
}

fn ipv4(protocol: u8, id: u16, fragment: u16, [src, dst]: [u32; 2], payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(be(20 + payload.len() as u16));
    header.extend(be(id));
    header.extend(be(fragment));
    header.extend([64, protocol, 0, 0]);
    header.extend(src.to_be_bytes());
    header.extend(dst.to_be_bytes());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&be(sum));
    header.extend(payload);
    header
}
