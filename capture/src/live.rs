//! A live interface, through libpcap: frames as they come, what was dropped, and the clock when nothing comes.

mod bell;
mod drops;
mod error;
mod link;
mod program;
mod socket;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pcap::{Active, Capture, Linktype, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use streamdb_types::{Interface, LinkType, Resolution, Timestamp};

use crate::bytes::Order;
use crate::filter::link_type;
use crate::item::{Frame, Item, MAX_FRAME};
use crate::options::{Tlv, push_interface_option};
pub use bell::Bell;
use drops::DropCounts;
pub use error::LiveError;
pub use link::{LinkState, link_state};
use socket::Group;

/// All interfaces at once.
const ANY: &str = "any";
/// The kernel hands a block of its ring over when it is full, or this long after its first frame.
const BLOCK_MILLIS: i32 = 100;
/// How long a batch waits for its first frame.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// When nothing has come for a wait, everything older than this has: the kernel holds back less.
const SETTLED: Duration = Duration::from_millis(200);
/// The most frames of a batch, so that who takes them can look up in between however many there are.
const BATCH: usize = 4096;
/// How often the counters of the kernel are read.
const LOOK: Duration = Duration::from_secs(1);
/// However busy the processors are, after this long no frame is on its way to a socket by what held before.
const UNDER_WAY: Duration = Duration::from_millis(5);
/// The most packet sockets that share the frames of one interface; the kernel takes 256.
pub const MAX_SHARES: usize = 64;

/// What to capture, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// The interface's name, or `any` for all of them.
    pub interface: String,
    /// A filter as in pcap-filter(7); the kernel applies it.
    pub filter: Option<String>,
    /// The most bytes of a frame that are kept; at most [`MAX_FRAME`].
    pub snap_length: u32,
    /// Bytes of the ring in which the kernel keeps frames until they are read.
    pub buffer: u32,
    /// Whether the interface takes frames for others too.
    pub promiscuous: bool,
}

impl LiveSettings {
    /// Whole frames of this interface, for whomever they are, with a ring of 64 MiB.
    pub fn new(interface: &str) -> Self {
        let snap_length = MAX_FRAME as u32;
        Self { interface: interface.into(), filter: None, snap_length, buffer: 64 << 20, promiscuous: true }
    }
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// This many frames were handed out; there may be more at once.
    Frames(usize),
    /// No frame waits, and all from before this moment were handed out: it is time for what is due by the clock.
    Idle(Timestamp),
    /// After [`Live::stop`]: everything that came before it was handed out.
    End,
}

/// An interface that is being captured from.
pub struct Live {
    capture: Capture<Active>,
    name: String,
    interface: Interface,
    /// Nanoseconds of a unit of libpcap's times.
    unit: i64,
    /// Bytes of the ring, at most.
    buffer: u64,
    announced: bool,
    drops: DropCounts,
    /// When the counters of the kernel are read next.
    next_drops: Instant,
    /// What may wake it.
    bell: Option<Arc<Bell>>,
    beginning: Option<Beginning>,
    /// Whether it says what the interface dropped: of those that share one interface, one does.
    says_interface_drops: bool,
    /// Whether libpcap filters, or the kernel as we tell it.
    by_libpcap: bool,
    stopping: Option<Stopping>,
}

/// Of sockets that share an interface each has all frames until it is among the others. So the capture begins when all of them
/// are: what is older came before it, and is left out, until something newer was there. Or a second is over since frames were
/// first taken, however long after the opening that is: the clock may be set back meanwhile.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    at: Timestamp,
    since: Option<Instant>,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// There may be frames.
    Frames,
    /// The bell rang.
    Bell,
    /// It was in vain.
    Nothing,
}

/// How the end is known: a frame comes that is later than it, or none comes any more, or more came than the ring held.
/// The last two hold whatever the clock is set to meanwhile.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    at: Timestamp,
    since: Instant,
    /// Bytes that may still be in the ring from before.
    left: u64,
}

