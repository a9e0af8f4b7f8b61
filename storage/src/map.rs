//! The one file that maps files, and the only one with unsafe code: mappings, the guard against SIGBUS, and the two
//! calls that std does not offer.
//!
//! A mapped file can be cut by another process, or its medium can fail. The kernel then sends SIGBUS to the thread that
//! looks, and a process without a handler dies. Ours, installed with the first mapping, finds the mapping in a table,
//! notes which page was bad, puts a page of zeros in its place and returns: the reader goes on with zeros, and asks
//! afterwards ([`Map::check`], or [`Map::read`], which does both). A fault elsewhere goes to the handler that was there
//! before us. The technique is that of systemd's journal.
//!
//! Two things no guard can see, and the checksum of each block can: where a file was cut within a page, the rest of that
//! page reads as zeros without a fault; and a page that was read well before can be written by somebody else. And a
//! system call that is given mapped bytes (a write to a socket) meets no signal: it fails with EFAULT.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

/// Why mapped bytes are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// More was asked for than is mapped.
    #[error("{path}: {len} bytes from byte {offset} on were asked for, and there are {mapped}")]
    Outside {
        /// The file.
        path: PathBuf,
        /// The first byte asked for.
        offset: u64,
        /// How many.
        len: u64,
        /// How many the mapping has.
        mapped: u64,
    },
    /// The system could not give the bytes; zeros were read in their place.
    #[error("{path}: bytes {first} to {last} cannot be read: the file was cut, or the disk fails")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte of the first bad page.
        first: u64,
        /// The last byte of the last bad page.
        last: u64,
    },
}

impl From<MapError> for crate::Error {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Outside { path, offset, len, mapped } => {
                Self::damaged(&path, offset, format!("{len} bytes are wanted there, and the file has {mapped} in all"))
            }
            MapError::Damaged { path, first, last } => Self::Unreadable { path, first, last },
        }
    }
}

/// The first bytes of a file, mapped to be read.
#[derive(Debug)]
pub struct Map {
    region: Arc<Region>,
    len: u64,
}

impl Map {
    /// Maps the first `len` bytes of a file; `path` is what errors call it. An error when the file is shorter.
    pub fn open(file: &File, path: &Path, len: u64) -> io::Result<Arc<Self>> {
        at_least(file, len)?;
        let region = Region::new(file, path, len, false)?;
        Ok(Arc::new(Self { region: Arc::new(region), len }))
    }

    /// Maps the first `len` bytes of a file that grows: room for `reserve` bytes is mapped at once (addresses, not
    /// memory), so that [`covering`](Self::covering) more of it later costs nothing.
    pub fn follow(file: File, path: &Path, len: u64, reserve: u64) -> io::Result<Arc<Self>> {
        at_least(&file, len)?;
        let mut region = Region::new(&file, path, len.max(reserve), false)?;
        region.file = Some(file);
        Ok(Arc::new(Self { region: Arc::new(region), len }))
    }

