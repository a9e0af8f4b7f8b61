//! Every frame comes back: captures are stored, the store is moved, and what it exports is compared with the capture as an
//! independent reader sees it. `STREAMDB_CORPUS` names a folder of more captures; `STREAMDB_SOAK` takes all of them, in
//! every setting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Data, corpus, frames_of_tcp, json_lines, read_capture, soak, testdata};

/// How a capture is stored.
#[derive(Clone, Copy, Debug)]
struct Setting {
    compression: &'static str,
    packets: &'static str,
    bucket: &'static str,
}

/// All of them; neighbours differ in much.
const SETTINGS: [Setting; 8] = [
    Setting { compression: "full", packets: "full", bucket: "5m" },
    Setting { compression: "fast", packets: "full", bucket: "1s" },
    Setting { compression: "full", packets: "tcp", bucket: "1s" },
    Setting { compression: "fast", packets: "full", bucket: "5m" },
    Setting { compression: "full", packets: "full", bucket: "1s" },
    Setting { compression: "fast", packets: "tcp", bucket: "5m" },
    Setting { compression: "full", packets: "tcp", bucket: "5m" },
    Setting { compression: "fast", packets: "tcp", bucket: "1s" },
];

/// Stores a copy of the capture, removes the copy, moves the store, and compares what comes out with the capture. Gives the
/// number of frames, or what is wrong.
fn there_and_back(capture: &Path, setting: Setting) -> Result<usize, String> {
    let Setting { compression, packets, bucket } = setting;
    let first = Data::new("roundtrip");
    let copy = first.beside("copy");
    fs::copy(capture, &copy).unwrap();
    let flags = ["--json", "--compression", compression, "--packets", packets, "--bucket", bucket];
    let said = first.ingest(&flags, &[&copy]);
    fs::remove_file(copy).unwrap();
    let wanted = read_capture(capture);
    let named = |what: &str| format!("{what}: {said:?}");
    match said.code {
        Some(0) if wanted.whole && said.err.is_empty() => {}
        // Damage is one sentence, and everything before it is stored.
        Some(1) if !wanted.whole && said.err.starts_with("streamdb: ") && said.err.lines().count() == 1 => {}
        _ => return Err(named("exit code and sentence do not fit the capture")),
    }
    let summary = json_lines(&said.out);
    if summary[0]["unaccounted_payload_bytes"] != 0 {
        return Err(named("not every byte is accounted for"));
    }
    if summary[0]["frames"] != wanted.frames.len() {
        return Err(named(&format!("it should count {} frames", wanted.frames.len())));
    }
    let second = Data::new("roundtrip-moved");
    fs::rename(first.path(), second.path()).unwrap();
    second.is_well();
    let wanted = if packets == "tcp" { frames_of_tcp(&wanted.frames) } else { wanted.frames };
    match second.export().differs(&wanted) {
        Some(difference) => Err(difference),
        None => Ok(wanted.len()),
    }
}

/// Does so with many captures, two at a time.
fn all(work: &[(PathBuf, Setting)]) {
    let (next, frames, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((capture, setting)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let attempt = std::panic::catch_unwind(|| there_and_back(capture, *setting));
                    match attempt.unwrap_or_else(|_| Err("see above".to_owned())) {
                        Ok(count) => _ = frames.fetch_add(count, Ordering::Relaxed),
                        Err(what) => wrong.lock().unwrap().push(format!("{} {setting:?}: {what}", capture.display())),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), work.len(), wrong.join("\n"));
    println!("{} round trips, {} frames", work.len(), frames.into_inner());
}

#[test]
fn our_own_captures_come_back_in_every_setting() {
    let cases = ["nginx-downloads", "lossy-path", "imagedump", "codings"].map(|case| testdata(case, "capture.pcap"));
    let work: Vec<_> = cases.iter().flat_map(|case| SETTINGS.map(|setting| (case.clone(), setting))).collect();
    all(&work);
}

#[test]
fn captures_that_others_made_come_back() {
    let Some(folder) = corpus() else { return };
    let mut captures: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    captures.retain(|path| path.extension().is_some_and(|e| e != "tsv" && e != "md"));
    captures.sort();
    let count = captures.len();
    let work: Vec<_> = if soak() {
        captures.into_iter().flat_map(|capture| SETTINGS.map(|setting| (capture.clone(), setting))).collect()
    } else {
        // Of plain pcap, every eighth is enough for each run; the rarer formats are few.
        let rare = |path: &Path| path.extension().is_some_and(|e| e != "pcap");
        let chosen = captures.into_iter().enumerate().filter(|(n, path)| n % 8 == 0 || rare(path));
        chosen.map(|(_, path)| path).zip(SETTINGS.into_iter().cycle()).collect()
    };
    println!("{} round trips with {count} captures (STREAMDB_SOAK takes all, in every setting)", work.len());
    all(&work);
}
