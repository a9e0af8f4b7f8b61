//! What the system says of this process, and of files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use rustix::time::{ClockId, clock_gettime};

/// CPU of this thread, user and system.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_default()
}

/// Bytes given to write(2) and its like so far.
pub fn written() -> u64 {
    field("/proc/self/io", "wchar:")
}

/// Memory of this process now, in bytes: all, and without what is mapped of files.
pub fn memory() -> (u64, u64) {
    (field("/proc/self/status", "VmRSS:") << 10, field("/proc/self/status", "RssAnon:") << 10)
}

/// Page faults for which the disk was read.
pub fn major_faults() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.split(' ').nth(9).and_then(|n| n.parse().ok()).unwrap_or_default()
}

pub fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The index files of a data folder, and their lengths.
pub fn index_files(data: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = std::fs::read_dir(data.join("derived/index")) else { return Vec::new() };
    let mut all: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sdbx"))
        .map(|path| (path.clone(), std::fs::metadata(&path).map_or(0, |facts| facts.len())))
        .collect();
    all.sort();
    all
}

/// Makes the system forget what it holds of files that nobody has mapped.
pub fn evict(files: &[(PathBuf, u64)]) {
    let mut left = 0;
    // What one of its cores has in hand at the moment is not forgotten the first time.
    for _ in 0..50 {
        for (path, _) in files {
            let file = std::fs::File::open(path).unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
        left = resident_pages(files);
        if left == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the system holds on to {left} pages");
}

/// How many pages of files are in memory, as mincore(2) tells through fincore(1).
pub fn resident_pages(files: &[(PathBuf, u64)]) -> u64 {
    let command = Command::new("fincore")
        .args(["-b", "-n", "-r", "-o", "PAGES"])
        .args(files.iter().map(|(path, _)| path))
        .output();
    let output = command.expect("fincore(1) of util-linux is needed to see what is in memory");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|n| n.parse::<u64>().unwrap()).sum()
}

/// The bytes of each section of the index files, by number, as their first pages say; 0 is what is in no section.
pub fn sections(files: &[(PathBuf, u64)]) -> Vec<u64> {
    use std::os::unix::fs::FileExt;
    let mut all = vec![0; 128];
    for (path, len) in files {
        let mut page = [0; 4096];
        std::fs::File::open(path).unwrap().read_exact_at(&mut page, 0).unwrap();
        assert_eq!(page[..8], *b"SDBINDX1");
        let number = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
        // Magic, version, derivation, rows of two tables, times of two.
        let count = number(64) as usize;
        let mut left = *len;
        for n in 0..count {
            let at = 72 + n * 20;
            let section = u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
            all[section as usize] += number(at + 12);
            left -= number(at + 12);
        }
        all[0] += left;
    }
    all
}

/// So much of sorted numbers is not greater than this one.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
