//! All that the settings name, as one scanner.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use streamdb_types::{Digests, Scanner, Verdict};

use crate::clamd::{Answer, Clamd};
use crate::error::Error;
use crate::hashes::HashList;
use crate::settings::Settings;
#[cfg(feature = "yara")]
use crate::yara::Yara;

/// How often it is asked whether rules and lists have changed, and which signatures clamd has.
const LOOK: Duration = Duration::from_secs(10);

/// A clamd that is there and goes away so many times in a row with one content in its hands does so because of that: the content is given up,
/// as all others wait behind it.
const TRIES: u32 = 5;

/// A content with which clamd went away, and how many times.
#[derive(Clone, Copy, Debug, Default)]
struct Failed {
    sha256: [u8; 32],
    times: u32,
}

impl Failed {
    fn again(self, content: &[u8]) -> Self {
        let sha256 = Sha256::digest(content).into();
        Self { sha256, times: if self.sha256 == sha256 { self.times + 1 } else { 1 } }
    }
}

/// What came of looking at a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was found.
    pub verdicts: Vec<Verdict>,
    /// Whether every scanner looked at all that it was given.
    pub whole: bool,
}

/// Rules, lists and a clamd, as far as the settings have them.
#[derive(Debug)]
pub struct Scanners {
    settings: Settings,
    lists: Vec<(PathBuf, HashList)>,
    clamd: Option<Clamd>,
    /// What clamd said that it is.
    version: Option<String>,
    #[cfg(feature = "yara")]
    yara: Option<Yara>,
    /// When the files changed last, as far as it was looked.
    stamp: Vec<(PathBuf, Option<SystemTime>, u64)>,
    looked: Instant,
    /// With which content clamd failed last, though it was there just before.
    failed: Failed,
    /// When clamd was asked for its version.
    asked: Option<Instant>,
    by: u64,
}

