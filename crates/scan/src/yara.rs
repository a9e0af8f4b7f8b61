//! Rules of YARA, run by a thread of their own: should a content bring the engine down, that costs this content its verdict alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use streamdb_types::{Scanner, Verdict};
use yara_x::errors::CompileError;
use yara_x::{Compiler, Rules, SourceCode};

use crate::error::Error;
use crate::scanners::{Outcome, rule_files};

/// Most matches of one pattern that are looked for.
const MATCHES: usize = 1000;
/// How long the engine may go on when its time is up: it asks once a second, and not in every loop.
const GRACE: Duration = Duration::from_secs(10);

/// Compiled rules.
#[derive(Debug)]
pub(crate) struct Yara {
    rules: Arc<Rules>,
    fingerprint: [u8; 32],
    timeout: Duration,
    running: Option<Running>,
}

/// The thread that scans.
#[derive(Debug)]
struct Running {
    contents: SyncSender<Arc<Vec<u8>>>,
    outcomes: Receiver<Outcome>,
}

impl Yara {
    /// Compiles rules: of each file by itself, so that equal names in two files do not clash. A file with a mistake is left out
    /// when `mistake` says so.
    pub(crate) fn load(
        paths: &[PathBuf],
        timeout: Duration,
        mistake: &mut dyn FnMut(Error) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut compiler = Compiler::new();
        let mut digest = Sha256::new();
        for path in paths {
            for file in rule_files(path)? {
                let read = std::fs::read(&file);
                let read = read.map_err(|source| Error::Read { path: file.clone(), what: "rules", source });
                let source = match read {
                    Ok(source) => source,
                    Err(error) => {
                        mistake(error)?;
                        continue;
                    }
                };
                if let Some(folder) = file.parent() {
                    compiler.add_include_dir(folder);
                }
                let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
                compiler.new_namespace(&format!("{name}\n{}", file.display()));
                let code = SourceCode::from(source.as_slice()).with_origin(file.display().to_string());
                match compiler.add_source(code) {
                    Ok(_) => digest.update(&source),
                    Err(error) => mistake(said(&error, file, &source))?,
                }
            }
        }
        let rules = Arc::new(compiler.build());
        Ok(Self { rules, fingerprint: digest.finalize().into(), timeout, running: None })
    }

    /// What tells these rules from others.
    pub(crate) const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// What the rules say of a content.
    pub(crate) fn scan(&mut self, content: &Arc<Vec<u8>>) -> Result<Outcome, Error> {
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let sent = running.contents.send(Arc::clone(content));
        let outcome = match sent {
            Ok(()) => running.outcomes.recv_timeout(self.timeout + GRACE),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        Ok(match outcome {
            Ok(outcome) => {
                self.running = Some(running);
                outcome
            }
            // The thread ends by itself when it is done, if ever; the next content gets another one.
            Err(_) => Outcome::default(),
        })
    }

    fn start(&self) -> Result<Running, Error> {
        let (contents, to_scan) = sync_channel::<Arc<Vec<u8>>>(1);
        let (done, outcomes) = sync_channel(1);
        let (rules, timeout) = (Arc::clone(&self.rules), self.timeout);
        let run = move || {
            let mut scanner = yara_x::Scanner::new(&rules);
            scanner.set_timeout(timeout).max_matches_per_pattern(MATCHES);
            for content in to_scan {
                let outcome = match scanner.scan(&content) {
                    Ok(results) => {
                        let verdicts = results.matching_rules().map(|rule| verdict(&rule)).collect();
                        Outcome { verdicts, whole: true }
                    }
                    Err(_) => Outcome::default(),
                };
                if done.send(outcome).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("yara".into()).spawn(run);
        started.map_err(|error| Error::Engine(format!("no thread for it: {error}")))?;
        Ok(Running { contents, outcomes })
    }
}

/// A rule that matches: its file's name and its tags are what more is said.
fn verdict(rule: &yara_x::Rule<'_, '_>) -> Verdict {
    let file = rule.namespace().split('\n').next().unwrap_or_default();
    let tags = rule.tags().map(|tag| tag.identifier());
    let details: Vec<&str> = std::iter::once(file).chain(tags).collect();
    Verdict { scanner: Scanner::Yara, name: rule.identifier().to_owned(), details: details.join(" ") }
}

/// What is wrong with a rule, in one sentence with its line.
fn said(error: &CompileError, path: PathBuf, source: &[u8]) -> Error {
    let mut what = error.title().to_owned();
    let mut line = 1;
    if let Some(label) = error.labels().next() {
        if !label.text().is_empty() {
            what = format!("{what}: {}", label.text());
        }
        if label.origin().is_none_or(|origin| path.as_os_str() == origin) {
            let before = source.iter().take(label.span().start());
            line += before.filter(|byte| **byte == b'\n').count();
        } else if let Some(origin) = label.origin() {
            what = format!("{what} (in {origin}, which it includes)");
        }
    }
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Rule { path, line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "rule eicar : test av { strings: $a = \"EICAR-STANDARD\" condition: $a }\n\
                         import \"pe\"\nrule program { condition: pe.is_pe }\n";

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("streamdb-yara-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn rules_match_with_their_tags() {
        let folder = folder("match", &[("a.yar", RULES), ("b.yara", "rule eicar { condition: filesize == 3 }")]);
        let mut yara = Yara::load(std::slice::from_ref(&folder), LONG, &mut Err).unwrap();
        let mut scan = |bytes: &[u8]| {
            let outcome = yara.scan(&Arc::new(bytes.to_vec())).unwrap();
            assert!(outcome.whole);
            outcome.verdicts.iter().map(|v| format!("{v} {}", v.details)).collect::<Vec<_>>()
        };
        assert_eq!(scan(b"EICAR-STANDARD-ANTIVIRUS"), ["yara:eicar a.yar test av"]);
        assert_eq!(scan(b"abc"), ["yara:eicar b.yara"]);
        assert!(scan(b"").is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_mistake_is_one_sentence_and_the_other_files_count() {
        let folder = folder("mistake", &[("a.yar", RULES), ("b.yar", "rule x {\n  condition:\n    $a\n}\n")]);
        let paths = std::slice::from_ref(&folder);
        let said = Yara::load(paths, LONG, &mut Err).unwrap_err().to_string();
        assert!(said.contains("b.yar, line 3: ") && !said.contains('\n'), "{said}");
        let mut told = Vec::new();
        let leave_out = &mut |error: Error| {
            told.push(error.to_string());
            Ok(())
        };
        let mut yara = Yara::load(paths, LONG, leave_out).unwrap();
        assert_eq!(told, [said]);
        assert_eq!(yara.scan(&Arc::new(b"EICAR-STANDARD".to_vec())).unwrap().verdicts.len(), 1);
        std::fs::write(folder.join("b.yar"), "nonsense").unwrap();
        let said = Yara::load(paths, LONG, &mut Err).unwrap_err().to_string();
        assert!(said.contains("b.yar, line 1: ") && !said.contains('\n'), "{said}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_content_that_takes_too_long_is_given_up() {
        let slow =
            "rule slow { condition: for all i in (0..10000000) : (for all j in (0..10000000) : (uint8(i + j) != 7)) }";
        let folder = folder("slow", &[("slow.yar", slow)]);
        let mut yara = Yara::load(std::slice::from_ref(&folder), Duration::from_secs(1), &mut Err).unwrap();
        let outcome = yara.scan(&Arc::new(vec![1; 20_000_001])).unwrap();
        assert_eq!(outcome, Outcome::default());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