impl Live {
    /// Opens an interface. From here on the kernel keeps its frames.
    ///
    /// # Errors
    /// When there is no such interface, it is down, the rights are missing, or libpcap does not take the filter.
    pub fn open(settings: &LiveSettings) -> Result<Self, LiveError> {
        let name = settings.interface.as_str();
        let refused = |error| LiveError::refused(name, &error);
        // Others (USB, Bluetooth and the like) may not have nanoseconds, and libpcap's answer to that does not come through.
        let nanoseconds = name == ANY || link::is_network(name);
        let precision = if nanoseconds { Precision::Nano } else { Precision::Micro };
        // Never in immediate mode: libpcap then takes a ring of an older kind, at many times the cost a frame.
        let capture = Capture::from_device(name)
            .map_err(refused)?
            .snaplen(settings.snap_length.min(MAX_FRAME as u32).cast_signed())
            .buffer_size(i32::try_from(settings.buffer).unwrap_or(i32::MAX))
            .timeout(BLOCK_MILLIS)
            // `any` cannot be, which libpcap says by a warning that the binding takes for an error.
            .promisc(settings.promiscuous && name != ANY)
            .precision(precision);
        let mut capture = capture.open().map_err(refused)?.setnonblock().map_err(refused)?;
        let cooked = Linktype(LinkType::LINUX_SLL2.0.into());
        if name == ANY && capture.list_datalinks().is_ok_and(|all| all.contains(&cooked)) {
            // Version 2 says of each frame which interface it came from.
            capture.set_datalink(cooked).map_err(refused)?;
        }
        let link_type = link_type(capture.get_datalink());
        let resolution = if nanoseconds { Resolution::NANOS } else { Resolution::MICROS };
        let interface = Interface { link_type, resolution, ..Self::description(settings) };
        let now = Instant::now();
        let mut live = Self {
            capture,
            name: name.into(),
            interface,
            unit: if nanoseconds { 1 } else { 1000 },
            buffer: settings.buffer.into(),
            announced: false,
            drops: DropCounts::new(clock()),
            next_drops: now + LOOK,
            bell: None,
            beginning: None,
            says_interface_drops: true,
            // What the kernel sees of a cooked frame is not what the program was compiled for, and libpcap knows the difference.
            by_libpcap: link_type != LinkType::ETHERNET,
            stopping: None,
        };
        if settings.filter.is_some() {
            live.set_filter(settings.filter.as_deref())?;
            // What came before it has gone through no filter.
            thread::sleep(UNDER_WAY);
            live.beginning = Some(Beginning { at: clock(), since: None });
        }
        Ok(live)
    }

    /// What can be said of an interface that could not be opened yet: most are as Ethernet.
    pub fn description(settings: &LiveSettings) -> Interface {
        Interface {
            link_type: LinkType::ETHERNET,
            snap_length: settings.snap_length,
            resolution: Resolution::NANOS,
            time_offset: 0,
            fcs_length: None,
            options: options(settings),
        }
    }

    /// Opens an interface so many times that its frames are shared: each frame comes by one of them, those of a connection by
    /// the same one as far as the kernel can tell. At most [`MAX_SHARES`], and one at least.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the kernel does not share this interface's frames.
    pub fn open_shared(settings: &LiveSettings, shares: usize) -> Result<Vec<Self>, LiveError> {
        let mut all = vec![Self::open(settings)?];
        let shares = shares.min(MAX_SHARES);
        let Some(first) = all.first().filter(|_| shares > 1) else { return Ok(all) };
        let refused = |error| LiveError::not_shared(&settings.interface, &error);
        let group = Group::begin(&first.capture).map_err(refused)?;
        while all.len() < shares {
            let mut next = Self::open(settings)?;
            group.join(&next.capture).map_err(refused)?;
            next.says_interface_drops = false;
            all.push(next);
        }
        thread::sleep(UNDER_WAY);
        let beginning = Beginning { at: clock(), since: None };
        for live in &mut all {
            live.beginning = Some(beginning);
            // What was dropped until now was none of it.
            live.say_drops(&mut |_| {})?;
        }
        Ok(all)
    }

    /// From now on this bell ends a wait for frames.
    pub fn listen_for(&mut self, bell: Arc<Bell>) {
        self.bell = Some(bell);
    }

