//! `streamdb derive`: finds the objects in what is stored, in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use streamdb_derive::Deriver;
use streamdb_scan::{Nobody, Scanners};
use streamdb_storage::Store;

use super::Error;
use super::reindex::report;
use crate::cli::Derive;
use crate::config::Config;
use crate::deriving::follow;
use crate::output::complain;
use crate::scanning::Scanning;
use crate::stop::stop_flag;

pub(super) fn run(args: &Derive) -> Result<ExitCode, Error> {
    let config = Config::load(args.config.as_deref())?;
    let scanners = config.scan.map(Scanners::open).transpose()?;
    let store = Store::open(&args.data.folder)?;
    let deriver = Deriver::new(&store)?;
    let ending = if args.once { Arc::new(AtomicBool::new(true)) } else { stop_flag()? };
    let scanning = Scanning::start(&args.data.folder, scanners, Box::new(Nobody))?;
    let progress = follow(&store, deriver, &ending, &mut complain);
    match scanning {
        Some(scanning) if args.once => scanning.finish(),
        Some(scanning) => scanning.stop(),
        None => {}
    }
    let progress = progress?;
    report(&progress, args.json)
}
