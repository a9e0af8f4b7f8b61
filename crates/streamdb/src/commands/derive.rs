//! `streamdb derive`: finds the objects in what is stored, in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use streamdb_derive::Deriver;
use streamdb_scan::Scanners;
use streamdb_storage::Store;

use super::Error;
use super::reindex::report;
use crate::cli::Derive;
use crate::config::Config;
use crate::deriving::follow;
use crate::handing::{Handing, submissions};
use crate::output::complain;
use crate::stop::stop_flag;
use crate::supervising::ready;

pub(super) fn run(args: &Derive) -> Result<ExitCode, Error> {
    let config = Config::load(args.config.as_deref())?;
    let scanners = config.scan.map(Scanners::open).transpose()?;
    let store = Store::open(&args.data.folder)?;
    let deriver = Deriver::new(&store)?;
    let ending = if args.once { Arc::new(AtomicBool::new(true)) } else { stop_flag()? };
    let submissions = submissions(&args.data.folder, config.submit)?;
    let handing = Handing::start(&args.data.folder, scanners, submissions, false)?;
    ready();
    let progress = follow(&store, deriver, &ending, &mut complain);
    if args.once {
        handing.finish()
    } else {
        handing.stop()
    }
    let progress = progress?;
    report(&progress, args.json)
}
