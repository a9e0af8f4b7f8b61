//! The questions: drawn from what a site has, as often as it has it, and some for what it has not.

use std::net::IpAddr;

use streamdb_benches::Random;
use streamdb_query::community_id;
use streamdb_types::{BlockPlace, BucketId, ObjectKind, ObjectRow, Oid, Reason, Timestamp};

use crate::objects::{filename, host, objects, sentence, uri};
use crate::site::{Connection, Site, mixed};

/// A kind of question.
pub struct Kind {
    pub name: &'static str,
    /// Objects are asked for, not streams.
    pub objects: bool,
    /// Whether anything has to be found; `None` where it may be or not.
    pub there: Option<bool>,
    pub words: fn(&Site, &mut Random) -> Vec<String>,
}

const fn streams(name: &'static str, words: fn(&Site, &mut Random) -> Vec<String>) -> Kind {
    Kind { name, objects: false, there: Some(true), words }
}

const fn of_objects(name: &'static str, words: fn(&Site, &mut Random) -> Vec<String>) -> Kind {
    Kind { name, objects: true, there: Some(true), words }
}

const fn perhaps(kind: Kind) -> Kind {
    Kind { there: None, ..kind }
}

const fn absent(kind: Kind) -> Kind {
    Kind { there: Some(false), ..kind }
}

