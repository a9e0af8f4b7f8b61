//! `streamdb await-folder`, by which a capture waits for a folder of `--spool`: it ends when captures can be taken from there.

use std::thread;
use std::time::Duration;

use crate::capturing::spool_folder::can_be_taken_from;
use crate::cli::AwaitFolder;

/// How soon it is looked again.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) fn run(args: &AwaitFolder) {
    while can_be_taken_from(&args.awaited, &args.beside, &args.data.folder, args.remove).is_err() {
        thread::sleep(AGAIN);
    }
}