    /// The same file's first `len` bytes, now that it has grown; the mapping is made anew only when `len` is beyond what
    /// was reserved. An error when the file is shorter, or when this is no mapping made by [`follow`](Self::follow).
    pub fn covering(self: &Arc<Self>, len: u64) -> io::Result<Arc<Self>> {
        if len <= self.len {
            return Ok(self.clone());
        }
        let file = self.region.file.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // Looking at a page behind the end of the file would put a page of zeros there for good.
        at_least(file, len)?;
        if len <= self.region.capacity {
            return Ok(Arc::new(Self { region: self.region.clone(), len }));
        }
        Self::follow(file.try_clone()?, &self.region.path, len, len.saturating_mul(2))
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file, as it was called when it was mapped.
    pub fn path(&self) -> &Path {
        &self.region.path
    }

    /// The bytes there. They must be taken for true only after a [`check`](Self::check) that follows the last look at
    /// them. They must lie where nobody writes any more: in a sealed file, or below *published*.
    pub fn get(&self, offset: u64, len: usize) -> Result<&[u8], MapError> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len);
        match (end, usize::try_from(offset)) {
            (Some(_), Ok(start)) => {
                // Every page can be read: the file's, or the zeros which the handler puts in place. Files are only ever
                // appended to, and readers ask for what is published, so nobody of us writes there; if someone else does,
                // the checksum over the block is what finds it.
                // SAFETY: `self.len` is at most the region's capacity, so the range lies in one live mapping that is
                // unmapped only after the region, and with it this borrow, is gone; as above, it is readable and stays.
                Ok(unsafe { std::slice::from_raw_parts(self.region.bytes.as_ptr().add(start), len) })
            }
            _ => Err(MapError::Outside { path: self.region.path.clone(), offset, len: len as u64, mapped: self.len }),
        }
    }

    /// What `look` makes of the bytes there, if they could be read while it looked.
    pub fn read<T>(&self, offset: u64, len: usize, look: impl FnOnce(&[u8]) -> T) -> Result<T, MapError> {
        let seen = look(self.get(offset, len)?);
        self.check(offset, len as u64)?;
        Ok(seen)
    }

    /// Whether the pages of this range could be read whenever somebody looked at them until now.
    ///
    /// One bad sector does not spoil a bucket: only what lies between the first and the last bad page is refused.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), MapError> {
        self.region.check(offset, len)
    }

    /// Tells the system that look-ups will jump about: no reading ahead. A hint; a refusal changes nothing.
    pub fn expect_random(&self) {
        let _ = self.region.bytes.advise(Advice::Random);
    }

    /// Tells the system that this range is about to be read.
    pub fn expect_range(&self, offset: u64, len: u64) {
        let len = len.min(self.len.saturating_sub(offset));
        if let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len))
            && len > 0
        {
            let _ = self.region.bytes.advise_range(Advice::WillNeed, offset, len);
        }
    }

    /// Tells the system that this process is done with the file for now. What is looked at later is read again.
    pub fn expect_nothing(&self) {
        // SAFETY: the mapping is shared and only read, so dropping its pages loses nothing: they come back from the file.
        // A page of zeros that the handler put in place comes back as zeros.
        let _ = unsafe { self.region.bytes.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

/// How many bytes a [`SharedPage`] has.
pub const SHARED_PAGE: u64 = 4096;

/// One page of a file, shared by all processes that map it: 512 slots, each a little-endian `u64` that is read and
/// written in one step.
#[derive(Debug)]
pub struct SharedPage(Region);

impl SharedPage {
    /// Maps the page to be read. An error when the file is shorter than its 4096 bytes.
    pub fn open(file: &File, path: &Path) -> io::Result<Self> {
        at_least(file, SHARED_PAGE)?;
        Ok(Self(Region::new(file, path, SHARED_PAGE, false)?))
    }

    /// The slot's value (acquire: what its writer wrote before it is seen too), 0 where there is no such slot.
    pub fn load(&self, slot: usize) -> u64 {
        // Rust promises only relaxed loads to work on pages that are mapped to be read only; the fence makes it an acquire.
        let value = self.slot(slot).map_or(0, |slot| slot.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        u64::from_le(value)
    }

    /// Whether the page could be read and written until now.
    pub fn check(&self) -> Result<(), MapError> {
        self.0.check(0, SHARED_PAGE)
    }

    fn slot(&self, slot: usize) -> Option<&AtomicU64> {
        if slot >= SHARED_PAGE as usize / 8 {
            return None;
        }
        // SAFETY: mappings begin at a page, so the address is a multiple of 8 and lies in the mapping, which lives as long
        // as `self`. All access to the page, here and in every other process, is by atomics of this size. A page mapped to
        // be read only is only loaded from, relaxed (`store` is a method of the writer).
        Some(unsafe { AtomicU64::from_ptr(self.0.bytes.as_mut_ptr().cast::<u64>().add(slot)) })
    }
}

/// A [`SharedPage`] that is also written.
#[derive(Debug)]
pub struct SharedPageWriter(SharedPage);

impl SharedPageWriter {
    /// Maps the page to be read and written. An error when the file is shorter than its 4096 bytes.
    pub fn open(file: &File, path: &Path) -> io::Result<Self> {
        at_least(file, SHARED_PAGE)?;
        Ok(Self(SharedPage(Region::new(file, path, SHARED_PAGE, true)?)))
    }

    /// Sets a slot (release: who sees this value sees all that was written before it). Nothing happens where there is no
    /// such slot.
    pub fn store(&self, slot: usize, value: u64) {
        if let Some(slot) = self.0.slot(slot) {
            slot.store(value.to_le(), Ordering::Release);
        }
    }

    /// The page as its readers see it.
    pub fn page(&self) -> &SharedPage {
        &self.0
    }
}

/// Lets the system begin to write a range of a file out. It is a hint, so an error is not looked at: the sync that
/// follows reports it.
pub(crate) fn write_behind(file: &File, offset: u64, len: u64) {
    if let (Ok(offset), Ok(len)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len)) {
        // SAFETY: a system call on an open descriptor that touches no memory of ours.
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }
}

fn at_least(file: &File, len: u64) -> io::Result<()> {
    let there = file.metadata()?.len();
    if there < len {
        let what = format!("{len} bytes were to be mapped, and the file has {there}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    Ok(())
}

/// One mapping and its place in the table of the handler.
#[derive(Debug)]
struct Region {
    bytes: MmapRaw,
    capacity: u64,
    slot: usize,
    path: PathBuf,
    file: Option<File>,
}

impl Region {
    fn new(file: &File, path: &Path, len: u64, writable: bool) -> io::Result<Self> {
        install()?;
        let size = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut options = MmapOptions::new();
        options.len(size);
        let bytes = if writable { options.map_raw(file) } else { options.map_raw_read_only(file) }?;
        let slot = register(bytes.as_ptr() as usize, size, writable)?;
        Ok(Self { bytes, capacity: len, slot, path: path.to_owned(), file: None })
    }

    fn check(&self, offset: u64, len: u64) -> Result<(), MapError> {
        // The handler sets DAMAGED before it puts the zeros in place. So a thread that has read such zeros, whoever met
        // the fault, sees DAMAGED here; the fence keeps the reads before it in front of this load.
        fence(Ordering::Acquire);
        let Some(slot) = SLOTS.get(self.slot).filter(|slot| slot.state.load(Ordering::Acquire) & DAMAGED != 0) else {
            return Ok(());
        };
        let page = PAGE_SIZE.load(Ordering::Relaxed) as u64;
        let first = slot.first.load(Ordering::Acquire).saturating_mul(page);
        let end = slot.last.load(Ordering::Acquire).saturating_add(1).saturating_mul(page);
        if len > 0 && offset < end && first < offset.saturating_add(len) {
            return Err(MapError::Damaged { path: self.path.clone(), first, last: end.saturating_sub(1) });
        }
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Before the fields go: once the range is unmapped the kernel may give it to somebody else, and a fault there
        // must not be ours any more.
        unregister(self.slot);
    }
}

/// As many mappings as there can be at once. The kernel allows a process 65,530 by default; damage can split ours.
const SLOT_COUNT: usize = 16_384;
/// A bad page was replaced.
const DAMAGED: u32 = 1;
/// The mapping is also written.
const WRITABLE: u32 = 2;
/// How many bits of [`Slot::range`] are the number of pages: up to 1 TiB a mapping with pages of 4 KiB.
const COUNT_BITS: u32 = 28;

/// A mapping as the handler sees it. A handler may use atomics and system calls; no lock, no allocation.
struct Slot {
    /// `number of the first page << 28 | number of pages` in one word, so that the handler never sees the begin of one
    /// mapping with the length of another; 0 when free.
    range: AtomicU64,
    state: AtomicU32,
    /// The first and the last bad page, counted from the begin of the mapping, when DAMAGED.
    first: AtomicU64,
    last: AtomicU64,
}

/// All zeros at first, so that it takes memory only as far as it is used.
static SLOTS: [Slot; SLOT_COUNT] = [const {
    Slot { range: AtomicU64::new(0), state: AtomicU32::new(0), first: AtomicU64::new(0), last: AtomicU64::new(0) }
}; SLOT_COUNT];
/// How many slots were ever used: the handler looks at no more.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Slots that were given back. The handler does not know this lock.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);

fn register(base: usize, len: usize, writable: bool) -> io::Result<usize> {
    let page = PAGE_SIZE.load(Ordering::Relaxed).max(1);
    let (number, count) = ((base / page) as u64, len.div_ceil(page).max(1) as u64);
    if number >> (64 - COUNT_BITS) != 0 || count >> COUNT_BITS != 0 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let index = free.pop().unwrap_or_else(|| USED.load(Ordering::Relaxed));
    let Some(slot) = SLOTS.get(index) else {
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, format!("{SLOT_COUNT} files are mapped already")));
    };
    slot.first.store(u64::MAX, Ordering::Relaxed);
    slot.last.store(0, Ordering::Relaxed);
    slot.state.store(if writable { WRITABLE } else { 0 }, Ordering::Relaxed);
    // Only now the handler can find it. Nobody has looked at the mapping yet, so no fault comes too early.
    slot.range.store(number << COUNT_BITS | count, Ordering::SeqCst);
    USED.fetch_max(index.saturating_add(1), Ordering::SeqCst);
    Ok(index)
}

fn unregister(index: usize) {
    if let Some(slot) = SLOTS.get(index) {
        slot.range.store(0, Ordering::SeqCst);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(index);
    }
}

/// The handler that was there before ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once in a process.
fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        // SAFETY: a query without arguments in memory.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        PAGE_SIZE.store(page.max(1), Ordering::SeqCst);
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
        // SAFETY: sigaction is plain old data, for which all zeros are a value (no handler, no flags, an empty mask).
        let (mut old, mut new) = unsafe { std::mem::zeroed::<(libc::sigaction, libc::sigaction)>() };
        // SAFETY: both pointers are to a live sigaction or null. The old handler is asked for first and kept before ours
        // is set, so that ours always finds it.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut old) } != 0 {
            return Err(errno());
        }
        let _ = PREVIOUS.set(old);
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
        new.sa_sigaction = handler as usize;
        // ONSTACK: a thread may be out of stack of its own. RESTART: a SIGBUS that somebody sent interrupts no read.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: as above; the handler has the signature that SA_SIGINFO asks for and does only what a handler may.
        if unsafe { libc::sigaction(libc::SIGBUS, &raw const new, std::ptr::null_mut()) } != 0 {
            return Err(errno());
        }
        Ok(())
    });
    done.map_err(io::Error::from_raw_os_error)
}

