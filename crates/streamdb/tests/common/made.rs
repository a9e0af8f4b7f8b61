//! Captures made frame by frame, for what no recorded one has.

/// A classic pcap capture with nanoseconds, of Ethernet frames.
#[derive(Clone, Default)]
pub struct Made {
    /// Time in nanoseconds, and bytes.
    pub frames: Vec<(u64, Vec<u8>)>,
}

/// The time of the first frame of all that is made here: 2012-03-02 07:51:51, in nanoseconds.
const BEGUN: u64 = 1_330_674_711_000_000_000;

/// A TCP connection from 10.0.0.5 to 203.0.113.9:80.
#[derive(Clone)]
pub struct Talk {
    port: u16,
    /// The next sequence numbers of client and server.
    seq: [u32; 2],
    id: u16,
}

const SYN: u8 = 2;
const PSH_ACK: u8 = 0x18;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

impl Made {
    /// The file's header.
    pub fn header() -> Vec<u8> {
        let mut out = Vec::new();
        for field in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            out.extend(field.to_le_bytes());
        }
        out
    }

    /// One record.
    pub fn record((time, frame): &(u64, Vec<u8>)) -> Vec<u8> {
        let time = BEGUN + time;
        let length = frame.len() as u32;
        let mut out = Vec::new();
        for field in [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, length, length] {
            out.extend(field.to_le_bytes());
        }
        out.extend(frame);
        out
    }

    /// The whole file.
    pub fn file(&self) -> Vec<u8> {
        let mut out = Self::header();
        self.frames.iter().for_each(|frame| out.extend(Self::record(frame)));
        out
    }

    /// A UDP datagram from 10.0.0.5 to 203.0.113.9:port, `millis` after the begin, in fragments of at most `most` bytes.
    pub fn datagram(&mut self, millis: u64, port: u16, payload: &[u8], most: usize) {
        let mut udp = Vec::new();
        udp.extend(5000_u16.to_be_bytes());
        udp.extend(port.to_be_bytes());
        udp.extend((payload.len() as u16 + 8).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let id = self.frames.len() as u16;
        let pieces = udp.chunks(most / 8 * 8);
        let last = pieces.len() - 1;
        for (n, piece) in pieces.enumerate() {
            let more = if n < last { 0x2000 } else { 0 };
            let place = (n * (most / 8)) as u16 | more;
            self.push(millis, ip(17, id, place, true, piece));
        }
    }

    fn push(&mut self, millis: u64, frame: Vec<u8>) {
        // No two frames of a capture have one time.
        let time = millis * 1_000_000 + self.frames.len() as u64;
        self.frames.push((time, frame));
    }
}

impl Talk {
    /// A connection of this client port, not yet begun. The numbers of what the server says soon pass 2^32.
    pub fn new(port: u16) -> Self {
        Self { port, seq: [u32::from(port) * 1_003, 4_294_960_000], id: 0 }
    }

    /// What this side (0 the client, 1 the server) says next lies so many bytes back.
    pub fn back(&mut self, side: usize, bytes: u32) -> &mut Self {
        self.seq[side] = self.seq[side].wrapping_sub(bytes);
        self
    }

    /// Three frames.
    pub fn open(&mut self, made: &mut Made, millis: u64) -> &mut Self {
        self.send(made, millis, 0, SYN, b"");
        self.send(made, millis, 1, SYN | ACK, b"");
        self.send(made, millis, 0, ACK, b"");
        self
    }

    /// The client says something.
    pub fn ask(&mut self, made: &mut Made, millis: u64, bytes: &[u8]) -> &mut Self {
        bytes.chunks(1400).for_each(|piece| self.send(made, millis, 0, PSH_ACK, piece));
        self
    }

    /// The server says something.
    pub fn answer(&mut self, made: &mut Made, millis: u64, bytes: &[u8]) -> &mut Self {
        bytes.chunks(1400).for_each(|piece| self.send(made, millis, 1, PSH_ACK, piece));
        self
    }

    /// Both have said all.
    pub fn close(&mut self, made: &mut Made, millis: u64) {
        self.send(made, millis, 0, FIN_ACK, b"");
        self.send(made, millis, 1, FIN_ACK, b"");
        self.send(made, millis, 0, ACK, b"");
    }

    fn send(&mut self, made: &mut Made, millis: u64, side: usize, flags: u8, payload: &[u8]) {
        let ports = if side == 0 { [self.port, 80] } else { [80, self.port] };
        let mut tcp = Vec::new();
        ports.iter().for_each(|port| tcp.extend(port.to_be_bytes()));
        tcp.extend(self.seq[side].to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { self.seq[1 - side] };
        tcp.extend(acknowledged.to_be_bytes());
        tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(payload);
        // SYN and FIN count as one byte (RFC 9293 §3.4).
        let counted = payload.len() as u32 + u32::from(flags & 1) + u32::from(flags >> 1 & 1);
        self.seq[side] = self.seq[side].wrapping_add(counted);
        self.id = self.id.wrapping_add(1);
        made.push(millis, ip(6, self.id, 0x4000, side == 0, &tcp));
    }
}

/// An Ethernet frame with an IPv4 packet; its header checksum is right, those above are not there.
fn ip(protocol: u8, id: u16, fragment: u16, to_server: bool, payload: &[u8]) -> Vec<u8> {
    let (client, server) = ([10, 0, 0, 5], [203, 0, 113, 9]);
    let ends = if to_server { [client, server] } else { [server, client] };
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    ends.iter().for_each(|end| header.extend(end));
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(header);
    frame.extend(payload);
    frame
}
