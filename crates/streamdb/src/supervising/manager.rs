//! What the service manager is told (sd_notify(3)); nothing where there is none.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager that started this process, if one did and wants to know.
#[derive(Debug)]
pub(super) struct Manager {
    /// How often it is told that all is well, if it wants to be.
    every: Option<Duration>,
    told: Option<Instant>,
    status: String,
}

/// The variables by which it says that it wants to; they are not for the processes that this one starts.
pub(super) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

impl Manager {
    pub(super) fn new() -> Self {
        // Twice in the time after which it gives up.
        let every = sd_notify::watchdog_enabled().map(|most| most / 2);
        Self { every, told: None, status: String::new() }
    }

    /// All that is to run does, with the configuration as it is.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The configuration is read again; it ends with the next [`ready`](Self::ready).
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    pub(super) fn stopping(&mut self) {
        tell(&[NotifyState::Stopping]);
        self.status("all is brought to its end");
    }

    /// What people are shown of it.
    pub(super) fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            tell(&[NotifyState::Status(status)]);
        }
    }

    /// All is well, and if it is not said again, it is not.
    pub(super) fn well(&mut self) {
        if self.due().is_some_and(|due| due.is_zero()) {
            self.told = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// In how long it is to be told that all is well.
    pub(super) fn due(&self) -> Option<Duration> {
        let every = self.every?;
        Some(self.told.map_or(Duration::ZERO, |told| every.saturating_sub(told.elapsed())))
    }
}

fn tell(what: &[NotifyState<'_>]) {
    // One that does not listen is no reason to end.
    _ = sd_notify::notify(what);
}
