//! Captures that others send over TCP: pcap or pcapng, as `tcpdump -w - | nc` and PolarProxy do.
//!
//! Each sender has a connection, a thread that reads from it, and a queue of its own. A queue that is full holds back its
//! sender alone, by TCP's own means. What a sender says that cannot be read, or cannot be true, ends its connection and no other.

mod allow;
mod chunk;
mod error;
mod sender;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streamdb_types::{Interface, Timestamp};

use crate::bytes::Order;
use crate::item::{Drops, Frame, Item};
use crate::live::Batch;
use crate::options::{self, Tlv, push_interface_option};
pub use allow::Network;
use chunk::{Chunk, Record};
pub use error::FeedError;

/// How long a batch waits, a look for new connections takes, and a read is let be before it is asked whether to end.
const WAIT: Duration = Duration::from_millis(100);
/// The most chunks of a sender that wait.
const CHUNKS: usize = 8;
/// The most senders at once.
const SENDERS: usize = 16;
/// Bytes that wait, of all senders together; who has more to say is held back.
const HELD: usize = 64 << 20;
/// The most interfaces that are told apart, of all senders since the start.
const INTERFACES: usize = 1024;
/// An interface description is not longer; of a longer one the options are left out.
const MAX_OPTIONS: usize = 4096;
/// So many sentences are said in a minute; what is more is counted.
const SENTENCES: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// The name of an interface in its options (draft-ietf-opsawg-pcapng §4.2).
const NAME: u16 = 2;

/// Where senders may come from, and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Who may connect besides this machine. Captures over TCP know no authentication, so any address but a loopback one is
    /// refused without such a list.
    pub from: Vec<Network>,
}

/// What was sent, as it comes.
pub struct Feed {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    /// Those on which nobody listens yet, and who may connect.
    bound: Vec<TcpListener>,
    from: Vec<Network>,
    listeners: Vec<JoinHandle<()>>,
    give: SyncSender<Connected>,
    senders: Receiver<Connected>,
    connected: Vec<Connected>,
    /// The interfaces so far, by their numbers.
    interfaces: Vec<Interface>,
    /// Those that a sender has now.
    used: HashSet<u32>,
    stopping: bool,
}

/// What the threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    /// Nobody takes anything any more.
    over: AtomicBool,
    /// Senders that have a thread, or of which something waits.
    count: AtomicUsize,
    /// Bytes that wait.
    held: AtomicUsize,
    /// Whether anything came since somebody looked.
    came: Mutex<bool>,
    bell: Condvar,
    said: Mutex<Said>,
}

/// What is to be told, and how much was in this minute: who connects again and again fills no log.
#[derive(Debug, Default)]
struct Said {
    sentences: Vec<String>,
    since: Option<Instant>,
    count: u32,
    left_out: u64,
}

impl Shared {
    fn ring(&self) {
        *self.came.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }

