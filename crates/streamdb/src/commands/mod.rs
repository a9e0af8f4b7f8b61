//! The commands, one file each.

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
mod objects;
mod query;
mod reindex;
mod retain;
mod run;
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

use crate::cli::Command;
use crate::output::{Output, complain};

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
pub(crate) fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Ingest(ingest) => ingest::run(&ingest),
        Command::Capture(capture) => capture::run(&capture),
        Command::Serve(serve) => serve::run(&serve).map(done),
        Command::Run(run) => run::run(&run),
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
    }
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
