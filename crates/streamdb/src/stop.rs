//! Being asked to end, or to read the configuration again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::commands::Error;

/// A flag that SIGINT and SIGTERM set. The second signal ends the program at once; the next start makes whole what it left.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: handlers run in the order of their registration, so the first signal finds the flag not set.
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| Error::Other(format!("could not set up the signals: {e}")))?;
    }
    Ok(stop)
}

/// A flag that SIGHUP sets.
pub(crate) fn reload_flag() -> Result<Arc<AtomicBool>, Error> {
    let reload = Arc::new(AtomicBool::new(false));
    flag::register(SIGHUP, Arc::clone(&reload))
        .map_err(|e| Error::Other(format!("could not set up the signals: {e}")))?;
    Ok(reload)
}
