//! `streamdb submit`: objects to the targets, by their oids, and contents by their digests; and what became of those before.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_storage::Store;
use streamdb_submit::{Job, Queue, Receipt, Rules, State, Submissions};

use super::{Error, json_line};
use crate::cli::{Submit, Wanted};
use crate::config::Config;
use crate::output::{Output, complain, printable};

pub(super) fn run(args: &Submit) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    if args.list {
        return list(args);
    }
    if args.drop_failed {
        // What waits for a target that is there no more would wait for ever.
        let there = match &args.config {
            Some(config) => Some(Config::load(Some(config))?.submit.map(|submit| submit.names()).unwrap_or_default()),
            None => None,
        };
        let dropped = if Queue::is_there(&args.data.folder) {
            Queue::open(&args.data.folder)?.drop_failed(there.as_deref())?
        } else {
            0
        };
        return say(&[format!("{dropped} submissions were forgotten")]);
    }
    let config = Config::load(args.config.as_deref())?;
    let settings = config.submit.ok_or_else(|| {
        Error::Other(
            "no target is configured: give a file with --config that has a [[submit.target]], or [submit] with url or folder"
                .to_owned(),
        )
    })?;
    let submissions = Submissions::open(&args.data.folder, settings)?;
    // Whoever names an object by its oid, or a content by its digest, knows what it is: an incomplete one is taken too.
    let rules = Rules { incomplete: true, again: args.again };
    let mut receipts = Vec::new();
    let mut code = ExitCode::SUCCESS;
    let (mut oids, mut contents) = (Vec::new(), Vec::new());
    for wanted in &args.wanted {
        match wanted {
            Wanted::Object(oid) => oids.push(*oid),
            Wanted::Content(hash) => contents.push(*hash),
        }
    }
    let mut answers = submissions.submit_all(&store, &oids, rules);
    answers.extend(submissions.submit_contents(&store, &contents, rules));
    for answer in answers {
        match answer {
            Ok(receipt) => {
                if receipt.lacks_room() {
                    code = ExitCode::FAILURE;
                }
                receipts.push(receipt);
            }
            Err(error) => {
                complain(&error.to_string());
                code = ExitCode::FAILURE;
            }
        }
    }
    say(&receipts.iter().map(Receipt::to_string).collect::<Vec<_>>())?;
    if receipts.iter().any(Receipt::is_new) || args.send {
        let mut gave_up = false;
        let mut told = |sentence: &str| {
            complain(sentence);
            gave_up = true;
        };
        if !submissions.sender().round(&mut told)? {
            complain("another process sends for this data folder; it sends these too");
        }
        if gave_up {
            code = ExitCode::FAILURE;
        }
        let (jobs, _) = submissions.jobs()?;
        let new = |job: &&Job| receipts.iter().any(|receipt| receipt.is_new() && receipt.hash == job.hash);
        let waits = |job: &&Job| args.send && matches!(job.state, State::Waits { .. });
        say(&jobs.iter().filter(|job| new(job) || waits(job)).map(sentence).collect::<Vec<_>>())?;
    }
    Ok(code)
}

/// What became of one, for people.
fn sentence(job: &Job) -> String {
    let Job { target, tries, .. } = job;
    let name = job.name();
    match &job.state {
        State::Waits { why, .. } if why.is_empty() => format!("{name}: waits for {target}"),
        State::Waits { due, why } => {
            format!("{name}: waits for {target}, try {} not before {due}: {why}", tries + 1)
        }
        State::Sent { at, said, link, .. } if link.is_empty() => format!("{name}: sent to {target} at {at}: {said}"),
        State::Sent { at, said, link, .. } => format!("{name}: sent to {target} at {at}, see {link}: {said}"),
        State::Failed { at, why, .. } if job.was_not_taken() => {
            format!("{name}: not taken for {target} at {at}: {why}")
        }
        State::Failed { at, why, .. } => format!("{name}: given up at {at} after {tries} tries at {target}: {why}"),
    }
}

fn say(sentences: &[String]) -> Result<ExitCode, Error> {
    let mut out = Output::open(None)?;
    let error = out.error();
    let mut written = sentences.iter().try_for_each(|sentence| writeln!(out, "{}", printable(sentence)));
    written = written.and_then(|()| out.flush());
    written.map_err(error)?;
    Ok(ExitCode::SUCCESS)
}

/// A submission as a row.
#[derive(Serialize)]
struct Row<'j> {
    state: &'static str,
    target: &'j str,
    /// The rule that chose it; absent where a person did.
    #[serde(skip_serializing_if = "str::is_empty")]
    rule: &'j str,
    oid: String,
    /// Whether it is joined of that object and others; then its digest names it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    joined: bool,
    sha256: String,
    size: u64,
    complete: bool,
    queued: String,
    tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    link: &'j str,
    #[serde(skip_serializing_if = "str::is_empty")]
    task: &'j str,
    #[serde(skip_serializing_if = "str::is_empty")]
    said: &'j str,
}

impl<'j> Row<'j> {
    fn of(job: &'j Job) -> Self {
        let (state, due, at, said) = match &job.state {
            State::Waits { due, why } => ("waits", Some(due.to_string()), None, why),
            State::Sent { at, said, .. } => ("sent", None, Some(at.to_string()), said),
            State::Failed { at, why, .. } => ("failed", None, Some(at.to_string()), why),
        };
        let (link, task) = match &job.state {
            State::Sent { link, task, .. } => (link.as_str(), task.as_str()),
            _ => ("", ""),
        };
        Self {
            state,
            target: job.target.as_str(),
            rule: &job.rule,
            oid: job.oid.to_string(),
            joined: job.joined,
            sha256: job.hash.to_string(),
            size: job.size,
            complete: job.complete,
            queued: job.queued.to_string(),
            tries: job.tries,
            due,
            at,
            link,
            task,
            said,
        }
    }
}

fn list(args: &Submit) -> Result<ExitCode, Error> {
    if !Queue::is_there(&args.data.folder) {
        return Ok(ExitCode::SUCCESS);
    }
    let (jobs, damaged) = Queue::open(&args.data.folder)?.jobs()?;
    if args.json {
        let mut out = Output::open(None)?;
        jobs.iter().try_for_each(|job| json_line(&mut out, &Row::of(job)))?;
        let error = out.error();
        out.flush().map_err(error)?;
    } else {
        let line = |job: &Job| format!("{}, {} bytes, sha256 {}", sentence(job), job.size, job.hash);
        say(&jobs.iter().map(line).collect::<Vec<_>>())?;
    }
    if damaged == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!(
        "{}: {damaged} lines of the record are damaged",
        args.data.folder.join("queue/record").display()
    ));
    Ok(ExitCode::FAILURE)
}
