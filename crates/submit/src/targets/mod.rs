//! The kinds of targets: what each does with a content, and whether it can be asked for one.
//!
//! - `cape`, `cuckoo` and `post` are servers, each with its own idea of an answer; `http` is what they share, `answer` what an
//!   answer means, and `connection` what they are spoken to through
//! - `folder` takes files; `command` is a program that is run

mod answer;
mod cape;
mod command;
mod connection;
mod cuckoo;
mod folder;
mod http;
mod post;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::job::Job;
use crate::settings::{Kind, Target};

/// A content that is to be handed over.
pub(crate) struct Parcel<'p> {
    pub(crate) job: &'p Job,
    /// The copy, from its beginning.
    pub(crate) content: File,
    /// What is told beside it, as JSON.
    pub(crate) about: &'p str,
}

/// What came of trying once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The target has it.
    Sent(Sent),
    /// Not this time.
    Later(Later),
    /// The target does not want it, and never will.
    Refused { why: String },
}

/// What a target said of a content that it took. Each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) said: String,
    pub(crate) link: String,
    pub(crate) task: String,
}

/// Why it came to nothing this time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) why: String,
    /// What the target asks for.
    pub(crate) pause: Option<Duration>,
    /// Whether it is about the target and not about this content, so that others need not be tried now.
    pub(crate) target: bool,
    /// Whether the target may have it all the same.
    pub(crate) doubt: bool,
}

/// Whether a target has a content from an earlier try.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Has {
    /// It has.
    Yes(Sent),
    /// It has not.
    No,
    /// It cannot be asked, or does not say.
    Unknown,
    /// It cannot be asked now.
    Later(Later),
}

/// A kind of target: how a content is handed over. Called by one thread at a time.
pub(crate) trait Deliver: Send {
    /// Hands it over, once.
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt;

    /// Whether the target has it from an earlier try of this submission, of which nobody knows how it ended. Other
    /// submissions of the same content, by whomever, are not meant.
    fn has(&self, job: &Job) -> Has;
}

/// What hands contents over to a target; `given` is a folder of its own.
pub(crate) fn open(target: &Target, given: PathBuf) -> Box<dyn Deliver> {
    match target.kind.clone() {
        Kind::Cape(server) => Box::new(cape::Cape::new(server, target.timeout)),
        Kind::Cuckoo(server) => Box::new(cuckoo::Cuckoo::new(server, target.timeout)),
        Kind::Post(server) => Box::new(post::Post::new(server, target.timeout)),
        Kind::Folder { path, json } => Box::new(folder::Folder { path, json }),
        Kind::Command { words } => Box::new(command::Command { words, timeout: target.timeout, given }),
    }
}
