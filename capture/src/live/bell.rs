//! What wakes who waits for frames: another thread has something for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{Batch, WAIT, before_now};

/// A bell that any thread can ring, for one that listens.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// One that nobody has rung yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    /// Wakes who waits, or who waits next.
    pub fn ring(&self) {
        // It can only be refused when it has rung so often that nobody has to be told.
        _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// It was heard.
    pub(super) fn quiet(&self) {
        _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Waits as a live interface does on which nothing comes: until it rings, or a tenth of a second is over.
    pub fn wait(&self) -> Batch {
        let mut bell = [PollFd::new(self, PollFlags::IN)];
        if poll(&mut bell, Some(&WAIT)).is_ok_and(|ready| ready > 0) {
            self.quiet();
            return Batch::Frames(0);
        }
        Batch::Idle(before_now())
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_once_however_often_it_rang() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert_eq!(bell.wait(), Batch::Frames(0));
        assert!(matches!(bell.wait(), Batch::Idle(_)));
    }
}
