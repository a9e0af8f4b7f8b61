//! `streamdb reindex`: what was derived is thrown away and derived again.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use streamdb_derive::{Deriver, Joiner, Progress};
use streamdb_storage::Store;

use super::{Error, json_line, storing};
use crate::cli::Reindex;
use crate::output::{Output, complain};
use crate::progress::Progress as Bar;
use crate::units;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    connections: u64,
    objects: u64,
    damaged: u64,
}

pub(super) fn run(args: &Reindex) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let mut deriver = Deriver::new(&store)?;
    let bar = Bar::buckets();
    let told = &mut |error: &streamdb_derive::Error| complain(&error.to_string());
    let progress = deriver.reindex(&store, &|| false, told, &mut |done, all| bar.step(done, all))?;
    bar.finish();
    let keeper = deriver.keeper();
    let mut joiner = Joiner::new(&keeper);
    joiner.forget(&store)?;
    joiner.catch_up(&store, &|| false, told)?;
    while keeper.tidy(&store, &|| false, &mut complain)? {}
    report(&progress, args.json)
}

/// Says what was done; what was damaged makes it a failure.
pub(super) fn report(progress: &Progress, json: bool) -> Result<ExitCode, Error> {
    let Progress { connections, objects, damaged, .. } = *progress;
    if json {
        let mut out = Output::open(None)?;
        json_line(&mut out, &Summary { connections, objects, damaged })?;
        let failed = out.error();
        out.flush().map_err(failed)?;
    } else {
        let [objects, connections] =
            [(objects, "object"), (connections, "connection")].map(|(n, one)| units::counted(n, one));
        let damaged = if damaged == 1 { "1 connection is" } else { &format!("{damaged} connections are") };
        let line = format!("{objects} in {connections}; {damaged} damaged");
        storing::print_line(&line)?;
    }
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
