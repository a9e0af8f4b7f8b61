//! `streamdb query`: searches as the HTTP interface answers them, one, or one for each line of standard input.

mod line;

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Instant;

use streamdb_derive::object;
use streamdb_http_api::{Detail, SearchRow, search_text};
use streamdb_query::{Filter, LossLine, ObjectLine, StreamRow, Zone};
use streamdb_storage::Store;
use streamdb_types::{Oid, Timestamp};

use self::line::{Pair, Wanted};
use super::{Error, get, json_line};
use crate::cli::Query;
use crate::config::Config;
use crate::output::{Output, complain};

/// Most pairs that are remembered; with one more, all of them are forgotten.
const PAIRS: usize = 100_000;
/// Most bytes of a line that are looked at; the rest of it is skipped.
const LINE: u64 = 64 << 10;
/// How far from the time of a line its connection may have begun, in seconds.
const AROUND: i64 = 60;

pub(super) fn run(args: &Query) -> Result<ExitCode, Error> {
    let zone = Config::load(args.config.as_deref())?.http.zone;
    let filter = filter(args, &zone)?;
    let lines = args.oid.is_none() && !filter.is_selective();
    if lines && (filter.src.addr.is_some() || filter.dst.addr.is_some() || filter.ip.is_some()) {
        let why = "an address is needed, as in --srcip 10.0.0.5: one with ! in front is not enough";
        return Err(Error::Other(why.to_owned()));
    }
    let store = Store::open(&args.data.folder)?;
    let out = Output::open(None)?;
    let mut asking = Asking { args, zone, store, out, code: ExitCode::SUCCESS };
    match args.oid {
        Some(oid) => asking.fetch(oid)?,
        None if lines => asking.lines(&mut io::stdin().lock())?,
        None => asking.search(&filter, true)?,
    }
    asking.flush()?;
    Ok(asking.code)
}

/// What the flags and words ask for.
fn filter(args: &Query, zone: &Zone) -> Result<Filter, Error> {
    let named = [
        ("srcip", &args.srcip),
        ("dstip", &args.dstip),
        ("srcport", &args.srcport),
        ("dstport", &args.dstport),
        ("start", &args.start),
        ("end", &args.end),
        ("direction", &args.direction),
        ("reason", &args.reason),
        ("filetype", &args.filetype),
        ("pcre", &args.matching),
    ];
    let mut pairs: Vec<(String, String)> =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
    pairs.push(("limit".to_owned(), args.limit.to_string()));
    pairs.push(("offset".to_owned(), args.offset.to_string()));
    pairs.push(("sort".to_owned(), u8::from(args.descending).to_string()));
    for word in &args.filters {
        // What is no pair is refused as `streams` refuses it.
        let (name, value) = match word.split_once('=') {
            Some(pair) => pair,
            None if word.contains('!') => (word.as_str(), ""),
            None => return Err(streamdb_query::FilterError::NoPair(word.clone()).into()),
        };
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(Filter::parse_at(pairs, streamdb_derive::now(), zone)?)
}

struct Asking<'a> {
    args: &'a Query,
    zone: Zone,
    store: Store,
    out: Output,
    code: ExitCode,
}

