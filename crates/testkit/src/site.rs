//! Which place in our own code asked for something: from the debug information of the test.

use std::backtrace::Backtrace;
use std::path::{Path, PathBuf};

/// Code that writes files of several kinds: who asked it to belongs to the place.
const SHARED: &str = "storage/src/ledger/mod.rs";

/// File and line of the innermost code of ours that is neither a volume nor a helper named `sync`, as
/// `storage/src/recover.rs:76`, below the root of the workspace; of code that several files share, with the file that called
/// it, as `storage/src/ledger/mod.rs:70 for storage/src/holds.rs`.
pub(crate) fn here() -> String {
    let trace = Backtrace::force_capture().to_string();
    let mut function = "";
    let mut shared: Option<String> = None;
    for line in trace.lines() {
        // Two lines a frame, `N: FUNCTION` and `at FILE:LINE:COLUMN`; the second one is only there with debug information.
        let Some(place) = line.trim_start().strip_prefix("at ") else {
            function = line.split_once(": ").map_or("", |(_, function)| function);
            continue;
        };
        if function == "sync" || function.ends_with("::sync") {
            continue;
        }
        let Some(place) = ours(place) else { continue };
        match shared {
            None if is_shared(&place) => shared = Some(place),
            None => return place,
            Some(_) if is_shared(&place) => {}
            Some(shared) => return format!("{shared} for {}", place.split(':').next().unwrap_or(&place)),
        }
    }
    shared.unwrap_or_else(|| "unknown".to_owned())
}

fn is_shared(place: &str) -> bool {
    place.split(':').next() == Some(SHARED)
}

fn ours(place: &str) -> Option<String> {
    let (file, _column) = place.rsplit_once(':')?;
    // The system shortens what lies below the folder we are in.
    let file = std::env::current_dir().ok()?.join(file.strip_prefix("./").unwrap_or(file));
    let inside = file.strip_prefix(root()).ok()?;
    let is_code = inside.components().any(|part| part.as_os_str() == "src") && !inside.starts_with("crates/testkit");
    is_code.then(|| inside.display().to_string())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::{FaultVolume, PowerCut, TestFolder};
    use streamdb_storage::{DiskVolume, Holds, Ledger};

    #[test]
    fn a_sync_is_known_by_its_place() {
        let folder = TestFolder::new("site");
        let volume = FaultVolume::recording(DiskVolume, folder.path()).noting_sites();
        drop(Ledger::open(&volume, &folder.path().join("ledger")).unwrap());
        let code = |site: String| {
            let (file, line) = site.split_once(':').unwrap();
            assert_eq!(file, "storage/src/ledger/mod.rs");
            let code = std::fs::read_to_string(super::root().join(file)).unwrap();
            code.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap().to_owned()
        };
        let lines: Vec<String> = PowerCut::of(&volume).sites().into_keys().map(code).collect();
        for wanted in ["volume.sync_dir(folder)", "self.file.sync_data()"] {
            assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:?}");
        }
    }
    #[test]
    fn who_asked_for_it_is_told_of_shared_code() {
        let folder = TestFolder::new("site");
        let volume = FaultVolume::recording(DiskVolume, folder.path()).noting_sites();
        std::fs::write(folder.path().join("ledger"), b"").unwrap();
        drop(Holds::open(&volume, folder.path()).unwrap());
        let sites = PowerCut::of(&volume).sites();
        assert!(!sites.is_empty());
        for site in sites.keys() {
            assert!(
                site.starts_with("storage/src/ledger/mod.rs:") && site.ends_with(" for storage/src/holds.rs"),
                "{site}"
            );
        }
    }
}
