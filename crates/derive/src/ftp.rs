//! Which file a data connection of FTP carries: that is said in another connection between the same two hosts.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamdb_extract::{Address, Incomplete, Kind, Side, Transfer};
use streamdb_storage::{Store, StreamInfo};
use streamdb_types::{ConnKey, Direction, Endpoint, ObjectRow, Oid, Protocol, Timestamp, Tuple};

use crate::conversation::{Conversation, conversation_of};
use crate::error::Error;
use crate::fields::text;
use crate::name;

/// The word for it in rows.
const PROTOCOL: &str = "ftp";
/// Most connections between two hosts that are known, the newest ones first; and of those in which something went both ways, so
/// many are looked into.
const KNOWN: usize = 256;
const LOOKED_INTO: usize = 16;
/// So long before a data connection its control connection may have begun.
const BEFORE: i64 = 24 * 3600;
/// So long after it another data connection may begin of which is found out at once too.
const AFTER: i64 = 60;
/// For how long it is known which connections two hosts have, and of how many pairs.
const LASTS: Duration = Duration::from_secs(1);
const PAIRS: usize = 1024;
/// Of how many connections it is remembered what they say, and how much all together.
const SAID: usize = 4096;
const TRANSFERS: usize = 100_000;

/// What was looked at a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    /// The connections of pairs of hosts.
    known: HashMap<[IpAddr; 2], (Instant, Vec<StreamInfo>)>,
    /// Those of all pairs that no index has, and when they were gathered: that takes as long as they are many.
    unindexed: Option<(Instant, Gathered)>,
    /// What is said of data connections in connections, by the records that were read, and when.
    said: HashMap<Records, (Instant, Arc<Vec<Transfer>>)>,
}

/// A connection, and the newest records of both its streams.
type Records = (ConnKey, Oid, Option<Oid>);

/// Connections by their hosts; nothing when they are too many.
type Gathered = Option<HashMap<[IpAddr; 2], Vec<StreamInfo>>>;

/// What a control connection says.
pub(crate) struct Carried {
    transfer: Transfer,
    /// Why it may not be whole, though the data connection is.
    incomplete: Option<Incomplete>,
    server: Endpoint,
}

/// What was seen of the control connections that a connection may have.
#[derive(Default)]
struct Seen {
    /// What one of them says of it.
    carried: Option<Carried>,
    /// Whether any says something of data connections; and whether one of those goes on.
    said: bool,
    goes_on: bool,
}

impl Controls {
    /// What a connection carries, if another one says so: one in which bytes went one way alone, and of which nothing is known.
    ///
    /// # Errors
    /// When a block is damaged.
    pub(crate) fn carried(&mut self, store: &Store, conversation: &Conversation) -> Result<Option<Carried>, Error> {
        let Some((sender, info)) = one_way(conversation) else { return Ok(None) };
        Ok(self.look(store, sender, info)?.carried)
    }

    /// Whether more may be said of this connection soon, which has ended: its control connection goes on, and did not say how the transfer
    /// ended; or it may be in a bucket that another worker writes, and less of that is published.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed.
    pub(crate) fn may_say_more(&mut self, store: &Store, info: &StreamInfo) -> Result<bool, Error> {
        let sender = match (info.length.0, info.peer.map(|peer| peer.length)) {
            (1.., Some(0)) => info.direction,
            // Of the other direction an earlier bucket tells.
            (1.., None) if info.key.bucket < info.oid.bucket => info.direction,
            (0, Some(1..)) => info.direction.flip(),
            _ => return Ok(false),
        };
        if info.tuple.protocol != Protocol::TCP {
            return Ok(false);
        }
        let seen = self.look(store, sender, info)?;
        let ended = seen.carried.is_some_and(|carried| carried.transfer.status.is_some());
        Ok(!ended && (seen.goes_on || !seen.said && store.not_derived()?.len() > 1))
    }

    /// What is known from here on is as much as is published.
    pub(crate) fn look_anew(&mut self) {
        *self = Self::default();
    }

