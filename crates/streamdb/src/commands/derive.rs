//! `streamdb derive`: finds the objects in what is stored, in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streamdb_derive::Deriver;
use streamdb_scan::Scanners;
use streamdb_storage::Store;

use super::Error;
use super::reindex::report;
use crate::cli::Derive;
use crate::config::Config;
use crate::deriving::follow;
use crate::handing::{Handing, needs, submissions};
use crate::limiting::{ASKED, Limit, Watchdog, bound_memory, come_last};
use crate::output::complain;
use crate::rights::{self, Needs};
use crate::stop::stop_flag;
use crate::supervising::ready;

pub(super) fn run(args: &Derive) -> Result<ExitCode, Error> {
    let config = Config::load(args.config.as_deref())?;
    // Without a configuration there is nobody to speak with.
    let needs = match &args.config {
        Some(_) => needs(&args.data.folder, config.submit.as_ref()),
        None => Needs {
            reads: vec![args.data.folder.clone()],
            writes: vec![args.data.folder.join("derived")],
            ..Needs::default()
        },
    };
    let scanners = config.scan.map(Scanners::open).transpose()?;
    bound_memory(args.max_memory)?;
    if !args.once {
        come_last();
    }
    rights::lower(&args.giving_up)?;
    let store = Arc::new(Store::open(&args.data.folder)?);
    let deriver = Deriver::new(&store)?;
    let stop = stop_flag()?;
    let ending = AtomicBool::new(args.once);
    let submissions = submissions(&args.data.folder, config.submit)?;
    rights::confine(&args.giving_up, &needs)?;
    let handing = Handing::start(&args.data.folder, scanners, submissions, false)?;
    let limit = Limit { most: Duration::from_secs(args.max_seconds.into()), waits: false };
    // Who follows is asked to end; who is to do all of it has not.
    let status = i32::from(args.once);
    let watchdog = Watchdog::start(Arc::clone(&store), limit, Some((Arc::clone(&stop), status)))?;
    ready();
    let progress = follow(&store, deriver, &ending, &stop, &mut complain);
    let was_asked = stop.load(Ordering::Acquire);
    if args.once {
        if was_asked {
            handing.stop()
        } else {
            handing.finish()
        }
        // Asked to end before all of that is done, it fails, however long it would go on.
        watchdog.stop();
    } else {
        // A submission that is under way has its own time to end.
        watchdog.stop();
        handing.stop();
    }
    let all = report(&progress?, args.json)?;
    if args.once && was_asked {
        return Err(Error::Other(ASKED.to_owned()));
    }
    Ok(all)
}
