//! A site of 90 days, made by a rule: each connection from its bucket and its number alone, so that any of them can be made again
//! without the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use streamdb_benches::Random;
use streamdb_storage::StreamInfo;
use streamdb_storage::index::{Coverage, Group};
use streamdb_types::{
    BlockPlace, BucketId, ConnKey, Direction, Endpoint, Hop, HopKind, Marks, ObjectRow, Oid, Path, Protocol, Reason,
    StreamOffset, Timestamp, Tuple,
};

use crate::objects::objects;

/// Buckets of 90 days.
pub const BUCKETS: u64 = 25_920;
/// A bucket's window, in nanoseconds.
const WINDOW: i64 = 300_000_000_000;
/// 2026-01-01, a Thursday.
const BEGIN: i64 = 1_767_225_600_000_000_000;
/// Connections have so many rows on the average: two directions, some over several buckets.
const ROWS_OF_A_CONNECTION: f64 = 2.02;
/// Most buckets that a connection goes on for after its first one.
const FARTHEST: u64 = 3;

/// A number from 0 on and below 1.
pub fn share(random: &mut Random) -> f64 {
    (random.draw() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `n` by Zipf's law: the first one about `1 / ln n` of the time, the second one half as often.
pub fn skewed(random: &mut Random, n: u64) -> u64 {
    (((n as f64 + 1.0).ln() * share(random)).exp() as u64).saturating_sub(1).min(n.saturating_sub(1))
}

/// A number made of several, as if by chance.
pub fn mixed(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x5eed, |state, n| Random(state ^ n.wrapping_mul(0xd6e8_feb8_6659_fd93)).draw())
}

/// A site: so many rows of streams, about.
pub struct Site {
    pub streams: u64,
    pub seed: u64,
    /// Connections before each bucket, and all.
    before: Vec<u64>,
    /// So many of the buckets are there.
    pub buckets: u64,
}

/// What is given to the index of a bucket.
pub struct OfBucket {
    pub coverage: Coverage,
    pub streams: Vec<StreamInfo>,
    pub groups: Vec<Group>,
}

/// A connection, with all that is the same in each of its parts.
#[derive(Clone)]
pub struct Connection {
    pub key: ConnKey,
    pub tuple: Tuple,
    path: Path,
    first: [Timestamp; 2],
    last: Timestamp,
    answered: bool,
    length: [u64; 2],
    packets: [u64; 2],
    gap_bytes: u64,
    reason: Reason,
    marks: Marks,
    /// How many buckets it goes on for.
    spans: u64,
    /// The rank of its server among all.
    pub rank: u64,
    /// Where what else it has begins to be drawn.
    pub drawn: u64,
}

/// The id of a bucket; they are counted from 0.
pub const fn id(bucket: u64) -> BucketId {
    BucketId(bucket + 1)
}

/// When a bucket's window begins.
pub const fn begins(bucket: u64) -> Timestamp {
    Timestamp(BEGIN + bucket as i64 * WINDOW)
}

/// What goes on at the time of a bucket: much by day, little at night and at weekends.
fn rhythm(bucket: u64) -> f64 {
    let hour = (bucket % 288) as f64 / 12.0;
    let day = bucket / 288;
    let weekend = if matches!((day + 3) % 7, 5 | 6) { 0.4 } else { 1.0 };
    (1.0 + 0.8 * ((hour - 8.0) / 24.0 * std::f64::consts::TAU).sin()) * weekend
}

impl Site {
    pub fn new(streams: u64, seed: u64) -> Self {
        let all = streams as f64 / ROWS_OF_A_CONNECTION;
        let weights: Vec<f64> = (0..BUCKETS).map(rhythm).collect();
        let sum: f64 = weights.iter().sum();
        let (mut before, mut so_far) = (vec![0], 0.0);
        for weight in weights {
            so_far += weight;
            before.push((all * so_far / sum) as u64);
        }
        Self { streams, seed, before, buckets: BUCKETS }
    }

    pub fn connections(&self, bucket: u64) -> u64 {
        self.before[bucket as usize + 1] - self.before[bucket as usize]
    }

    /// About so many rows of streams are there.
    pub fn rows(&self) -> u64 {
        (self.before[self.buckets as usize] as f64 * ROWS_OF_A_CONNECTION) as u64
    }

    /// One of all connections that are there and over, each as likely as any other.
    pub fn any(&self, random: &mut Random) -> Connection {
        let n = random.below(self.before[(self.buckets - if self.buckets < BUCKETS { FARTHEST } else { 0 }) as usize]);
        let bucket = self.before.partition_point(|before| *before <= n) as u64 - 1;
        self.connection(bucket, n - self.before[bucket as usize])
    }

    /// How many distinct servers there may be.
    pub fn servers(&self) -> u64 {
        (self.streams / 50).max(10_000)
    }

    /// The hosts of the site.
    pub const CLIENTS: u64 = 4000;

    pub fn client(rank: u64, v6: bool) -> IpAddr {
        let n = mixed(&[1, rank]);
        // 24 hosts of each /24.
        let net = mixed(&[2, rank / 24]);
        if v6 {
            return Ipv6Addr::new(0xfd12, 0x3456, 0x789a, (net & 0xff) as u16, 0, 0, 0, rank as u16 + 16).into();
        }
        Ipv4Addr::new(10, (net & 31) as u8, (net >> 8) as u8, 10 + (n % 11) as u8 * 22 + (rank % 24 % 22) as u8).into()
    }

    pub fn server(&self, rank: u64) -> IpAddr {
        // 16 servers of a /24, 4 of those of a /16.
        let (n, net, wide) = (mixed(&[3, rank]), mixed(&[4, rank / 16]), mixed(&[5, rank / 64]));
        if rank % 12 == 5 {
            let [a, b] = [(wide & 0xfff) as u16, (net & 0xffff) as u16];
            return Ipv6Addr::new(0x2a00 | (wide >> 12 & 0x3f) as u16, a, b, 0, 0, 0, (n >> 16) as u16, n as u16)
                .into();
        }
        let first = match 11 + (wide % 212) as u8 {
            127 | 172 | 192 => 185,
            first => first,
        };
        Ipv4Addr::new(first, (wide >> 8) as u8, (net & 0xff) as u8, (n % 254) as u8 + 1).into()
    }

    /// Connection `n` of those that began in a bucket.
    pub fn connection(&self, bucket: u64, n: u64) -> Connection {
        let count = self.connections(bucket).max(1);
        let drawn = mixed(&[self.seed, bucket, n]);
        let mut random = Random(drawn);
        let random = &mut random;
        let rank = skewed(random, self.servers());
        let kind = random.below(1000);
        // The resolvers and file servers of the site itself.
        let inside = match kind {
            0..220 => Some(53),
            220..250 => Some(445),
            250..260 => Some(389),
            _ => None,
        };
        let port = inside.unwrap_or_else(|| match random.below(1000) {
            0..700 => 443,
            700..840 => 80,
            840..880 => 53,
            880..900 => 22,
            900..915 => 25,
            915..930 => 8080,
            930..940 => 123,
            940..950 => 3389,
            950..960 => 993,
            _ => 1024 + skewed(random, 60_000) as u16,
        });
        let protocol =
            if matches!(port, 53 | 123) || port == 443 && random.below(4) == 0 { Protocol::UDP } else { Protocol::TCP };
        let server = match inside {
            Some(port) => Ipv4Addr::new(10, 0, (port & 3) as u8, 50 + (skewed(random, 8)) as u8).into(),
            None => self.server(rank),
        };
        let host = (Self::CLIENTS as f64 * share(random).powf(2.5)) as u64;
        let client = Self::client(host, server.is_ipv6());
        let client_port =
            if random.below(2) == 0 { 32_768 + random.below(28_232) } else { 49_152 + random.below(16_384) };
        let mut path = Path::EMPTY;
        if host % 10 < 3 {
            let _ = path.push(Hop { kind: HopKind::Vlan, id: 100 + (host % 40) as u32 });
        }
        let step = (WINDOW as u64 / count).max(1);
        let start = begins(bucket).plus(((n * step) + random.below(step)) as i64);
        let left = begins(bucket + 1).since(start).max(1);
        let spans = self.spans(bucket, n);
        let answered = spans > 0 || random.below(100) >= 3;
        let lasts = ((1e6_f64.ln() + share(random) * 11.0).exp() as i64).min(left - 1);
        let last = if spans == 0 {
            start.plus(lasts)
        } else {
            begins(bucket + spans).plus(random.below(WINDOW as u64) as i64)
        };
        let round = 200_000 + random.below(80_000_000) as i64;
        let first = [start, start.plus(round.min(last.since(start)))];
        let log = |random: &mut Random, least: f64, most: f64| {
            (least.ln() + share(random) * (most / least).ln()).exp() as u64
        };
        let length = match (answered, port) {
            (false, _) if protocol == Protocol::TCP => [0, 0],
            (_, 53 | 123) => [30 + random.below(60), 60 + random.below(400)],
            _ => [log(random, 200.0, 20_000.0), log(random, 300.0, 1e6) << if random.below(50) == 0 { 6 } else { 0 }],
        };
        let packets = length.map(|bytes| 1 + if protocol == Protocol::TCP { 3 } else { 0 } + bytes / 1400);
        let reason = match (protocol, answered, random.below(1000)) {
            (Protocol::UDP, ..) => Reason::TimeCutoff,
            (_, false, _) => Reason::SynTimeout,
            (_, _, 0..2) => Reason::SizeCutoff,
            (_, _, 2..150) => Reason::Rst,
            (_, _, 150..250) => Reason::TimeCutoff,
            _ => Reason::Fin,
        };
        let mut marks = if protocol == Protocol::TCP { Marks::SYN } else { Marks(0) };
        if reason == Reason::Fin {
            marks.insert(Marks::FIN);
        }
        if random.below(50) == 0 {
            marks.insert(Marks::RETRANSMITTED);
        }
        Connection {
            key: ConnKey { bucket: id(bucket), number: n as u32 },
            tuple: Tuple {
                protocol,
                client: Endpoint::new(client, client_port as u16),
                server: Endpoint::new(server, port),
            },
            path,
            first,
            last,
            answered,
            length,
            packets,
            gap_bytes: if random.below(500) == 0 { 1 + random.below(3000) } else { 0 },
            reason,
            marks,
            spans,
            rank,
            drawn: random.draw(),
        }
    }

    /// All that ended in a bucket, or went on after it.
    pub fn bucket(&self, bucket: u64) -> OfBucket {
        // What began earlier and has a part in this one, and what began in it: each with its part's number.
        let mut parts: Vec<(Timestamp, u64, Connection)> = Vec::new();
        for part in 0..=FARTHEST.min(bucket) {
            let from = bucket - part;
            for n in 0..self.connections(from) {
                if self.spans(from, n) >= part {
                    let connection = self.connection(from, n);
                    parts.push((connection.last.min(begins(bucket + 1)), part, connection));
                }
            }
        }
        parts.sort_by_key(|(end, _, connection)| (*end, connection.key));
        let (mut streams, mut groups) = (Vec::with_capacity(parts.len() * 2), Vec::new());
        let mut places = Places { position: 4096, place: 0 };
        for (_, part, connection) in parts {
            let directions = if connection.answered { &Direction::BOTH[..] } else { &Direction::BOTH[..1] };
            let length =
                |direction: Direction| connection.length[direction as usize] * (part + 1) / (connection.spans + 1);
            let oids: Vec<Oid> = directions
                .iter()
                .map(|direction| {
                    let length = length(*direction);
                    Oid { bucket: id(bucket), place: places.next(length / (part + 1)), length, index: 0 }
                })
                .collect();
            let goes_on = part < connection.spans;
            for (at, direction) in directions.iter().enumerate() {
                streams.push(connection.stream(*direction, oids[at], oids.get(1 - at).copied(), part, goes_on));
            }
            if !goes_on {
                let rows: Vec<ObjectRow> = objects(self, &connection, &oids);
                if !rows.is_empty() {
                    let place = oids.last().map_or(BlockPlace::NONE, |oid| oid.place);
                    groups.push(Group { bucket: id(bucket), place, rows });
                }
            }
        }
        let coverage = Coverage { bucket: id(bucket), from: BlockPlace::NONE, to: Coverage::SETTLED };
        OfBucket { coverage, streams, groups }
    }

    /// How many buckets a connection goes on for after its first one.
    fn spans(&self, bucket: u64, n: u64) -> u64 {
        match mixed(&[self.seed, bucket, n, 7]) % 400 {
            0 => FARTHEST,
            1..8 => 1,
            _ => 0,
        }
    }
}

impl Connection {
    fn stream(&self, direction: Direction, oid: Oid, peer: Option<Oid>, part: u64, goes_on: bool) -> StreamInfo {
        let end = begins(oid.bucket.0).plus(-1);
        StreamInfo {
            oid,
            peer,
            key: self.key,
            direction,
            tuple: self.tuple,
            path: self.path,
            first: self.first[direction as usize],
            last: if goes_on { end } else { self.last },
            length: StreamOffset(oid.length),
            gap_bytes: if direction == Direction::ToClient { self.gap_bytes } else { 0 },
            packets: self.packets[direction as usize] * (part + 1) / (self.spans + 1) + 1,
            marks: self.marks,
            reason: (!goes_on).then_some(self.reason),
            part: part as u32,
            goes_on,
        }
    }

    /// When its streams began.
    pub const fn first(&self) -> [Timestamp; 2] {
        self.first
    }

    /// The bytes of its streams.
    pub const fn length(&self) -> [u64; 2] {
        self.length
    }

    /// Why it ended.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether both directions have frames.
    pub const fn answered(&self) -> bool {
        self.answered
    }
}

/// Where the records of a bucket lie: in blocks of about 64 KiB that shrink to a half, long streams in blocks of their own.
struct Places {
    position: u64,
    place: u64,
}

impl Places {
    fn next(&mut self, bytes: u64) -> BlockPlace {
        let inside = if bytes > 16_384 {
            self.position += (bytes * 2 / 3).next_multiple_of(64);
            120
        } else {
            120 + bytes
        };
        if self.place + inside > 65_536 {
            self.position += (self.place / 2).next_multiple_of(64).max(64);
            self.place = 0;
        }
        let place = BlockPlace::new(self.position, self.place as u32);
        self.place += inside.next_multiple_of(8);
        place
    }
}