    /// From now on takes the frames that match this filter, or all. None is lost that the one before and this one want, but for
    /// interfaces that are not as Ethernet, `any` among them: there none is taken for a moment.
    ///
    /// # Errors
    /// When libpcap does not take it: then the one before goes on.
    pub fn set_filter(&mut self, filter: Option<&str>) -> Result<(), LiveError> {
        let expression = filter.unwrap_or_default();
        let link_type = self.interface.link_type;
        let not_taken = |error| LiveError::Filter(crate::filter::error(expression, link_type, error));
        if !self.by_libpcap {
            let program = program::compile(&self.capture, expression).map_err(not_taken)?;
            // The kernel does not take one of any length; libpcap then filters by itself, and has to from then on.
            self.by_libpcap = socket::attach(&self.capture, &program).is_err();
        }
        if self.by_libpcap {
            self.capture.filter(expression, true).map_err(not_taken)?;
        }
        Ok(())
    }

    /// The interface as its frames' capture would describe it.
    pub const fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Hands out what has come, waiting for it a tenth of a second at most: frames in their order, and each second what
    /// was dropped, if anything was. The first batch announces the interface and nothing else. While the interface is down
    /// nothing comes, and when it is up again its frames do: [`link_state`] tells.
    ///
    /// # Errors
    /// When the interface went away, or cannot be read further. What came before was handed out.
    pub fn batch(&mut self, mut take: impl FnMut(Item<'_>)) -> Result<Batch, LiveError> {
        if !self.announced {
            self.announced = true;
            take(Item::Interface(0, &self.interface));
            return Ok(Batch::Idle(clock()));
        }
        let now = Instant::now();
        if now >= self.next_drops {
            self.next_drops = now + LOOK;
            self.say_drops(&mut take)?;
        }
        let batch = self.frames(&mut take);
        match &batch {
            Ok(Batch::Frames(_) | Batch::Idle(_)) => {}
            Ok(Batch::End) => self.say_drops(&mut take)?,
            // It has failed already; what can still be learned is.
            Err(_) => drop(self.say_drops(&mut take)),
        }
        batch
    }

    /// Takes no frame from this moment on; the next batches hand out what came before it, and say when that is all.
    pub fn stop(&mut self) {
        let (at, since, left) = (clock(), Instant::now(), self.buffer);
        self.stopping.get_or_insert(Stopping { at, since, left });
    }

    /// Hands out frames, waiting for them if there are none.
    fn frames(&mut self, take: &mut impl FnMut(Item<'_>)) -> Result<Batch, LiveError> {
        let mut handed_out = self.dispatch(take)?;
        let mut woken = Woken::Frames;
        if handed_out == Some(0) {
            woken = self.wait()?;
            if woken == Woken::Frames {
                handed_out = self.dispatch(take)?;
            }
        }
        match handed_out {
            Some(0) if self.stopping.is_none_or(|stopping| stopping.since.elapsed() < SETTLED) => {
                Ok(if woken == Woken::Bell { Batch::Frames(0) } else { Batch::Idle(before_now()) })
            }
            None | Some(0) => Ok(Batch::End),
            Some(count) => Ok(Batch::Frames(count)),
        }
    }

    /// Hands out frames that are there, and says how many; `None` when those from before the end are all handed out.
    fn dispatch(&mut self, take: &mut impl FnMut(Item<'_>)) -> Result<Option<usize>, LiveError> {
        let (unit, end) = (self.unit, self.stopping.map(|stopping| stopping.at));
        let now = Instant::now();
        let mut beginning =
            self.beginning.map(|beginning| Beginning { since: beginning.since.or(Some(now)), ..beginning });
        beginning = beginning.filter(|beginning| beginning.since.is_none_or(|since| since.elapsed() < LOOK));
        let mut late = false;
        let mut bytes = 0;
        let result = self.capture.dispatch(Some(BATCH), |packet| {
            let header = packet.header;
            // With nanoseconds the field of microseconds has those.
            let time = Timestamp::new(header.ts.tv_sec, header.ts.tv_usec.saturating_mul(unit));
            late |= end.is_some_and(|end| time >= end);
            let early = beginning.is_some_and(|beginning| time < beginning.at);
            if !early {
                beginning = None;
            }
            if !late && !early {
                // Beside its bytes a frame has a header in the ring.
                bytes += packet.data.len() as u64 + 1;
                take(Item::Frame(Frame { time, interface: 0, wire_len: header.len, data: packet.data }));
            }
        });
        self.beginning = beginning;
        let count = result.map_err(|error| LiveError::broken(&self.name, error))?;
        if let Some(stopping) = &mut self.stopping {
            stopping.left = stopping.left.saturating_sub(bytes);
            late |= stopping.left == 0;
        }
        Ok((!late).then_some(count))
    }

    /// Waits until there may be frames, or the bell rings.
    fn wait(&self) -> Result<Woken, LiveError> {
        let ring = PollFd::new(&self.capture, PollFlags::IN);
        let waited = match &self.bell {
            None => poll(&mut [ring], Some(&WAIT)).map(|ready| (ready > 0, false)),
            Some(bell) => {
                let mut both = [ring, PollFd::new(&**bell, PollFlags::IN)];
                poll(&mut both, Some(&WAIT)).map(|_| {
                    let [ring, rung] = both.map(|one| !one.revents().is_empty());
                    (ring, rung)
                })
            }
        };
        match waited {
            Ok((ring, rung)) => {
                if let Some(bell) = self.bell.as_ref().filter(|_| rung) {
                    bell.quiet();
                }
                Ok(if ring {
                    Woken::Frames
                } else if rung {
                    Woken::Bell
                } else {
                    Woken::Nothing
                })
            }
            // A signal, perhaps the one that ends us.
            Err(Errno::INTR) => Ok(Woken::Nothing),
            Err(error) => Err(LiveError::Broken { interface: self.name.clone(), message: error.to_string() }),
        }
    }

    fn say_drops(&mut self, take: &mut impl FnMut(Item<'_>)) -> Result<(), LiveError> {
        let counts = self.capture.stats().map_err(|error| LiveError::broken(&self.name, error))?;
        let by_interface = if self.says_interface_drops { counts.if_dropped } else { 0 };
        if let Some(drops) = self.drops.advance(counts.dropped, by_interface, clock()) {
            take(Item::Drops(drops));
        }
        Ok(())
    }
}

/// The options of an interface description block: name and filter, as Wireshark writes them (draft-ietf-opsawg-pcapng
/// §4.2).
fn options(settings: &LiveSettings) -> Vec<u8> {
    const NAME: u16 = 2;
    const FILTER: u16 = 11;
    let mut options = Vec::new();
    push_interface_option(&mut options, Tlv { code: NAME, value: settings.interface.as_bytes() }, Order::Little);
    if let Some(filter) = settings.filter.as_ref().filter(|filter| filter.len() < usize::from(u16::MAX)) {
        // Kind 0: a filter in libpcap's language.
        let value = [&[0], filter.as_bytes()].concat();
        push_interface_option(&mut options, Tlv { code: FILTER, value: &value }, Order::Little);
    }
    options
}

/// The moment from before which everything has come, when nothing came for a wait.
fn before_now() -> Timestamp {
    clock().plus(-(SETTLED.as_nanos() as i64))
}

/// What time it is, by the clock that the kernel stamps frames with.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_described_as_wireshark_does() {
        let mut settings = LiveSettings::new("eth0");
        assert_eq!(options(&settings), b"\x02\0\x04\0eth0");
        settings.filter = Some("port 80".into());
        assert_eq!(options(&settings), b"\x02\0\x04\0eth0\x0b\0\x08\0\0port 80");
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let said = |settings: &LiveSettings| Live::open(settings).err().unwrap().to_string();
        let text = said(&LiveSettings::new("nonesuch0"));
        assert!(text.starts_with("there is no interface nonesuch0; there are any, ") && text.contains("lo"), "{text}");
        let text = said(&LiveSettings::new("lo\0"));
        assert!(text.starts_with("there is no interface lo\\u{0}; "), "{text}");
    }
}
