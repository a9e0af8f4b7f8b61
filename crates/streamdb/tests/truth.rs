//! What other projects' own tests state of captures (`TRUTH.tsv` beside them), against what is found in them: every statement holds,
//! or stands in `truth-misses.tsv` with the reason why it does not, and that list says no more than is so. The captures are
//! in the folder that `STREAMDB_CORPUS` names; `STREAMDB_SOAK` takes all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Data, corpus, soak};
use serde_json::Value;

const MISSES: &str = include_str!("truth-misses.tsv");
const EICAR: &[u8] = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

/// A row of `TRUTH.tsv`: its fields by their names.
struct Row<'t>(BTreeMap<&'t str, &'t str>);

/// What a row states that can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A content of this digest.
    Object,
    /// A body with the test string in it.
    Eicar,
    /// A connection or flow.
    Session,
    /// A request and its answer.
    Http,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Eicar => "eicar",
            Self::Session => "session",
            Self::Http => "http",
        }
    }
}

impl<'t> Row<'t> {
    fn get(&self, name: &str) -> &'t str {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn digests(&self) -> impl Iterator<Item = &'t str> {
        ["sha256", "sha1", "md5"].into_iter().map(|name| self.get(name)).filter(|digest| !digest.is_empty())
    }

    fn kind(&self) -> Option<Kind> {
        let has = |name: &str| !self.get(name).is_empty();
        match self.get("kind") {
            "object" if self.digests().next().is_some() => Some(Kind::Object),
            "object" if self.get("mime_magic").contains("EICAR") => Some(Kind::Eicar),
            "session" => {
                let portless = matches!(self.get("protocol").split('.').next(), Some("icmp" | "icmpv6" | "0" | "50"));
                (!portless && has("client_port") && has("server_port") && !has("md5")).then_some(Kind::Session)
            }
            "http" if has("method") || has("host") || has("status") => Some(Kind::Http),
            _ => None,
        }
    }

    /// In words, as `truth-misses.tsv` has it.
    fn statement(&self, kind: Kind) -> String {
        let of = |names: &[&str]| {
            let or = |name: &&str| Some(self.get(name)).filter(|value| !value.is_empty()).unwrap_or("-");
            names.iter().map(or).collect::<Vec<_>>().join(" ")
        };
        match kind {
            Kind::Object => self.digests().next().unwrap().to_owned(),
            Kind::Eicar => "the string".to_owned(),
            Kind::Session => of(&["client_ip", "client_port", "server_ip", "server_port", "protocol"]),
            Kind::Http => {
                of(&["client_ip", "client_port", "server_ip", "server_port", "method", "host", "uri", "status"])
            }
        }
    }

    fn ends(&self) -> BTreeSet<End> {
        [("client_ip", "client_port"), ("server_ip", "server_port")]
            .map(|(ip, port)| end(self.get(ip), self.get(port)))
            .into()
    }
}

/// An address and a port, however they are written.
type End = (Option<IpAddr>, String);

fn end(ip: &str, port: &str) -> End {
    (ip.parse().ok(), port.to_owned())
}

fn ends_of(row: &Value) -> BTreeSet<End> {
    let of = |ip: &str, port: &str| end(row[ip].as_str().unwrap_or_default(), &row[port].to_string());
    [of("src_ip", "src_port"), of("dst_ip", "dst_port")].into()
}

/// What is found in a capture.
struct Found {
    data: Data,
    objects: Vec<Value>,
    streams: Vec<Value>,
    joins: Vec<Value>,
}

impl Found {
    fn new(capture: &Path) -> Self {
        let data = Data::new(&format!("truth-{}", capture.file_name().unwrap().display()));
        // Some are damaged, and are stored up to there.
        data.ingest(&[], &[capture]);
        let [objects, streams, joins] = ["objects", "streams", "joins"].map(|what| data.json(what, &[]));
        Self { data, objects, streams, joins }
    }

    fn has(&self, row: &Row<'_>, kind: Kind) -> bool {
        match kind {
            Kind::Object => {
                let digests = ["md5", "sha1", "sha256", "md5_encoded", "sha256_encoded"];
                let mut all = self.objects.iter().chain(&self.joins);
                all.any(|object| digests.iter().any(|name| row.digests().any(|digest| object[name] == digest)))
            }
            Kind::Eicar => {
                let sent = self.objects.iter().filter(|object| object["direction"] == "c");
                let mut bodies = sent.map(|object| self.data.run("get", &[object["oid"].as_str().unwrap()]).out);
                bodies.any(|body| body.windows(EICAR.len()).any(|window| window == EICAR))
            }
            Kind::Session => self.streams.iter().any(|stream| ends_of(stream) == row.ends()),
            Kind::Http => self.has_http(row),
        }
    }