    fn look(&mut self, store: &Store, sender: Direction, info: &StreamInfo) -> Result<Seen, Error> {
        let hosts = [info.tuple.client.addr, info.tuple.server.addr];
        let all = self.between(store, hosts, info)?;
        let both_ways = |control: &&StreamInfo| {
            let answers = control.peer.map_or(control.key.bucket < control.oid.bucket, |peer| peer.length > 0);
            control.first <= info.first && control.length.0 > 0 && answers
        };
        let mut seen = Seen::default();
        for control in all.iter().filter(both_ways).take(LOOKED_INTO) {
            let said = self.said(store, control);
            seen.said |= !said.is_empty();
            seen.goes_on |= !said.is_empty() && goes_on(control);
            let told = |transfer: &&Transfer| is_told(transfer, &control.tuple, &info.tuple);
            let told: Vec<&Transfer> = said.iter().filter(told).collect();
            // A port may be used again: as many connections went there since as were told of until this one.
            let there = |data: &&StreamInfo| {
                let (Tuple { client, server, .. }, begun) = (&data.tuple, data.first);
                (client.addr, server) == (info.tuple.client.addr, &info.tuple.server)
                    && ![control.key, info.key].contains(&data.key)
                    && begun >= control.first
            };
            let (before, after): (Vec<_>, Vec<_>) = all.iter().filter(there).partition(|data| data.first < info.first);
            let before = if all.len() < KNOWN { before.len() } else { usize::MAX };
            if let Some(transfer) = told.get(before).filter(|transfer| is_sent_so(transfer, sender)) {
                let (transfer, server) = (Transfer::clone(transfer), ends(transfer, &control.tuple).1);
                let incomplete = transfer.incomplete(info.length.0);
                // One of them that was not captured makes it another one's.
                let all_known = before + 1 + after.len() >= told.len();
                let other = || told.iter().any(|other| other.incomplete(info.length.0).is_some());
                let incomplete = incomplete.or_else(|| (!all_known && other()).then_some(Incomplete::Unsure));
                seen.carried = Some(Carried { transfer, incomplete, server });
                return Ok(seen);
            }
        }
        Ok(seen)
    }

    /// What a connection says of data connections. One that cannot be read says nothing.
    fn said(&mut self, store: &Store, control: &StreamInfo) -> Arc<Vec<Transfer>> {
        let of = (control.key, control.oid, control.peer);
        // Of one that goes on, the server's stream alone may have gone on, in another bucket too.
        let lasts = |made: &Instant, said: &[Transfer]| said.is_empty() || !goes_on(control) || made.elapsed() < LASTS;
        if let Some((_, said)) = self.said.get(&of).filter(|(made, said)| lasts(made, said)) {
            return Arc::clone(said);
        }
        let said = conversation_of(store, control).map(|said| said.transfers().to_vec()).unwrap_or_default();
        let said = Arc::new(said);
        // Nearly all say nothing, and take next to no room.
        let transfers: usize = self.said.values().map(|(_, said)| said.len()).sum();
        if self.said.len() >= SAID || transfers.saturating_add(said.len()) > TRANSFERS {
            self.said.clear();
        }
        self.said.insert(of, (Instant::now(), Arc::clone(&said)));
        said
    }

    /// The connections between two hosts that began before one of them, and some that began later, the newest first.
    fn between(&mut self, store: &Store, hosts: [IpAddr; 2], info: &StreamInfo) -> Result<Vec<StreamInfo>, Error> {
        let now = Instant::now();
        let lasts = |made: &Instant| now.saturating_duration_since(*made) < LASTS;
        // Whatever began before it is published with it at the latest. An older record of it says that it was looked before that.
        let record = if info.direction == Direction::ToServer { Some(info.oid) } else { info.peer };
        let place = |oid: Oid| (oid.bucket, oid.place);
        let has_it = |known: &[StreamInfo]| {
            let is_it = |known: &&StreamInfo| known.key == info.key;
            known.iter().find(is_it).is_some_and(|known| record.is_none_or(|record| place(known.oid) >= place(record)))
        };
        if let Some((_, known)) = self.known.get(&hosts).filter(|(made, known)| lasts(made) && has_it(known)) {
            return Ok(known.clone());
        }
        let from = Timestamp(info.first.0.saturating_sub(BEFORE * 1_000_000_000));
        let until = Timestamp(info.first.0.saturating_add(AFTER * 1_000_000_000));
        let mut found = store.between(hosts, from, until, KNOWN)?;
        let pair = |[one, other]: [IpAddr; 2]| [one.min(other), one.max(other)];
        let gathered = self.unindexed.as_ref().filter(|(made, gathered)| {
            let has_it_too =
                |gathered: &HashMap<_, Vec<_>>| gathered.get(&pair(hosts)).is_some_and(|known| has_it(known));
            lasts(made) && (has_it(&found) || gathered.as_ref().is_none_or(has_it_too))
        });
        if gathered.is_none() {
            let gathered = store.unindexed_to_server()?.map(|streams| {
                let mut gathered: HashMap<[IpAddr; 2], Vec<StreamInfo>> = HashMap::new();
                for stream in streams {
                    let hosts = [stream.tuple.client.addr, stream.tuple.server.addr];
                    gathered.entry(pair(hosts)).or_default().push(stream);
                }
                gathered
            });
            self.unindexed = Some((Instant::now(), gathered));
        }
        let gathered = self.unindexed.iter().filter_map(|(_, gathered)| gathered.as_ref()?.get(&pair(hosts))).flatten();
        for stream in gathered.filter(|stream| (from..=until).contains(&stream.first)) {
            // What no index had a moment ago may be in one by now.
            match found.iter_mut().find(|known| known.key == stream.key) {
                Some(known) if known.last <= stream.last => *known = stream.clone(),
                Some(_) => {}
                None => found.push(stream.clone()),
            }
        }
        found.sort_by_key(|stream| Reverse((stream.first, stream.key)));
        found.truncate(KNOWN);
        if self.known.len() >= PAIRS {
            self.known.retain(|_, (made, _)| lasts(made));
        }
        if self.known.len() < PAIRS {
            self.known.insert(hosts, (now, found.clone()));
        }
        Ok(found)
    }
}

