//! Whole conversations: bulk downloads, short requests, and a mixture of small things.

use crate::content::{Random, content};
use crate::frames::{ACK, FIN, Host, PSH, SYN, tcp, udp};

/// Payload of a full segment with the time stamp option on Ethernet.
const FULL: usize = 1448;
/// 2026-01-01T00:00:00Z, in nanoseconds.
const START: i64 = 1_767_225_600_000_000_000;

/// A frame and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a> {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Frames in the order in which they came.
#[derive(Clone, Debug)]
pub struct Traffic {
    bytes: Vec<u8>,
    /// When each came, and where it ends.
    frames: Vec<(i64, usize)>,
    clock: i64,
    random: Random,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self { bytes: Vec::new(), frames: Vec::new(), clock: START, random: Random(seed) }
    }

    /// The frames.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Timed<'_>> {
        let mut from = 0;
        self.frames.iter().map(move |(time, end)| {
            let data = self.bytes.get(from..*end).unwrap_or_default();
            from = *end;
            Timed { time: *time, data }
        })
    }

    /// Bytes of all frames.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no frame.
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Between two frames lie about `nanos`, never the same twice.
    fn sent(&mut self, nanos: u64) {
        self.clock += (nanos / 2 + self.random.below(nanos)) as i64;
        self.frames.push((self.clock, self.bytes.len()));
    }

    fn segment(&mut self, talk: &mut Talk, from_server: bool, flags: u8, payload: &[u8], nanos: u64) {
        let millis = ((self.clock - talk.began) / 1_000_000) as u32;
        let passed = millis - talk.stamped(from_server);
        let (from, to) = if from_server { (&mut talk.server, &talk.client) } else { (&mut talk.client, &talk.server) };
        from.stamp = from.stamp.wrapping_add(passed);
        tcp(&mut self.bytes, from, to, flags, payload);
        let stamp = from.stamp;
        let receiver = if from_server { &mut talk.client } else { &mut talk.server };
        receiver.echo = stamp;
        talk.note_stamp(from_server, millis);
        self.sent(nanos);
    }

    fn open(&mut self, talk: &mut Talk, nanos: u64) {
        self.segment(talk, false, SYN, &[], nanos);
        self.segment(talk, true, SYN | ACK, &[], nanos);
        self.segment(talk, false, ACK, &[], nanos);
    }

    fn close(&mut self, talk: &mut Talk, nanos: u64) {
        self.segment(talk, true, FIN | ACK, &[], nanos);
        self.segment(talk, false, FIN | ACK, &[], nanos);
        self.segment(talk, true, ACK, &[], nanos);
    }

    fn talk(&mut self, number: u32, port: u16) -> Talk {
        let [_, a, b, c] = number.to_be_bytes();
        let mut host = |addr, port| Host {
            addr,
            port,
            seq: self.random.draw() as u32,
            ip_id: self.random.draw() as u16,
            stamp: self.random.draw() as u32,
            echo: 0,
        };
        let client = host([10, a, b, c], 32_768 + (number % 28_000) as u16);
        let server = host([203, 0, 113, (number % 250) as u8], port);
        Talk { client, server, began: self.clock, stamps: [0; 2] }
    }
}

/// A conversation.
struct Talk {
    client: Host,
    server: Host,
    began: i64,
    /// Milliseconds since `began` that the stamps of client and server stand for.
    stamps: [u32; 2],
}

impl Talk {
    const fn stamped(&self, server: bool) -> u32 {
        let [a, b] = self.stamps;
        if server { b } else { a }
    }

    const fn note_stamp(&mut self, server: bool, millis: u32) {
        let [a, b] = &mut self.stamps;
        *(if server { b } else { a }) = millis;
    }
}

/// Downloads side by side: full segments in bursts of ten, an acknowledgement for every two; about `bytes` of payload in all.
pub fn bulk(connections: u32, bytes: usize) -> Traffic {
    const PACE: u64 = 12_000;
    let mut traffic = Traffic::new(1);
    let body = content(1, 4 << 20);
    let mut talks: Vec<Talk> = (0..connections.max(1)).map(|n| traffic.talk(n, 80)).collect();
    for talk in &mut talks {
        traffic.open(talk, PACE);
        traffic.segment(talk, false, PSH | ACK, b"GET /download.bin HTTP/1.1\r\nHost: example.org\r\n\r\n", PACE);
    }
    let mut pieces = body.chunks(FULL).cycle();
    let mut sent = 0;
    while sent < bytes {
        for talk in &mut talks {
            for burst in 0..10 {
                let piece = pieces.next().unwrap_or_default();
                traffic.segment(talk, true, ACK, piece, PACE);
                if burst % 2 == 1 {
                    traffic.segment(talk, false, ACK, &[], PACE);
                }
                sent += piece.len();
            }
        }
    }
    for talk in &mut talks {
        traffic.close(talk, PACE);
    }
    traffic
}

