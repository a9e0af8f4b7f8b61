//! Whether somebody still waits for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Held by whoever waits. A request whose client goes away is dropped, and this with it.
pub(crate) struct Asking(Arc<AtomicBool>);

/// Held by whoever works for them.
#[derive(Clone)]
pub(crate) struct Asked(Arc<AtomicBool>);

/// Both ends.
pub(crate) fn asking() -> (Asking, Asked) {
    let gone = Arc::new(AtomicBool::new(false));
    (Asking(Arc::clone(&gone)), Asked(gone))
}

impl Asked {
    /// Whether to go on.
    pub(crate) fn waits(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_dropped_waits_no_more() {
        let (asking, asked) = asking();
        assert!(asked.waits());
        drop(asking);
        assert!(!asked.waits());
    }
}
