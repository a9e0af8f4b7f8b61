//! `streamdb derive`: finds the objects in what is stored, in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use streamdb_derive::Deriver;
use streamdb_storage::Store;

use super::Error;
use super::reindex::report;
use crate::cli::Derive;
use crate::deriving::follow;
use crate::output::complain;
use crate::stop::stop_flag;

pub(super) fn run(args: &Derive) -> Result<ExitCode, Error> {
    let store = Store::open(&args.data.folder)?;
    let deriver = Deriver::new(&store)?;
    let ending = if args.once { Arc::new(AtomicBool::new(true)) } else { stop_flag()? };
    let progress = follow(&store, deriver, &ending, &mut complain)?;
    report(&progress, args.json)
}