pub const KINDS: &[Kind] = &[
    streams("everything", |_, _| Vec::new()),
    streams("address of either side, as drawn", |s, r| {
        let c = s.any(r);
        if r.below(2) == 0 {
            vec![format!("srcip={}", c.tuple.client.addr)]
        } else {
            vec![format!("dstip={}", c.tuple.server.addr)]
        }
    }),
    streams("address, one of the most frequent", |s, r| match r.below(3) {
        0 => vec![format!("srcip={}", Site::client(r.below(10), false))],
        1 => vec![format!("dstip={}", s.server(r.below(5)))],
        _ => vec![format!("dstip=10.0.1.{}", 50 + r.below(4))],
    }),
    streams("address, rare", |s, r| vec![format!("dstip={}", rare(s, r))]),
    absent(streams("address, absent", |_, r| vec![format!("dstip={}", nobody(r))])),
    streams("ip=, as drawn", |s, r| {
        let c = s.any(r);
        vec![format!("ip={}", if r.below(2) == 0 { c.tuple.client.addr } else { c.tuple.server.addr })]
    }),
    streams("ip=, rare", |s, r| vec![format!("ip={}", rare(s, r))]),
    absent(streams("ip=, absent", |_, r| vec![format!("ip={}", nobody(r))])),
    streams("/24 of a server", |s, r| {
        vec![format!("dstip={}/{}", outside(s, r), if r.below(9) == 0 { "26" } else { "24" })]
    }),
    streams("/16 of a server", |s, r| vec![format!("dstip={}/16", outside(s, r))]),
    streams("ip= /16, either side", |s, r| {
        vec![format!("ip={}/16", if r.below(2) == 0 { s.any(r).tuple.client.addr } else { outside(s, r) })]
    }),
    streams("list of 10 addresses", |s, r| {
        let all: Vec<String> = (0..10).map(|_| s.any(r).tuple.server.addr.to_string()).collect();
        vec![format!("dstip={}", all.join(","))]
    }),
    streams("address and not port 443", |s, r| {
        loop {
            let c = s.any(r);
            if c.tuple.server.port != 443 {
                return vec![format!("srcip={}", c.tuple.client.addr), "dstport!443".to_owned()];
            }
        }
    }),
    streams("address and not the internal networks", |s, r| {
        vec![format!("srcip={}", s.any(r).tuple.client.addr), "dstip=!10.0.0.0/8,fd00::/8".to_owned()]
    }),
    streams("address and port", |s, r| {
        let c = s.any(r);
        vec![format!("srcip={}", c.tuple.client.addr), format!("dstport={}", c.tuple.server.port)]
    }),
    streams("both addresses", |s, r| {
        let c = s.any(r);
        vec![format!("srcip={}", c.tuple.client.addr), format!("dstip={}", c.tuple.server.addr)]
    }),
    perhaps(streams("both addresses, each frequent", |s, r| {
        vec![format!("srcip={}", Site::client(r.below(50), false)), format!("dstip={}", s.server(r.below(4)))]
    })),
    perhaps(streams("both addresses, each frequent, seldom together", |s, r| {
        vec![
            format!("srcip={}", Site::client(3000 + r.below(1000), false)),
            format!("dstip={}", s.server(4 + r.below(50))),
        ]
    })),
    streams("server port alone", |s, r| vec![format!("dstport={}", s.any(r).tuple.server.port)]),
    streams("both ports", |s, r| {
        let c = s.any(r);
        vec![format!("srcport={}", c.tuple.client.port), format!("dstport={}", c.tuple.server.port)]
    }),
    streams("a day and an address", |s, r| {
        let c = s.any(r);
        let [day, end] = around(c.first()[0], 43_200);
        vec![day, end, format!("srcip={}", c.tuple.client.addr)]
    }),
    streams("an hour and an address", |s, r| {
        let c = s.any(r);
        let [hour, end] = around(c.first()[0], 1800);
        vec![hour, end, format!("ip={}", c.tuple.server.addr)]
    }),
    streams("an hour", |s, r| around(s.any(r).first()[0], 1800).to_vec()),
    streams("community id", |s, r| vec![format!("community_id={}", community_id(&s.any(r).tuple))]),
    absent(streams("community id, absent", |s, r| {
        let mut tuple = s.any(r).tuple;
        tuple.server.addr = nobody(r);
        vec![format!("community_id={}", community_id(&tuple))]
    })),
    streams("reason=l", |_, _| vec!["reason=l".to_owned()]),
    streams("reason=l and an address", |s, r| {
        loop {
            let c = s.any(r);
            if c.reason() == Reason::SizeCutoff {
                return vec!["reason=l".to_owned(), format!("ip={}", c.tuple.client.addr)];
            }
        }
    }),
    streams("protocol=udp", |_, _| vec!["protocol=udp".to_owned()]),
    streams("host, streams with it", |s, r| vec![format!("host={}", object(s, r, |row| row.host.clone()))]),
    of_objects("host, as drawn", |s, r| vec![format!("host={}", object(s, r, |row| row.host.clone()))]),
    absent(of_objects("host, absent", |s, r| vec![format!("host=x{}", host(r.below(s.servers() / 4)))])),
    of_objects("host, prefix", |s, r| {
        let host = object(s, r, |row| row.host.clone());
        vec![format!("host={}*", &host[..host.len().min(9)])]
    }),
    of_objects("host, ending", |s, r| {
        let host = object(s, r, |row| row.host.clone());
        vec![format!("host=*{}", host.split_once('.').unwrap().1)]
    }),
    of_objects("uri, all of it", |s, r| vec![format!("uri={}", object(s, r, |row| row.uri.clone()))]),
    of_objects("uri, part of it", |s, r| {
        let uri = object(s, r, |row| row.uri.clone());
        let at = uri.rfind('/').unwrap() + 1;
        vec![format!("uri=*{}*", &uri[at..at + 8])]
    }),
    absent(of_objects("uri, part, absent", |_, r| vec![format!("uri=*{}*", &uri(r.draw())[..].replace('/', "-"))])),
    of_objects("file name", |s, r| vec![format!("name={}", object(s, r, |row| row.filename.clone()))]),
    of_objects("file name, ending", |_, r| {
        vec![format!("name=*.{}", ["pdf", "zip", "docx", "exe"][r.below(4) as usize])]
    }),
    absent(of_objects("file name, absent", |_, r| vec![format!("name=x{}", filename(r.draw()))])),
    of_objects("md5", |s, r| vec![format!("md5={}", digest(s, r, 0))]),
    of_objects("sha1", |s, r| vec![format!("sha1={}", digest(s, r, 1))]),
    of_objects("sha256", |s, r| vec![format!("sha256={}", digest(s, r, 2))]),
    absent(of_objects("sha256, absent", |_, r| vec![format!("sha256={}", hex(&mixed_bytes(r.draw())))])),
    of_objects("mime and size", |s, r| {
        let row = object(s, r, |row| (row.size > 0).then(|| row.clone()));
        vec![format!("mime={}", row.mime), format!("size={}-{}", row.size, row.size + row.size / 50)]
    }),
    of_objects("mime alone", |s, r| vec![format!("mime={}", object(s, r, |row| Some(row.mime.clone())))]),
    perhaps(of_objects("sentence, an expression", |_, r| {
        let (_, text) = sentence(r.below(300));
        vec![format!(
            "filetype={}",
            text.split_once(',').map_or(text.as_str(), |(head, _)| head).replace(['(', ')'], ".")
        )]
    })),
    of_objects("sentence and address", |s, r| {
        // That of a request is its target.
        let row = object(s, r, |row| (row.size > 0 && row.kind != ObjectKind::Request).then(|| row.clone()));
        let word = row.description.split(' ').next().unwrap().to_owned();
        vec![format!("srcip={}", row.tuple.client.addr), format!("filetype=^.*{word}")]
    }),
    of_objects("method=POST and status=500", |_, _| vec!["method=POST".to_owned(), "status=500".to_owned()]),
    of_objects("incomplete=1", |_, _| vec!["incomplete=1".to_owned()]),
    of_objects("objects of an address", |s, r| {
        vec![format!("srcip={}", object(s, r, |row| Some(row.tuple.client.addr)))]
    }),
    of_objects("objects of an hour", |s, r| around(object(s, r, |row| Some(row.start)), 1800).to_vec()),
    of_objects("objects, all", |_, _| vec!["size=0-".to_owned()]),
];

