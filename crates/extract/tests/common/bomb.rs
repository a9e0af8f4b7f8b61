//! Streams that are made up while they are read, and bounds on what it may cost to look at them.

use std::process::Command;
use std::{env, fs};

use streamdb_extract::{Read, Source};
use streamdb_types::{Gap, Marks, Reason, StreamOffset};

/// Bytes, then a unit many times, then bytes.
pub struct Made {
    start: Vec<u8>,
    unit: Vec<u8>,
    times: u64,
    end: Vec<u8>,
}

impl Made {
    pub fn new(start: impl Into<Vec<u8>>, unit: &[u8], length: u64, end: &[u8]) -> Self {
        // A unit of some kilobytes, so that making it up costs little.
        let unit = unit.repeat(1 + (16 << 10) / unit.len());
        let times = length / unit.len() as u64;
        Self { start: start.into(), unit, times, end: end.to_vec() }
    }
}

impl Source for Made {
    fn end(&self) -> StreamOffset {
        let unit = self.unit.len() as u64 * self.times;
        StreamOffset(self.start.len() as u64 + unit + self.end.len() as u64)
    }

    fn read(&self, at: StreamOffset, buf: &mut [u8]) -> Read {
        let (start, unit) = (self.start.len() as u64, self.unit.len() as u64);
        let from = if at.0 < start {
            &self.start[at.0 as usize..]
        } else if at.0 - start < unit * self.times {
            &self.unit[((at.0 - start) % unit) as usize..]
        } else if at < self.end() {
            &self.end[(at.0 - start - unit * self.times) as usize..]
        } else {
            return Read::End;
        };
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Read::Bytes(n)
    }

    fn next_gap(&self, _: StreamOffset) -> Option<Gap> {
        None
    }

    fn ended(&self) -> Option<Reason> {
        Some(Reason::Fin)
    }

    fn marks(&self) -> Marks {
        Marks::SYN.with(Marks::FIN)
    }

    fn is_datagrams(&self) -> bool {
        false
    }
}

/// Processor time of this thread, in seconds.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The most memory that this process has had in use since it was last asked, in MiB.
fn peak_memory() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak = line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0;
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

/// Whether this process measures. One that does gives back what it frees at once, so that no work takes its memory from what the work
/// before it left; any other runs this test again as one that does, and is done.
pub fn measures(test: &str) -> bool {
    const GIVE_BACK: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "0")];
    if GIVE_BACK.iter().all(|(name, value)| env::var(name).is_ok_and(|is| is == *value)) {
        return true;
    }
    let again =
        Command::new(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).envs(GIVE_BACK).status();
    assert!(again.unwrap().success(), "{test}");
    false
}

/// Does it, and says what came of it; panics beyond these bounds on seconds and MiB.
pub fn within<T>(what: &str, seconds: f64, memory: f64, work: impl FnOnce() -> T) -> T {
    peak_memory();
    let (before, began) = (peak_memory(), processor_time());
    let done = work();
    let (took, more) = (processor_time() - began, peak_memory() - before);
    println!("{what}: {took:.2} s of {seconds}, {more:.1} MiB of {memory}");
    assert!(took < seconds, "{what} took {took:.2} s, the bound is {seconds}");
    assert!(more < memory, "{what} took {more:.1} MiB, the bound is {memory}");
    done
}
