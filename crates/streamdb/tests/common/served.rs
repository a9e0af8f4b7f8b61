//! A file server that stops when a test wants it to.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{installed, may_capture, until};

/// A folder of a file server: sshfs, by a server here whose answers come through this process, which holds them back.
pub struct Served {
    mount: PathBuf,
    server: Child,
    client: Child,
    /// So many bytes of what the server says may pass.
    allowed: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
}

impl Served {
    const SERVER: &'static str = "/usr/lib/openssh/sftp-server";

    /// Serves a folder.
    pub fn new(folder: &Path, mount: &Path) -> Self {
        fs::create_dir(mount).unwrap();
        let mut server = Command::new(Self::SERVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut client = Command::new("sshfs")
            .arg(format!("server:{}", folder.display()))
            .arg(mount)
            .args(["-f", "-o", "slave"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut asks, mut asked) = (client.stdout.take().unwrap(), server.stdin.take().unwrap());
        std::thread::spawn(move || std::io::copy(&mut asks, &mut asked));
        let (mut says, mut hears) = (server.stdout.take().unwrap(), client.stdin.take().unwrap());
        let (allowed, passed) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(0)));
        let (most, count) = (Arc::clone(&allowed), Arc::clone(&passed));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = says.read(&mut bytes) {
                while count.load(Ordering::SeqCst) >= most.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                count.fetch_add(read, Ordering::SeqCst);
                if hears.write_all(&bytes[..read]).is_err() {
                    return;
                }
            }
        });
        let served = Self { mount: mount.to_owned(), server, client, allowed, passed };
        until("it is mounted", || fs::read_to_string("/proc/mounts").unwrap().contains(mount.to_str()?).then_some(()));
        served
    }

    /// Whether there is what it needs.
    pub fn is_possible() -> bool {
        let possible = may_capture()
            && installed("sshfs")
            && [Self::SERVER, "/dev/fuse"].iter().all(|path| Path::new(path).exists());
        if !possible {
            println!("skipped: nothing can be mounted with sshfs here");
        }
        possible
    }

    /// It says so many bytes more, and then nothing.
    pub fn stops_after(&self, bytes: usize) {
        self.allowed.store(self.passed.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// It says all again.
    pub fn goes_on(&self) {
        self.allowed.store(usize::MAX, Ordering::SeqCst);
    }

    /// The file system itself goes to sleep, or wakes up.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.client.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.goes_on();
        self.signal("-CONT");
        _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        for child in [&mut self.server, &mut self.client] {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