/// Short requests one after the other, 64 at a time: ten frames and about 2 KB each.
pub fn short(connections: u32) -> Traffic {
    const PACE: u64 = 8_000;
    let mut traffic = Traffic::new(2);
    let body = content(2, 1 << 20);
    let mut number = 0;
    while number < connections {
        let many = 64.min(connections - number);
        let mut talks: Vec<Talk> = (number..number + many).map(|n| traffic.talk(n, 80)).collect();
        number += many;
        for talk in &mut talks {
            traffic.open(talk, PACE);
        }
        for talk in &mut talks {
            let request =
                format!("GET /item/{}.html HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n", talk.server.seq);
            traffic.segment(talk, false, PSH | ACK, request.as_bytes(), PACE);
        }
        for talk in &mut talks {
            let from = traffic.random.below((body.len() - 4 * FULL) as u64) as usize;
            let len = 500 + traffic.random.below(2000) as usize;
            for piece in body.get(from..from + len).unwrap_or_default().chunks(FULL) {
                traffic.segment(talk, true, PSH | ACK, piece, PACE);
            }
            traffic.segment(talk, false, ACK, &[], PACE);
        }
        for talk in &mut talks {
            traffic.close(talk, PACE);
        }
    }
    traffic
}

/// About `frames` small frames as an office has them: queries of names with their answers, short requests, and
/// long-lived connections that say little.
pub fn mixed(frames: usize) -> Traffic {
    const PACE: u64 = 40_000;
    let mut traffic = Traffic::new(3);
    let body = content(3, 1 << 20);
    let mut lasting: Vec<Talk> = (0..500).map(|n| traffic.talk(n, 443)).collect();
    for talk in &mut lasting {
        traffic.open(talk, PACE);
    }
    let mut number = 1000;
    while traffic.frames.len() < frames {
        number += 1;
        let from = traffic.random.below((body.len() - 4 * FULL) as u64) as usize;
        let some = |len: usize| body.get(from..from + len).unwrap_or_default();
        match traffic.random.below(10) {
            0..3 => {
                let mut talk = traffic.talk(number, 53);
                let name = some(20 + number as usize % 30);
                udp(&mut traffic.bytes, &mut talk.client, &talk.server, name);
                traffic.sent(PACE);
                udp(&mut traffic.bytes, &mut talk.server, &talk.client, some(name.len() + 40));
                traffic.sent(PACE);
            }
            3..4 => {
                let mut talk = traffic.talk(number, 80);
                traffic.open(&mut talk, PACE);
                traffic.segment(&mut talk, false, PSH | ACK, some(300), PACE);
                traffic.segment(&mut talk, true, PSH | ACK, some(FULL), PACE);
                traffic.segment(&mut talk, false, ACK, &[], PACE);
                traffic.close(&mut talk, PACE);
            }
            _ => {
                let which = traffic.random.below(lasting.len() as u64) as usize;
                if let Some(talk) = lasting.get_mut(which) {
                    let len = 40 + traffic.random.below(200) as usize;
                    let from_server = traffic.random.below(2) == 0;
                    traffic.segment(talk, from_server, PSH | ACK, some(len), PACE);
                    traffic.segment(talk, !from_server, ACK, &[], PACE);
                }
            }
        }
    }
    traffic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_the_same_each_time_and_time_goes_on() {
        for make in [|| bulk(3, 200_000), || short(100), || mixed(5000)] {
            let (one, two) = (make(), make());
            assert!(one.frames().map(|f| (f.time, f.data)).eq(two.frames().map(|f| (f.time, f.data))));
            assert!(one.frames().zip(one.frames().skip(1)).all(|(a, b)| a.time < b.time));
            assert_eq!(one.frames().map(|f| f.data.len()).sum::<usize>(), one.len());
            assert!(!one.is_empty());
        }
    }
}
