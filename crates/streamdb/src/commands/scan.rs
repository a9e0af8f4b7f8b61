//! `streamdb scan`: looks into contents and hands objects on, in a process of its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use streamdb_scan::Scanners;

use super::Error;
use crate::cli::Scan;
use crate::config::Config;
use crate::handing::{Handing, needs, submissions};
use crate::rights;
use crate::stop::stop_flag;
use crate::supervising::{alive, ready};

/// How soon it sees that it is to end.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(args: &Scan) -> Result<(), Error> {
    let stop = stop_flag()?;
    let config = Config::load(Some(&args.config))?;
    let scanners = config.scan.map(Scanners::open).transpose()?;
    let needs = needs(&args.data.folder, config.submit.as_ref());
    rights::lower(&args.giving_up)?;
    let submissions = submissions(&args.data.folder, config.submit)?;
    rights::confine(&args.giving_up, &needs)?;
    let handing = Handing::start(&args.data.folder, scanners, submissions, true)?;
    if args.once {
        handing.finish();
        return Ok(());
    }
    ready();
    while !stop.load(Ordering::Relaxed) {
        alive();
        std::thread::sleep(GLANCE);
    }
    handing.stop();
    Ok(())
}
