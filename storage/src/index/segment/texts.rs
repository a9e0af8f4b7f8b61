//! The strings of an index file.

use std::cmp::Ordering;
use std::ops::Range;

use super::Reading;
use crate::index::class::Class;
use crate::index::fold;
use crate::index::layout::Lexicon;
use crate::index::view::{Bad, Bytes};

impl Reading<'_> {
    /// How many strings a lexicon has.
    pub fn strings(&self, lexicon: Lexicon) -> u32 {
        self.entries(lexicon.ends(), 8) as u32
    }

    /// A string of a lexicon.
    pub fn string(&self, lexicon: Lexicon, n: u32) -> Result<&[u8], Bad> {
        let (at, len) = self.place_of(lexicon, n..n.saturating_add(1))?;
        self.view.bytes(at, len as usize)
    }

    /// Where the strings of a range begin, and how many bytes they have.
    fn place_of(&self, lexicon: Lexicon, strings: Range<u32>) -> Result<(u64, u64), Bad> {
        let end = |n: u32| match n.checked_sub(1) {
            Some(before) => self.number(lexicon.ends(), before.into(), 8),
            None => Ok(0),
        };
        let (start, end) = (end(strings.start)?, end(strings.end)?);
        let (at, len) = self.segment.header.section(lexicon.bytes());
        if start > end || end > len {
            return Err(Bad { position: at, what: "a text has no possible place or length" });
        }
        Ok((at + start, end - start))
    }

    /// How many bytes the texts of a range have.
    pub fn text_bytes(&self, texts: Range<u32>) -> Result<u64, Bad> {
        Ok(self.place_of(Lexicon::Texts, texts)?.1)
    }

    /// Calls with the texts of a range in whose bytes, or those from them to later ones, `find` finds something, as long as
    /// it says to go on, and so does `go_on`, which is asked all the while. `find` is given the bytes of many texts, one behind
    /// the other, and where to begin.
    pub fn texts_with(
        &self,
        texts: Range<u32>,
        find: &dyn Fn(&[u8], usize) -> Option<usize>,
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(u32, &[u8]) -> bool,
    ) -> Result<(), Bad> {
        let (mut from, mut asked_for) = (texts.start, 0);
        while from < texts.end && go_on() {
            let (at, _) = self.place_of(Lexicon::Texts, from..from)?;
            let to = self.texts_until(from..texts.end, at + Self::STRETCH)?.max(from + 1);
            let (at, len) = self.place_of(Lexicon::Texts, from..to)?;
            // What comes then is read from the disk while this is gone through.
            if at + len > asked_for {
                asked_for = at + len + Self::AHEAD;
                self.view.expect(at, asked_for - at);
            }
            let bytes = self.view.bytes(at, len as usize)?;
            let mut begin = 0;
            while let Some(found) = find(bytes, begin) {
                let n = self.texts_until(from..to, at + found as u64)?;
                let (start, len) = self.place_of(Lexicon::Texts, n..n.saturating_add(1))?;
                let start = start.saturating_sub(at) as usize;
                let end = start.saturating_add(len as usize);
                let text = bytes.get(start..end).filter(|_| end > begin);
                if !each(n, text.ok_or(Bad { position: at, what: "a text has no possible place or length" })?) {
                    return Ok(());
                }
                begin = end;
            }
            from = to;
        }
        Ok(())
    }

    /// Bytes of texts that are gone through at once, and of those behind them that are asked for.
    const STRETCH: u64 = 64 << 10;
    const AHEAD: u64 = 1 << 20;

    /// The first text of a range that ends behind this place in the file.
    fn texts_until(&self, texts: Range<u32>, at: u64) -> Result<u32, Bad> {
        let (start, _) = self.segment.header.section(Lexicon::Texts.bytes());
        let n = Self::partition((texts.end - texts.start).into(), |n| {
            let end = self.number(Lexicon::Texts.ends(), u64::from(texts.start) + n, 8)?;
            Ok(start.saturating_add(end) <= at)
        })?;
        Ok(texts.start + n as u32)
    }

    /// The numbers of the texts that begin with these bytes, upper and lower case alike; they are in lower case.
    pub fn texts_with_prefix(&self, prefix: &[u8]) -> Result<Range<u32>, Bad> {
        let count = u64::from(self.strings(Lexicon::Texts));
        let beside = |n: u64| Ok::<_, Bad>(fold::beside_prefix(self.string(Lexicon::Texts, n as u32)?, prefix));
        let from = Self::partition(count, |n| Ok(beside(n)? == Ordering::Less))?;
        let to = Self::partition(count, |n| Ok(beside(n)? != Ordering::Greater))?;
        Ok(from as u32..(to as u32).max(from as u32))
    }

    pub(super) fn text(&self, value: u64) -> Result<Option<String>, Bad> {
        let Some(n) = value.checked_sub(1) else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(self.string(Lexicon::Texts, n as u32)?).into_owned()))
    }

    /// A class, by its number.
    pub fn class(&self, n: u32) -> Result<Class, Bad> {
        Class::decode(self.string(Lexicon::Classes, n)?).map_err(Bad::at(0))
    }
}