/// The handler. It may interrupt any instruction of ours, also one that holds a lock: atomics, and `mmap`, `sigaction`
/// and `raise`, which are single system calls, are all it uses.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives a valid siginfo_t; for a SIGBUS with a positive code, which only the kernel
    // itself sends, it holds the address of the fault.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // SAFETY: the address of this thread's errno is always valid. What is interrupted may be about to read it.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if !(code > 0 && replace_page(address)) {
        hand_on(signal, code, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Puts a page of zeros where the fault was, if that is in one of our mappings.
fn replace_page(address: usize) -> bool {
    let page_size = PAGE_SIZE.load(Ordering::Relaxed).max(1);
    let page = (address / page_size) as u64;
    for slot in SLOTS.iter().take(USED.load(Ordering::SeqCst)) {
        let range = slot.range.load(Ordering::SeqCst);
        let (begin, count) = (range >> COUNT_BITS, range & ((1 << COUNT_BITS) - 1));
        // The thread that met the fault holds the mapping, so it is in the table; and a range in the table is mapped, so
        // no other can have this page.
        if page.wrapping_sub(begin) >= count {
            continue;
        }
        return replace(slot, page_size, begin, page - begin, 1)
            // The kernel allows only so many pieces of address space, and each page replaced apart is one. Then the whole
            // mapping goes: it needs no new piece.
            || replace(slot, page_size, begin, 0, count);
    }
    false
}

fn replace(slot: &Slot, page_size: usize, begin: u64, first: u64, count: u64) -> bool {
    let last = first.wrapping_add(count).wrapping_sub(1);
    slot.first.fetch_min(first, Ordering::SeqCst);
    slot.last.fetch_max(last, Ordering::SeqCst);
    let state = slot.state.fetch_or(DAMAGED, Ordering::SeqCst);
    let protection = if state & WRITABLE != 0 { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
    let address = (begin.wrapping_add(first) as usize).wrapping_mul(page_size) as *mut libc::c_void;
    let len = (count as usize).wrapping_mul(page_size);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the range lies in a mapping of ours that stays alive until its reader, whom we interrupt, is done; its bytes
    // were not to be had, or are given up together with it. Rust code that holds a borrow of them sees zeros from here on,
    // and the damage noted above tells it before it believes them.
    let replaced = unsafe { libc::mmap(address, len, protection, flags, -1, 0) };
    replaced != libc::MAP_FAILED
}

/// Lets whoever was there before us decide.
fn hand_on(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.get().filter(|p| p.sa_sigaction != libc::SIG_DFL && p.sa_sigaction != libc::SIG_IGN);
    if let Some(previous) = previous {
        if previous.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: a handler installed with SA_SIGINFO is a function of this signature.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(previous.sa_sigaction) };
            handler(signal, info, context);
        } else {
            // SAFETY: a handler installed without it is one of this signature.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(previous.sa_sigaction) };
            handler(signal);
        }
        return;
    }
    let ignored = PREVIOUS.get().is_some_and(|p| p.sa_sigaction == libc::SIG_IGN);
    if ignored && code <= 0 {
        return;
    }
    // A fault comes again as soon as we return, and then ends the process with the right address in its core. What somebody
    // sent does not, so it is sent again. (A fault cannot be ignored: the kernel ends the process too.)
    // SAFETY: all zeros are a sigaction with the default handler; the pointers are to it and null.
    unsafe {
        let default = std::mem::zeroed::<libc::sigaction>();
        libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        if code <= 0 {
            libc::raise(signal);
        }
    }
}
