//! The bytes of an index file, believed page by page.

use std::cell::RefCell;

use crate::error::Error;
use crate::format::bytes::{Reader, Short};
use crate::map::Map;

/// Bytes with a checksum of their own.
pub(super) const PAGE: usize = 4096;

/// Something in an index file is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    pub(super) position: u64,
    pub(super) what: &'static str,
}

impl Bad {
    /// A number there is not possible.
    pub(super) fn at(position: u64) -> impl Fn(Short) -> Self {
        move |Short| Self { position, what: "a number in it is not possible" }
    }
}

/// Bytes that are asked for by place.
pub(super) trait Bytes {
    /// So many from there on.
    fn bytes(&self, at: u64, len: usize) -> Result<&[u8], Bad>;
    /// So many from there on, or as many as there are.
    fn up_to(&self, at: u64, len: usize) -> Result<&[u8], Bad>;
}

impl Bytes for [u8] {
    fn bytes(&self, at: u64, len: usize) -> Result<&[u8], Bad> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).and_then(|rest| rest.get(..len));
        rest.ok_or(Bad { position: at, what: "it ends too early" })
    }

    fn up_to(&self, at: u64, len: usize) -> Result<&[u8], Bad> {
        let left = (self.len() as u64).saturating_sub(at);
        self.bytes(at, len.min(usize::try_from(left).unwrap_or(len)))
    }
}

/// The pages of a mapped file, each believed when its checksum is right. What was believed once is believed by this view
/// from then on, so a view lasts as long as one question takes.
pub struct View<'m> {
    map: &'m Map,
    /// Bytes of pages; their checksums lie behind.
    content: u64,
    /// A bit for each page.
    believed: RefCell<Vec<u64>>,
}

impl<'m> View<'m> {
    /// Of the first `content` bytes of a file, a multiple of [`PAGE`], behind which a checksum of 4 bytes for each page lies.
    pub(super) fn new(map: &'m Map, content: u64) -> Self {
        let pages = content / PAGE as u64;
        Self { map, content, believed: RefCell::new(vec![0; pages.div_ceil(64) as usize]) }
    }

    fn believe(&self, page: u64) -> Result<(), Bad> {
        let (word, bit) = ((page / 64) as usize, 1u64 << (page % 64));
        let mut believed = self.believed.borrow_mut();
        let word = believed.get_mut(word).ok_or(Bad { position: page * PAGE as u64, what: "it ends too early" })?;
        if *word & bit != 0 {
            return Ok(());
        }
        let position = page * PAGE as u64;
        let gone = |_| Bad { position, what: "it cannot be read" };
        let said = self.map.get(self.content + page * 4, 4).map_err(gone)?;
        let said = Reader(said).u32().map_err(Bad::at(position))?;
        if crc32fast::hash(self.map.get(position, PAGE).map_err(gone)?) != said {
            return Err(Bad { position, what: "the checksum of its page is wrong" });
        }
        *word |= bit;
        Ok(())
    }

    /// Tells the system that these bytes are about to be read, and so the checksums of their pages.
    pub(super) fn expect(&self, at: u64, len: u64) {
        self.map.expect_range(at, len);
        self.map.expect_range(self.content + at / PAGE as u64 * 4, len / PAGE as u64 * 4 + 4);
    }

    /// Whether everything could be read that was looked at.
    pub(super) fn check(&self) -> Result<(), Error> {
        Ok(self.map.check(0, self.content)?)
    }
}

impl Bytes for View<'_> {
    fn bytes(&self, at: u64, len: usize) -> Result<&[u8], Bad> {
        let end = at.checked_add(len as u64).filter(|end| *end <= self.content);
        let end = end.ok_or(Bad { position: at, what: "it ends too early" })?;
        for page in at / PAGE as u64..end.div_ceil(PAGE as u64) {
            self.believe(page)?;
        }
        self.map.get(at, len).map_err(|_| Bad { position: at, what: "it cannot be read" })
    }

    fn up_to(&self, at: u64, len: usize) -> Result<&[u8], Bad> {
        let left = self.content.saturating_sub(at);
        self.bytes(at, len.min(usize::try_from(left).unwrap_or(len)))
    }
}