/// The server of a connection that few others have.
fn rare(site: &Site, random: &mut Random) -> IpAddr {
    loop {
        let connection = site.any(random);
        if connection.rank > site.servers() / 2 && !is_inside(connection.tuple.server.addr) {
            return connection.tuple.server.addr;
        }
    }
}

fn is_inside(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.octets()[0] == 10)
}

fn outside(site: &Site, random: &mut Random) -> IpAddr {
    loop {
        let addr = site.any(random).tuple.server.addr;
        if addr.is_ipv4() && !is_inside(addr) {
            return addr;
        }
    }
}

/// An address that nobody has.
fn nobody(random: &mut Random) -> IpAddr {
    let [a, b, c, ..] = random.draw().to_le_bytes();
    // Among those that are there, so that it has to be looked for.
    IpAddr::from([if a & 1 == 0 { 127 } else { 172 }, a, b, c])
}

/// Where an object lies is asked by nobody.
const NO_OID: Oid = Oid { bucket: BucketId(0), place: BlockPlace::NONE, length: 0, index: 0 };

/// The objects of a connection that has some; something of one of them.
fn object<T>(site: &Site, random: &mut Random, of: impl Fn(&ObjectRow) -> Option<T>) -> T {
    loop {
        let connection: Connection = site.any(random);
        let rows = objects(site, &connection, &[NO_OID; 2][..if connection.answered() { 2 } else { 1 }]);
        let found: Vec<T> = rows.iter().filter_map(&of).collect();
        let count = found.len() as u64;
        if let Some(found) = found.into_iter().nth(random.below(count) as usize) {
            return found;
        }
    }
}

fn digest(site: &Site, random: &mut Random, which: usize) -> String {
    let digests = object(site, random, |row| row.digests);
    [hex(&digests.md5), hex(&digests.sha1), hex(&digests.sha256)][which].clone()
}

fn mixed_bytes(n: u64) -> Vec<u8> {
    (0..4).flat_map(|at| mixed(&[n, at]).to_le_bytes()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From so many seconds before a moment to as many after it.
fn around(time: Timestamp, seconds: i64) -> [String; 2] {
    let text = |seconds: i64| {
        let (year, month, day, hour, minute, second) = Timestamp::new(seconds, 0).civil();
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    };
    [format!("start={}", text(time.seconds() - seconds)), format!("end={}", text(time.seconds() + seconds))]
}