impl Carried {
    /// Says it in the row of the stream.
    pub(crate) fn say(self, row: ObjectRow) -> ObjectRow {
        let Self { transfer, incomplete, server } = self;
        let path = transfer.path.as_deref().map(text);
        let user = transfer.user.as_deref().map(|user| format!("{}@", escaped(&text(user)))).unwrap_or_default();
        let server = SocketAddr::new(server.addr, server.port);
        // RFC 1738 §3.2: a path below the folder of the login, or, with %2F in front of it, from the root on.
        let below = path.as_deref().map(|path| match path.strip_prefix('/') {
            Some(path) => format!("%2F{}", escaped(path)),
            None => escaped(path),
        });
        let listing = transfer.command.is_listing();
        let uri = below.map(|below| format!("ftp://{user}{server}/{below}{}", if listing { ";type=d" } else { "" }));
        // The rest of a file is not the file.
        let rest = (transfer.offset > 0).then_some(Incomplete::Partial);
        let reason = incomplete.or(rest).filter(|_| row.complete).map(|why| why.words().to_owned());
        ObjectRow {
            protocol: PROTOCOL.to_owned(),
            method: Some(transfer.command.word().to_owned()),
            host: Some(server.ip().to_string()),
            filename: path.as_deref().filter(|_| !listing).and_then(name::clean),
            uri,
            status: transfer.status,
            complete: row.complete && reason.is_none(),
            reason: reason.or(row.reason),
            ..row
        }
    }
}

/// The row that was made with what a control connection says in it as it was when the other one was kept: by now that may say
/// more, or be gone.
pub(crate) fn as_told(made: ObjectRow, kept: &ObjectRow) -> ObjectRow {
    if ![&made.protocol, &kept.protocol].into_iter().any(|protocol| protocol == PROTOCOL) {
        return made;
    }
    let ObjectRow { protocol, method, host, filename, uri, status, complete, reason, .. } = kept.clone();
    ObjectRow { protocol, method, host, filename, uri, status, complete, reason, ..made }
}

/// What may not stand in a URL as it is (RFC 3986 §2), in percents.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,=".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Which way bytes went, where they went one way alone in a connection of which nothing is known.
fn one_way(conversation: &Conversation) -> Option<(Direction, &StreamInfo)> {
    let [to_server, to_client] = Direction::BOTH.map(|direction| conversation.info(direction));
    // The other direction was captured too, and is empty: where one side alone was captured, nothing is known of it.
    let (to_server, to_client) = (to_server?, to_client?);
    let (direction, info) = match (to_server.length.0, to_client.length.0) {
        (1.., 0) => (Direction::ToServer, to_server),
        (0, 1..) => (Direction::ToClient, to_client),
        _ => return None,
    };
    let unknown = match conversation.messages().of(direction) {
        [message] => message.kind == Kind::Stream && !conversation.is_known(message),
        _ => false,
    };
    (unknown && info.tuple.protocol == Protocol::TCP).then_some((direction, info))
}

/// Client and server of FTP.
fn ends(transfer: &Transfer, control: &Tuple) -> (Endpoint, Endpoint) {
    match transfer.commands {
        Direction::ToServer => (control.client, control.server),
        Direction::ToClient => (control.server, control.client),
    }
}

/// Whether a data connection like this one was told.
fn is_told(transfer: &Transfer, control: &Tuple, data: &Tuple) -> bool {
    let (client, server) = ends(transfer, control);
    let (listener, other) = match transfer.listener {
        Side::Server => (server, client),
        Side::Client => (client, server),
    };
    let place = match transfer.address {
        Address::Told(told) => SocketAddr::new(told.ip(), told.port()),
        Address::OfServer(port) => SocketAddr::new(listener.addr, port),
    };
    // Behind address translation it is told as another one than it is on the wire.
    let there = data.server.port == place.port() && [place.ip(), listener.addr].contains(&data.server.addr);
    // None came about where the server could not open it.
    there && data.client.addr == other.addr && transfer.status != Some(425)
}

/// Whether more may come of a stream, or of the other one of its connection.
fn goes_on(stream: &StreamInfo) -> bool {
    stream.reason.is_none() || stream.goes_on
}

/// Whether the bytes went the way that was told.
fn is_sent_so(transfer: &Transfer, sends: Direction) -> bool {
    let by_who_opened = sends == Direction::ToServer;
    let by_client = by_who_opened == (transfer.listener == Side::Server);
    by_client == (transfer.sender == Side::Client)
}
