//! Network interfaces, as the kernel sees them: which there are, and whether one is up.
//!
//! Not by libpcap's list of devices: that asks about USB, Bluetooth and more, which a confined process may not, and then it has
//! none at all. Not by sysfs either, which shows the interfaces of the namespace in which it was mounted.

use super::ANY;
use super::socket;

/// How an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is there and up.
    Up,
    /// It is there and down.
    Down,
    /// There is none of this name.
    Absent,
}

/// How the interface of this name is; `None` when the kernel does not say. `any` is always up.
pub fn link_state(name: &str) -> Option<LinkState> {
    if name == ANY {
        return Some(LinkState::Up);
    }
    match socket::is_up(name) {
        Ok(true) => Some(LinkState::Up),
        Ok(false) => Some(LinkState::Down),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Some(LinkState::Absent),
        Err(_) => None,
    }
}

/// Whether this is a network interface, and nothing else from which libpcap captures.
pub(super) fn is_network(name: &str) -> bool {
    matches!(link_state(name), Some(LinkState::Up | LinkState::Down))
}

/// The names of the network interfaces that this process can see. By its own folder of `/proc`: where the rest of that is hidden,
/// as a service manager can, `/proc/net` is too.
pub(super) fn names() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    list.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_known_by_their_names() {
        assert!(names().iter().any(|name| name == "lo"), "{:?}", names());
        assert!(is_network("lo"));
        assert_eq!(link_state("any"), Some(LinkState::Up));
        for none in ["nonesuch0", "", "a name that is far too long", "lo\0", "usbmon0"] {
            assert_eq!(link_state(none), Some(LinkState::Absent), "{none:?}");
        }
    }
}