    /// Sets of values are stated with `|` between them, of all requests of a connection.
    fn has_http(&self, row: &Row<'_>) -> bool {
        let there: Vec<&Value> = self.objects.iter().filter(|object| ends_of(object) == row.ends()).collect();
        // Some statements name no addresses.
        let there = if there.is_empty() { self.objects.iter().collect() } else { there };
        let text = |object: &Value, name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let all = |name: &str, holds: &dyn Fn(&Value, &str) -> bool| {
            let mut stated = row.get(name).split('|').filter(|value| !value.is_empty());
            stated.all(|value| there.iter().any(|object| holds(object, value)))
        };
        let url = |object: &Value| text(object, "host") + &text(object, "uri");
        // Where a whole URL is the target, some part it elsewhere.
        let whole = plain(&[row.get("host"), row.get("uri")].concat());
        let is_whole = |object: &Value| {
            !row.get("uri").is_empty() && [url(object), text(object, "uri")].iter().any(|url| plain(url) == whole)
        };
        all("method", &|object, method| object["method"] == method)
            && all("status", &|object, status| object["status"].as_u64() == status.parse().ok())
            && all("host", &|object, host| {
                let ours = text(object, "host");
                // A server's name in TLS is stated as a host, too.
                let sni = text(object, "description").contains(&format!("SNI {host}"));
                ours == host || ours.rsplit_once(':').is_some_and(|(ours, _)| ours == host) || sni || is_whole(object)
            })
            && all("uri", &|object, uri| {
                let (ours, stated) = (text(object, "uri"), plain(uri));
                // Long ones are stated in part.
                let begins =
                    uri.len() > 60 && (ours.starts_with(uri) || plain(&ours).starts_with(without_dots(&stated)));
                plain(&ours) == stated || plain(&url(object)) == stated || begins || is_whole(object)
            })
    }
}

fn without_dots(text: &[u8]) -> &[u8] {
    let dots = text.iter().rev().take_while(|byte| **byte == b'.').count();
    &text[..text.len() - dots]
}

/// Without `%NN` and `\xNN`: each project writes what is unusual in its own way.
fn plain(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut out = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let digits = match rest {
            [b'%', digits @ ..] | [b'\\', b'x', digits @ ..] => digits.get(..2),
            _ => None,
        };
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[if *first == b'%' { 3 } else { 4 }..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Capture, kind and statement.
type Missed = BTreeSet<[String; 3]>;

#[test]
fn what_others_state_is_found_or_the_reason_is_known() {
    let Some(folder) = corpus() else { return };
    let truth = fs::read_to_string(folder.join("TRUTH.tsv")).unwrap();
    let mut lines = truth.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let mut stated: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for line in lines {
        let row = Row(names.iter().copied().zip(line.split('\t')).collect());
        if row.kind().is_some() {
            stated.entry(row.get("capture")).or_default().push(row);
        }
    }
    let listed: Missed = MISSES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [capture, kind, statement, _] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            [capture, kind, statement].map(str::to_owned)
        })
        .collect();
    // Those in which something is missed, and of the others a few.
    let is_listed = |capture: &str| listed.iter().any(|[at, ..]| at == capture);
    let chosen: Vec<(&str, &[Row<'_>])> = stated
        .iter()
        .enumerate()
        .filter(|(n, (capture, _))| soak() || is_listed(capture) || n % 8 == 0)
        .map(|(_, (capture, rows))| (*capture, &rows[..]))
        .collect();
    let (next, missed, looked_for) = (AtomicUsize::new(0), Mutex::new(Missed::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((capture, rows)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = Found::new(&folder.join(capture));
                    for row in *rows {
                        let kind = row.kind().unwrap();
                        looked_for.fetch_add(1, Ordering::Relaxed);
                        if !found.has(row, kind) {
                            let statement = [(*capture).to_owned(), kind.word().to_owned(), row.statement(kind)];
                            missed.lock().unwrap().insert(statement);
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    println!("{looked_for:?} statements about {} captures, {} not found", chosen.len(), missed.len());
    let unlisted: Vec<_> = missed.difference(&listed).collect();
    assert!(unlisted.is_empty(), "missed, and no reason is listed: {unlisted:#?}");
    let captures: BTreeSet<&str> = chosen.iter().map(|(capture, _)| *capture).collect();
    let gone: Vec<_> = listed.difference(&missed).filter(|[capture, ..]| captures.contains(&capture[..])).collect();
    assert!(gone.is_empty(), "listed as missed, and found: {gone:#?}");
}

/// Each reason that is given is explained in the head of the list, and each that is explained is given.
#[test]
fn reasons_are_explained() {
    let explained: BTreeSet<&str> =
        MISSES.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": ")).map(|(word, _)| word).collect();
    let given: BTreeSet<&str> =
        MISSES.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(explained, given);
}