impl Asking<'_> {
    /// Reads lines to their end, and answers each.
    fn lines(&mut self, input: &mut impl BufRead) -> Result<(), Error> {
        let mut asked = Asked::default();
        let mut bytes = Vec::new();
        while read_line(input, &mut bytes).map_err(|e| Error::Other(format!("standard input: could not read: {e}")))? {
            let answered = match line::wanted(&String::from_utf8_lossy(&bytes)) {
                // A line of JSON has no place for an object's content.
                Some(Wanted::Object(_)) if self.args.json => Ok(()),
                Some(Wanted::Object(oid)) => self.fetch(oid),
                Some(Wanted::Pair(pair)) if asked.is_new(pair) => self.pair(pair),
                Some(Wanted::Pair(_)) | None => Ok(()),
            };
            match answered {
                Ok(()) => {}
                Err(error @ Error::Output { .. }) => return Err(error),
                Err(error) => {
                    complain(&error.to_string());
                    self.code = ExitCode::FAILURE;
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    fn pair(&mut self, pair: Pair) -> Result<(), Error> {
        // Read anew: what is meant by "an hour ago" moves on.
        let mut filter = filter(self.args, &self.zone)?;
        let ends = [("srcip", Some(pair.first)), ("dstip", pair.second)];
        let ends = ends.into_iter().filter_map(|(name, addr)| Some((name, addr?.to_string())));
        let ends = Filter::parse(ends)?;
        filter.src.addr = ends.src.addr;
        filter.dst.addr = ends.dst.addr;
        if let Some(time) = pair.time {
            let first = Timestamp::new(time.saturating_sub(AROUND), 0);
            // To the end of the last second.
            let last = Timestamp::new(time.saturating_add(AROUND), 999_999_999);
            filter.start = Some(filter.start.map_or(first, |start| start.max(first)));
            filter.end = Some(filter.end.map_or(last, |end| end.min(last)));
        }
        if self.args.debug {
            let second = pair.second.map(|addr| format!(" and {addr}")).unwrap_or_default();
            let time = pair.time.map(|time| format!(" around {time}")).unwrap_or_default();
            complain(&format!("searching for {}{second}{time}", pair.first));
        }
        self.search(&filter, self.args.verbose)
    }

    /// Prints what a search finds; and that it finds nothing, if wanted.
    fn search(&mut self, filter: &Filter, even_nothing: bool) -> Result<(), Error> {
        let detail = match (self.args.headers_only, self.args.verbose) {
            (true, _) => Detail::Heads,
            (false, true) => Detail::Whole,
            (false, false) => Detail::Lines,
        };
        let begun = Instant::now();
        let answer = search_text(&self.store, filter, detail, &self.zone)?;
        if self.args.debug {
            complain(&format!("{} streams in {} ms", answer.found, begun.elapsed().as_millis()));
        }
        if self.args.json {
            for row in &answer.rows {
                match row {
                    SearchRow::Object(row, loss) => {
                        let line = ObjectLine::with_verdicts(row, self.store.verdicts());
                        let loss = loss.as_ref().map(LossLine::of);
                        json_line(&mut self.out, &ObjectLine { loss, ..line })?;
                    }
                    SearchRow::Stream(stream, loss) => {
                        let loss = loss.as_ref().map(LossLine::of);
                        json_line(&mut self.out, &StreamRow { loss, ..StreamRow::of(stream) })?;
                    }
                }
            }
            for trouble in &answer.troubles {
                complain(trouble);
                self.code = ExitCode::FAILURE;
            }
        } else if answer.found > 0 || even_nothing || !answer.troubles.is_empty() {
            let failed = self.out.error();
            self.out.write_all(answer.text.as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    fn fetch(&mut self, oid: Oid) -> Result<(), Error> {
        let begun = Instant::now();
        get::write_object(&mut object(&self.store, oid)?, oid, &mut self.out)?;
        if self.args.debug {
            complain(&format!("{oid} in {} ms", begun.elapsed().as_millis()));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let failed = self.out.error();
        self.out.flush().map_err(failed)
    }
}

/// The pairs that were asked for, and around which time, if not for all times.
#[derive(Default)]
struct Asked(HashMap<(IpAddr, Option<IpAddr>), Option<i64>>);

impl Asked {
    /// Whether what a line is about was not in what was asked for before.
    fn is_new(&mut self, pair: Pair) -> bool {
        let ends = (pair.first, pair.second);
        match (self.0.get(&ends), pair.time) {
            (Some(None), _) => return false,
            (Some(Some(before)), Some(time)) if time.abs_diff(*before) <= AROUND.unsigned_abs() => return false,
            _ => {}
        }
        if self.0.len() >= PAIRS && !self.0.contains_key(&ends) {
            self.0.clear();
        }
        self.0.insert(ends, pair.time);
        true
    }
}

/// The next line, or its begin if it is long; whether there was one.
fn read_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    let read = input.by_ref().take(LINE).read_until(b'\n', bytes)?;
    if read as u64 == LINE && bytes.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(first: &str, time: Option<i64>) -> Pair {
        Pair { first: first.parse().unwrap(), second: None, time }
    }

    #[test]
    fn what_was_asked_for_is_not_asked_again() {
        let mut asked = Asked::default();
        assert!(asked.is_new(pair("10.0.0.5", Some(1000))));
        assert!(!asked.is_new(pair("10.0.0.5", Some(1060))));
        assert!(asked.is_new(pair("10.0.0.5", Some(1061))));
        assert!(asked.is_new(pair("10.0.0.5", None)));
        assert!(!asked.is_new(pair("10.0.0.5", Some(5000))));
        for n in 0..PAIRS {
            asked.is_new(pair(&std::net::Ipv4Addr::from(u32::try_from(n).unwrap()).to_string(), None));
            assert!(asked.0.len() <= PAIRS);
        }
        assert!(asked.is_new(pair("10.0.0.5", None)), "it is forgotten");
    }

    #[test]
    fn long_lines_are_cut_and_the_next_one_is_whole() {
        let long = [vec![b'x'; 100_000], b"\nnext\nlast".to_vec()].concat();
        let (mut input, mut bytes) = (long.as_slice(), Vec::new());
        let mut read = || read_line(&mut input, &mut bytes).unwrap().then(|| bytes.clone());
        assert_eq!(read().unwrap().len() as u64, LINE);
        assert_eq!((read().unwrap(), read().unwrap(), read()), (b"next\n".to_vec(), b"last".to_vec(), None));
    }
}
