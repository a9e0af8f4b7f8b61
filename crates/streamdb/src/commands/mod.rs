//! The commands, one file each.

mod await_folder;
mod buckets;
mod capture;
mod check_config;
mod content;
mod derive;
mod export;
mod finding;
mod get;
mod hold;
mod hunt;
mod ingest;
mod joins;
mod manual;
mod objects;
mod query;
mod reindex;
mod retain;
mod run;
mod scan;
mod serve;
mod stats;
pub(crate) mod storing;
mod streams;
mod submit;
mod token;
mod verify;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use streamdb_storage::Store;
use streamdb_types::BucketId;

use crate::cli::{Cli, Command};
use crate::output::{Output, complain};
use crate::rights;

/// What ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] streamdb_storage::Error),
    #[error(transparent)]
    Capture(#[from] streamdb_capture::Error),
    #[error(transparent)]
    Live(#[from] streamdb_capture::LiveError),
    #[error(transparent)]
    Feed(#[from] streamdb_capture::FeedError),
    #[error(transparent)]
    Derive(#[from] streamdb_derive::Error),
    #[error(transparent)]
    Filter(#[from] streamdb_query::FilterError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Scan(#[from] streamdb_scan::Error),
    #[error(transparent)]
    Submit(#[from] streamdb_submit::Error),
    #[error(transparent)]
    Serve(#[from] streamdb_http_api::ServeError),
    #[error("{path}: could not write: {source}")]
    Output { path: PathBuf, source: io::Error },
    /// The disk did not take it; it may later.
    #[error("{0}")]
    NotTaken(String),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn output(path: &Path, source: io::Error) -> Self {
        Self::Output { path: path.to_owned(), source }
    }

    /// Whether the reader of our output has gone, as `head` does: that is no error.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Error> {
    let Cli { command, log } = cli;
    if let Some(folder) = writes_to(&command) {
        rights::not_as_root(folder)?;
    }
    match command {
        Command::Ingest(ingest) => ingest::run(&ingest),
        Command::Capture(capture) => capture::run(&capture),
        Command::Serve(serve) => serve::run(&serve).map(done),
        Command::Run(run) => run::run(&run, log),
        Command::Scan(scan) => scan::run(&scan).map(done),
        Command::CheckConfig(check) => check_config::run(&check).map(done),
        Command::Token(token) => token::run(&token).map(done),
        Command::Submit(submit) => submit::run(&submit),
        Command::Streams(streams) => streams::run(&streams),
        Command::Objects(objects) => objects::run(&objects),
        Command::Joins(joins) => joins::run(&joins),
        Command::Content(content) => content::run(&content),
        Command::Query(query) => query::run(&query),
        Command::Get(get) => get::run(&get).map(done),
        Command::Export(export) => export::run(&export).map(done),
        Command::Verify(verify) => verify::run(&verify),
        Command::Derive(derive) => derive::run(&derive),
        Command::Reindex(reindex) => reindex::run(&reindex),
        Command::Retain(retain) => retain::run(&retain),
        Command::Hold(hold) => hold::run(&hold),
        Command::Hunt(hunt) => hunt::run(&hunt),
        Command::Buckets(buckets) => buckets::run(&buckets),
        Command::Stats(listing) => stats::run(&listing),
        Command::Manual(manual) => manual::run(&manual).map(done),
        Command::AwaitFolder(args) => {
            await_folder::run(&args);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The data folder that a command writes to as whoever starts it.
fn writes_to(command: &Command) -> Option<&Path> {
    let (data, stays) = match command {
        Command::Ingest(ingest) => (&ingest.storing.data, true),
        Command::Capture(capture) => (&capture.storing.data, capture.giving_up.user.is_none()),
        Command::Serve(serve) => (&serve.data, serve.giving_up.user.is_none()),
        Command::Derive(derive) => (&derive.data, derive.giving_up.user.is_none()),
        Command::Scan(scan) => (&scan.data, scan.giving_up.user.is_none()),
        Command::Submit(submit) => (&submit.data, !submit.list),
        Command::Reindex(reindex) => (&reindex.data, true),
        Command::Retain(retain) => (&retain.data, true),
        Command::Hold(hold) => (&hold.data, !hold.list),
        Command::Hunt(hunt) => (&hunt.data, true),
        // This one makes it theirs who go on with it.
        Command::Run(_) => return None,
        Command::CheckConfig(_)
        | Command::Manual(_)
        | Command::AwaitFolder(_)
        | Command::Token(_)
        | Command::Streams(_)
        | Command::Objects(_)
        | Command::Joins(_)
        | Command::Content(_)
        | Command::Query(_)
        | Command::Get(_)
        | Command::Export(_)
        | Command::Verify(_)
        | Command::Buckets(_)
        | Command::Stats(_) => return None,
    };
    stays.then_some(data.folder.as_path())
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// The buckets that are held. That this cannot be read is told, and fails the command at its end.
fn held(store: &Store, code: &mut ExitCode) -> BTreeSet<BucketId> {
    store.held().unwrap_or_else(|damage| {
        complain(&damage.to_string());
        *code = ExitCode::FAILURE;
        BTreeSet::new()
    })
}

/// Writes one JSON object and a line end.
fn json_line(out: &mut Output, value: &impl serde::Serialize) -> Result<(), Error> {
    let error = out.error();
    streamdb_query::json_line(out, value).map_err(error)
}