    pub(crate) fn say(&self, sentence: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| since.elapsed() >= MINUTE) {
            if said.left_out > 0 {
                let more = format!("{} more captures that were sent ended or were refused in a minute", said.left_out);
                said.sentences.push(more);
            }
            (said.since, said.count, said.left_out) = (Some(Instant::now()), 0, 0);
        }
        if said.count < SENTENCES {
            said.count += 1;
            said.sentences.push(sentence);
        } else {
            said.left_out += 1;
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn wait(&self) {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(came, WAIT, |came| !*came);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The place of a sender: taken for as long as it has a thread, or anything that it sent waits.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Arc<Self>> {
        let free = |count: usize| (count < SENDERS).then_some(count + 1);
        let taken = shared.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok();
        taken.then(|| Arc::new(Self(Arc::clone(shared))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many bytes that wait, until this goes.
#[derive(Debug)]
pub(crate) struct Held(Arc<Shared>, usize);

impl Held {
    /// `None` when there is no room for them now.
    fn take(shared: &Arc<Shared>, bytes: usize) -> Option<Self> {
        // What alone is more than all may be goes when nothing else waits.
        let room = |held: usize| (held == 0 || held + bytes <= HELD).then_some(held + bytes);
        let taken = shared.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        taken.then(|| Self(Arc::clone(shared), bytes))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A sender, as the one who takes sees it.
struct Connected {
    peer: IpAddr,
    _place: Arc<Place>,
    chunks: Receiver<Chunk>,
    /// The number of each of its interfaces.
    numbers: Vec<u32>,
}

impl Feed {
    /// Takes the addresses. Who connects waits until it [listens](Self::listen).
    ///
    /// # Errors
    /// When an address is not free, not ours, or not one to listen on without a list of who may connect.
    pub fn open(settings: &FeedSettings) -> Result<Self, FeedError> {
        settings.check()?;
        let (give, senders) = sync_channel(SENDERS);
        let mut feed = Self {
            shared: Arc::default(),
            addresses: Vec::new(),
            bound: Vec::new(),
            from: settings.from.clone(),
            listeners: Vec::new(),
            give,
            senders,
            connected: Vec::new(),
            interfaces: Vec::new(),
            used: HashSet::new(),
            stopping: false,
        };
        for &address in &settings.listen {
            let refused = |error| FeedError::Listen { address, error };
            let listener = TcpListener::bind(address).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            feed.addresses.push(listener.local_addr().map_err(refused)?);
            feed.bound.push(listener);
        }
        Ok(feed)
    }

    /// Begins to take connections, by threads: a process that gives up rights does so before, as each thread has its own.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn listen(&mut self) -> Result<(), FeedError> {
        for (listener, &address) in self.bound.drain(..).zip(&self.addresses) {
            let (from, shared, give) = (self.from.clone(), Arc::clone(&self.shared), self.give.clone());
            let thread = thread::Builder::new().name("feed".into());
            let thread = thread.spawn(move || accept(&listener, &from, &shared, &give));
            self.listeners.push(thread.map_err(|error| FeedError::Listen { address, error })?);
        }
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Hands out what has come, waiting for it a tenth of a second at most: of each sender some, in its order.
    pub fn batch(&mut self, mut take: impl FnMut(Item<'_>)) -> Batch {
        let mut count = self.look(&mut take);
        if count == 0 && !self.stopping {
            self.shared.wait();
            count = self.look(&mut take);
        }
        match count {
            0 if self.stopping && self.connected.is_empty() => Batch::End,
            0 => {
                if self.stopping {
                    // Their threads end within a wait.
                    self.shared.wait();
                }
                Batch::Idle(clock())
            }
            count => Batch::Frames(count),
        }
    }

    /// What time it is here.
    pub fn now() -> Timestamp {
        clock()
    }

    /// Sentences for the operator since the last call: whose connection ended before its capture did, and why; who was refused. At
    /// most so many in a minute.
    pub fn take_troubles(&self) -> Vec<String> {
        let mut said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut said.sentences)
    }

    /// Takes no connection from now on, and of those that are there what has come; the next batches hand that out, and say when that is all.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Hands out what there is: a chunk of each sender.
    fn look(&mut self, take: &mut impl FnMut(Item<'_>)) -> usize {
        while let Ok(connected) = self.senders.try_recv() {
            self.connected.push(connected);
        }
        let mut count = 0;
        let mut connected = std::mem::take(&mut self.connected);
        connected.retain_mut(|sender| {
            let goes_on = match sender.chunks.try_recv() {
                Ok(chunk) => {
                    count += chunk.records.len();
                    self.hand_out(sender, &chunk, take)
                }
                Err(TryRecvError::Empty) => true,
                Err(TryRecvError::Disconnected) => false,
            };
            if !goes_on {
                self.used.retain(|number| !sender.numbers.contains(number));
            }
            goes_on
        });
        self.connected = connected;
        count
    }

    /// Hands out a chunk; false when the sender said what there is no room for, and is not listened to further.
    fn hand_out(&mut self, sender: &mut Connected, chunk: &Chunk, take: &mut impl FnMut(Item<'_>)) -> bool {
        for record in &chunk.records {
            let number = |interface: u32| sender.numbers.get(interface as usize).copied().unwrap_or_default();
            match *record {
                Record::Interface(ref interface) => {
                    let Some(number) = self.number(sender.peer, interface, take) else { return false };
                    sender.numbers.push(number);
                    self.used.insert(number);
                }
                Record::Frame { time, interface, wire_len, data } => {
                    let data = chunk.bytes(data);
                    take(Item::Frame(Frame { time, interface: number(interface), wire_len, data }));
                }
                Record::Secrets { kind, data } => take(Item::Secrets { kind, data: chunk.bytes(data) }),
                Record::Names(data) => take(Item::Names(chunk.bytes(data))),
                Record::Drops(drops) => take(Item::Drops(Drops { interface: number(drops.interface), ..drops })),
            }
        }
        true
    }

    /// The number of an interface of a sender: the one it had, if it is described as before and nobody else has it now.
    fn number(&mut self, peer: IpAddr, interface: &Interface, take: &mut impl FnMut(Item<'_>)) -> Option<u32> {
        let mut again = 0;
        loop {
            let named = named(interface, peer, again);
            let known = self.interfaces.iter().position(|known| *known == named);
            match known.map(|at| at as u32) {
                Some(number) if self.used.contains(&number) => again += 1,
                Some(number) => return Some(number),
                None if self.interfaces.len() >= INTERFACES => {
                    self.shared.say(format!(
                        "the capture from {peer} is not taken: {INTERFACES} interfaces were described already, and there is no room for more"
                    ));
                    return None;
                }
                None => {
                    let number = self.interfaces.len() as u32;
                    take(Item::Interface(number, &named));
                    self.interfaces.push(named);
                    return Some(number);
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.listeners.drain(..) {
            // A thread that died left nothing to clean.
            let _ = thread.join();
        }
    }
}

/// The interface with a name: its own, or who sends it; a number is added while another sender has one of the same name.
fn named(interface: &Interface, peer: IpAddr, again: u32) -> Interface {
    let mut name = None;
    options::walk(&interface.options, Order::Little, |option| {
        if option.code == NAME {
            name = Some(String::from_utf8_lossy(option.value).into_owned());
        }
    });
    let from = match &name {
        Some(name) => format!("{name} of {peer}"),
        None => format!("pcap of {peer}"),
    };
    let text = if again == 0 { from } else { format!("{from} #{}", again + 1) };
    let mut options = Vec::new();
    push_interface_option(&mut options, Tlv { code: NAME, value: text.as_bytes() }, Order::Little);
    if interface.options.len() <= MAX_OPTIONS {
        options::walk(&interface.options, Order::Little, |option| {
            if option.code != NAME {
                push_interface_option(&mut options, option, Order::Little);
            }
        });
    }
    Interface { options, ..interface.clone() }
}

/// Takes connections until it is told to stop.
fn accept(listener: &TcpListener, from: &[Network], shared: &Arc<Shared>, give: &SyncSender<Connected>) {
    while !shared.is_stopped() {
        match listener.accept() {
            Ok((stream, peer)) => begin(stream, peer, from, shared, give),
            // Nobody came, or there are no descriptors: both pass.
            Err(_) => thread::sleep(WAIT),
        }
    }
}

/// Gives a connection a thread, if there is one for it.
fn begin(stream: TcpStream, peer: SocketAddr, from: &[Network], shared: &Arc<Shared>, give: &SyncSender<Connected>) {
    let address = peer.ip().to_canonical();
    if !allow::may_send(address, from) {
        shared.say(format!("a capture from {peer} is refused: it is in no network of --listen-pcap-from"));
        return;
    }
    let Some(place) = Place::take(shared) else {
        shared.say(format!("a capture from {peer} is refused: {SENDERS} are sent already"));
        return;
    };
    let (chunks, taken) = sync_channel(CHUNKS);
    let connected = Connected { peer: address, _place: Arc::clone(&place), chunks: taken, numbers: Vec::new() };
    let ours = Arc::clone(shared);
    let run = move || {
        sender::run(stream, peer, &chunks, &ours);
        // In this order: who sees that nothing more comes finds the place free.
        drop(place);
        drop(chunks);
        ours.ring();
    };
    // As many fit as there are places, so this does not wait. A thread that is not there leaves no chunks, which is seen.
    if give.try_send(connected).is_ok() && thread::Builder::new().name("sender".into()).spawn(run).is_err() {
        shared.say(format!("a capture from {peer} is refused: the system has no more threads"));
    }
}

/// What time it is.
pub(crate) fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