impl Scanners {
    /// Reads rules and lists. Whether clamd is there is not asked.
    ///
    /// # Errors
    /// For the first file that cannot be read, or has a mistake.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        #[cfg(not(feature = "yara"))]
        if let Some(rules) = settings.rules.first() {
            return Err(Error::NoEngine(rules.clone()));
        }
        let stamp = stamp(&settings);
        let load = |path: &PathBuf| Ok((path.clone(), HashList::load(path)?));
        let mut scanners = Self {
            lists: settings.hash_lists.iter().map(load).collect::<Result<_, Error>>()?,
            clamd: settings.clamd.clone().map(|address| Clamd::new(address, settings.timeout)),
            version: None,
            #[cfg(feature = "yara")]
            yara: match settings.rules.is_empty() {
                true => None,
                false => Some(Yara::load(&settings.rules, settings.timeout, &mut Err)?),
            },
            settings,
            stamp,
            looked: Instant::now(),
            failed: Failed::default(),
            asked: None,
            by: 0,
        };
        scanners.by = scanners.fingerprint();
        Ok(scanners)
    }

    /// Reads rules and lists again when they have changed: where a file has a mistake by then, that is said and the file left
    /// out, a list that cannot be read stays as it was, and the others count.
    pub fn look_again(&mut self, say: &mut dyn FnMut(&str)) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.reload(say);
    }

    fn reload(&mut self, say: &mut dyn FnMut(&str)) {
        self.looked = Instant::now();
        let stamp = stamp(&self.settings);
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        for (path, list) in &mut self.lists {
            match HashList::load(path) {
                Ok(new) => *list = new,
                Err(error) => say(&format!("{error}; this list stays as it was")),
            }
        }
        #[cfg(feature = "yara")]
        if !self.settings.rules.is_empty() {
            let without = &mut |error: Error| {
                say(&format!("{error}; the other rule files count"));
                Ok(())
            };
            match Yara::load(&self.settings.rules, self.settings.timeout, without) {
                Ok(new) => self.yara = Some(new),
                Err(error) => say(&format!("{error}; the rules stay as they were")),
            }
        }
        self.by = self.fingerprint();
    }

    /// By what is scanned now: rules, lists, and what clamd said last that it is.
    pub const fn by(&self) -> u64 {
        self.by
    }

    /// Which scanners there are, bit by bit.
    pub const fn kinds(&self) -> u8 {
        let lists = if self.lists.is_empty() { 0 } else { Scanner::HashList.bit() };
        let clamd = if self.clamd.is_some() { Scanner::Clamd.bit() } else { 0 };
        let rules = if self.has_rules() { Scanner::Yara.bit() } else { 0 };
        lists | clamd | rules
    }

    /// Whether contents have to be read: digests alone do not tell all that is asked.
    pub const fn need_content(&self) -> bool {
        self.clamd.is_some() || self.has_rules()
    }

    #[cfg(feature = "yara")]
    const fn has_rules(&self) -> bool {
        self.yara.is_some()
    }

    #[cfg(not(feature = "yara"))]
    #[expect(clippy::unused_self, reason = "with the feature it is asked")]
    const fn has_rules(&self) -> bool {
        false
    }

    /// Whether what was in the store before anybody scanned it is scanned, too.
    pub const fn past(&self) -> bool {
        self.settings.past
    }

    /// How long one scanner may take for one content.
    pub const fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Most bytes of a content that are looked at.
    pub const fn max_bytes(&self) -> u64 {
        self.settings.max_bytes
    }

    /// What the lists say of a content. It costs nothing to ask again.
    pub fn of_digests(&self, digests: &Digests) -> Vec<Verdict> {
        self.lists.iter().filter_map(|(_, list)| list.look(digests)).collect()
    }

    /// What rules and clamd say of the bytes of a content.
    ///
    /// # Errors
    /// When clamd is not there, or the engine does not run: the content is to be scanned later.
    pub fn of_content(&mut self, content: &Arc<Vec<u8>>) -> Result<Outcome, Error> {
        let mut outcome = Outcome { verdicts: Vec::new(), whole: true };
        // What may not be there comes first, so that nothing is done twice.
        if self.clamd.is_some() {
            self.ask_version()?;
        }
        // In nothing there is nothing to find.
        if let Some(clamd) = self.clamd.as_ref().filter(|_| !content.is_empty()) {
            match clamd.scan(content) {
                Ok(Answer::Clean) => {}
                Ok(Answer::Found(verdict)) => outcome.verdicts.push(verdict),
                Ok(Answer::TooLong | Answer::GaveUp) => outcome.whole = false,
                Err(error @ Error::Left { .. }) => {
                    // Before the next content, or this one again, it is asked whether it is there.
                    self.asked = None;
                    self.failed = Failed::again(self.failed, content);
                    if self.failed.times < TRIES {
                        return Err(error);
                    }
                    outcome.whole = false;
                }
                Err(error) => {
                    self.asked = None;
                    return Err(error);
                }
            }
        }
        #[cfg(feature = "yara")]
        if let Some(yara) = &mut self.yara {
            let found = yara.scan(content)?;
            outcome.verdicts.extend(found.verdicts);
            outcome.whole &= found.whole;
        }
        Ok(outcome)
    }

    /// Asks clamd who it is, now and then.
    ///
    /// # Errors
    /// When it is not there.
    pub fn ask_version(&mut self) -> Result<(), Error> {
        let Some(clamd) = &self.clamd else { return Ok(()) };
        if self.asked.is_none_or(|asked| asked.elapsed() > LOOK) {
            let version = clamd.version().inspect_err(|_| self.asked = None)?;
            self.asked = Some(Instant::now());
            if self.version.as_ref() != Some(&version) {
                self.version = Some(version);
                self.by = self.fingerprint();
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        let mut digest = Sha256::new();
        self.lists.iter().for_each(|(_, list)| list.tell(&mut |bytes| digest.update(bytes)));
        digest.update(self.version.as_deref().unwrap_or_default());
        #[cfg(feature = "yara")]
        if let Some(yara) = &self.yara {
            digest.update(yara.fingerprint());
        }
        let digest = digest.finalize();
        digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// What of the files would be another if they had changed.
fn stamp(settings: &Settings) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let facts = |path: PathBuf| {
        let facts = std::fs::metadata(&path);
        let (changed, length) = facts.map_or((None, 0), |facts| (facts.modified().ok(), facts.len()));
        (path, changed, length)
    };
    let rules = settings.rules.iter().flat_map(|path| rule_files(path).unwrap_or_else(|_| vec![path.clone()]));
    rules.chain(settings.hash_lists.iter().cloned()).map(facts).collect()
}

/// Most files of rules in a folder, and how deep.
const FILES: usize = 10_000;
const DEEP: usize = 8;

/// The rule files that a path names: itself, or all below it, in order.
pub(crate) fn rule_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |path: &Path, source| Error::Read { path: path.to_owned(), what: "rules", source };
    let facts = std::fs::metadata(path).map_err(|source| wrong(path, source))?;
    if !facts.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|source| wrong(&folder, source))? {
            let entry = entry.map_err(|source| wrong(&folder, source))?;
            let path = entry.path();
            let is_rule =
                path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yar") || end.eq_ignore_ascii_case("yara"));
            // A link to a folder is not followed, so that this ends.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if depth < DEEP {
                    folders.push((path, depth + 1));
                }
            } else if is_rule && files.len() < FILES {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::NoRules(path.to_owned()));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("streamdb-scan-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn lists_are_read_again_when_they_change() {
        let folder = folder("lists");
        let path = folder.join("bad.txt");
        std::fs::write(&path, "00".repeat(16)).unwrap();
        let settings = Settings { hash_lists: vec![path.clone()], ..Settings::default() };
        let mut scanners = Scanners::open(settings).unwrap();
        let digests = |byte| Digests { md5: [byte; 16], sha1: [0; 20], sha256: [0; 32] };
        assert!(!scanners.need_content() && scanners.of_digests(&digests(1)).is_empty());
        assert_eq!(scanners.of_digests(&digests(0))[0].to_string(), "hash-list:bad.txt");
        let before = scanners.by();
        let mut said = Vec::new();
        scanners.reload(&mut |what| said.push(what.to_owned()));
        assert_eq!(scanners.by(), before);
        std::fs::write(&path, "nonsense").unwrap();
        scanners.reload(&mut |what| said.push(what.to_owned()));
        assert!(said.len() == 1 && said[0].ends_with("this list stays as it was"), "{said:?}");
        assert_eq!((scanners.of_digests(&digests(0)).len(), scanners.by()), (1, before));
        std::fs::write(&path, format!("# new\n{}", "01".repeat(16))).unwrap();
        scanners.reload(&mut |what| said.push(what.to_owned()));
        assert_eq!((scanners.of_digests(&digests(0)).len(), scanners.of_digests(&digests(1)).len()), (0, 1));
        assert!(scanners.by() != before && said.len() == 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(not(feature = "yara"))]
    #[test]
    fn rules_without_an_engine_are_refused_in_one_sentence() {
        let settings = Settings { rules: vec!["/etc/rules".into()], ..Settings::default() };
        let said = Scanners::open(settings).unwrap_err().to_string();
        assert!(
            said.starts_with("/etc/rules: this streamdb has no engine for rules of YARA; build it with "),
            "{said}"
        );
    }

    #[test]
    fn a_content_that_brings_clamd_down_is_given_up_after_some_tries() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let clamd = crate::Address::Tcp(listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 9];
                stream.read_exact(&mut asked).unwrap();
                if asked == *b"zVERSION\0" {
                    stream.write_all(b"ClamAV 1\0").unwrap();
                }
            }
        });
        let mut scanners = Scanners::open(Settings { clamd: Some(clamd), ..Settings::default() }).unwrap();
        for content in [b"one", b"two"] {
            let content = Arc::new(content.to_vec());
            for _ in 1..TRIES {
                assert!(scanners.of_content(&content).is_err());
            }
            assert_eq!(scanners.of_content(&content).unwrap(), Outcome::default());
        }
    }

    #[test]
    fn a_content_waits_for_a_clamd_that_cannot_look_however_often_it_says_so() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let clamd = crate::Address::Tcp(listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 9];
                stream.read_exact(&mut asked).unwrap();
                if asked == *b"zVERSION\0" {
                    stream.write_all(b"ClamAV 1\0").unwrap();
                } else {
                    stream.read_exact(&mut [0; 12]).unwrap();
                    stream.write_all(b"stream: Can't write to file ERROR\0").unwrap();
                }
            }
        });
        let mut scanners = Scanners::open(Settings { clamd: Some(clamd), ..Settings::default() }).unwrap();
        for _ in 0..3 * TRIES {
            assert!(scanners.of_content(&Arc::new(b"one".to_vec())).is_err());
        }
        assert!(scanners.of_content(&Arc::default()).unwrap().whole, "nothing is not sent");
    }

    #[test]
    fn rule_files_are_found_below_a_folder() {
        let folder = folder("rules");
        let said = rule_files(&folder).unwrap_err().to_string();
        assert!(said.ends_with("there is no rule file in this folder; their names end in .yar or .yara"), "{said}");
        std::fs::create_dir(folder.join("sub")).unwrap();
        for name in ["b.yar", "sub/a.YARA", "x.txt"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let found = rule_files(&folder).unwrap();
        assert_eq!(found, [folder.join("b.yar"), folder.join("sub/a.YARA")]);
        assert_eq!(rule_files(&folder.join("x.txt")).unwrap().len(), 1, "who names a file means it");
        assert!(rule_files(&folder.join("none")).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
