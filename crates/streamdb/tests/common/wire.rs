//! Real wires: network namespaces with a veth pair between them, made with ip(8), gone with the test.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Whether this user may capture; if not, the test says that it is skipped.
pub fn may_capture() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: capturing from an interface needs root");
    }
    root
}

/// Whether a program that a test would use is installed; if not, the test says that the rest of it is skipped.
pub fn installed(program: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

/// Two namespaces; `near` has the interface `near0`, `far` the interface `far0` at the other end of it.
pub struct Wire {
    pub near: String,
    pub far: String,
}

impl Wire {
    /// A wire without addresses, and so without traffic of its own; `None` where none can be made, and why is said.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !may_capture() || !installed("ip") {
            return None;
        }
        let name = format!("streamdb-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let wire = Self { near: format!("{name}-near"), far: format!("{name}-far") };
        for namespace in [&wire.near, &wire.far] {
            if !Command::new("ip").args(["netns", "add", namespace]).status().unwrap().success() {
                println!("skipped: no network namespace can be made here");
                return None;
            }
            ip(&format!("-n {namespace} link set lo up"));
        }
        wire.add(0);
        Some(wire)
    }

    /// The same with addresses: 10.9.0.1 near, 10.9.0.2 far.
    pub fn with_addresses() -> Option<Self> {
        let wire = Self::new()?;
        for (namespace, interface, host) in [(&wire.near, "near0", 1), (&wire.far, "far0", 2)] {
            ip(&format!("-n {namespace} address add 10.9.0.{host}/24 dev {interface}"));
        }
        Some(wire)
    }

    /// A second wire between the two: `near1` and `far1`.
    pub fn second(&self) {
        self.add(1);
    }

    /// The wire of this number; its ends are `nearN` and `farN`.
    pub fn add(&self, number: usize) {
        let [near, far] = ["near", "far"].map(|end| format!("{end}{number}"));
        let there = &self.far;
        ip(&format!("-n {} link add {near} mtu 9000 type veth peer name {far} mtu 9000 netns {there}", self.near));
        self.quiet(&self.near, &near);
        self.quiet(&self.far, &far);
    }

    /// Sends frames from the near end in their order, each over the interface of its number.
    pub fn send(&self, interfaces: &[&str], frames: &[(usize, Vec<u8>)]) {
        within(&self.near, || {
            let open = |name: &&str| pcap::Capture::from_device(*name).unwrap().snaplen(64).open().unwrap();
            let mut senders: Vec<_> = interfaces.iter().map(open).collect();
            for (on, frame) in frames {
                senders[*on].sendpacket(&frame[..]).unwrap();
            }
        });
    }

    /// Brings an interface up that says nothing by itself.
    fn quiet(&self, namespace: &str, interface: &str) {
        ip(&format!("-n {namespace} link set {interface} addrgenmode none"));
        ip(&format!("-n {namespace} link set {interface} up"));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// Runs ip(8), which must go well.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}: {status}");
}

/// The command, run in a namespace. The process stays the same one, so that signals reach it. Not by `ip netns exec`, which
/// copies all mounts: a file system that another test takes away would stay mounted there.
pub fn inside(namespace: &str, command: &Command) -> Command {
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net=/run/netns/{namespace}")).arg(command.get_program()).args(command.get_args());
    inside
}

/// Runs code in a namespace, on a thread of its own; sockets made there stay in it.
pub fn within<T: Send>(namespace: &str, code: impl FnOnce() -> T + Send) -> T {
    let place = File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let run = || {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            code()
        };
        scope.spawn(run).join().unwrap()
    })
}
