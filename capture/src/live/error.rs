//! What can go wrong with a live interface, each as one sentence that says what to do.

use std::path::PathBuf;

use thiserror::Error;

use super::ANY;
use super::link::{LinkState, link_state, names};
use crate::error::Plain;

/// Why an interface cannot be captured from, or not further.
#[derive(Debug, Error)]
pub enum LiveError {
    /// There is none of this name.
    #[error("there is no interface {}; there are {}", Plain(interface), Plain(&there.join(", ")))]
    NoInterface {
        /// What was asked for.
        interface: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The rights are missing.
    #[error("{}: this user may not capture ({}); run it as root, or once, as root: setcap cap_net_raw,cap_net_admin+eip {}",
        Plain(interface), Plain(message), Plain(&program.display().to_string()))]
    Permission {
        /// The interface.
        interface: String,
        /// What libpcap said.
        message: String,
        /// The program that needs the rights.
        program: PathBuf,
    },
    /// It is down, or went down.
    #[error("{0}: this interface is down; bring it up (ip link set {0} up) and start again", Plain(interface))]
    Down {
        /// The interface.
        interface: String,
    },
    /// It is not there any more.
    #[error("{}: this interface went away; start again when it is back", Plain(interface))]
    Gone {
        /// The interface.
        interface: String,
    },
    /// libpcap does not take the filter.
    #[error(transparent)]
    Filter(crate::Error),
    /// It cannot be opened, for a reason that only libpcap knows.
    #[error("{}: cannot be captured from: {}", Plain(interface), Plain(message))]
    Refused {
        /// The interface.
        interface: String,
        /// What libpcap said.
        message: String,
    },
    /// The kernel does not share its frames among several sockets.
    #[error(
        "{}: this kernel does not share its frames among several workers ({}); give it one worker",
        Plain(interface),
        Plain(message)
    )]
    NotShared {
        /// The interface.
        interface: String,
        /// What the kernel said.
        message: String,
    },
    /// It cannot be read further, for a reason that only libpcap knows.
    #[error("{}: cannot be captured from any more: {}", Plain(interface), Plain(message))]
    Broken {
        /// The interface.
        interface: String,
        /// What libpcap said.
        message: String,
    },
}

impl LiveError {
    /// Whether it is because the interface is not there, or not up: that may change.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NoInterface { .. } | Self::Down { .. } | Self::Gone { .. })
    }

    /// Why an interface could not be opened. libpcap's codes do not come through its binding, so its words have to tell.
    pub(super) fn refused(name: &str, error: &pcap::Error) -> Self {
        let (interface, message) = (name.to_owned(), words(error));
        if may_not(&message) {
            let program = std::env::current_exe().unwrap_or_else(|_| "streamdb".into());
            return Self::Permission { interface, message, program };
        }
        match link_state(name) {
            Some(LinkState::Down) => Self::Down { interface },
            Some(LinkState::Absent) => {
                let there = std::iter::once(ANY.to_owned()).chain(names()).collect();
                Self::NoInterface { interface, there }
            }
            Some(LinkState::Up) | None => Self::Refused { interface, message },
        }
    }

    /// Why its frames could not be shared.
    pub(super) fn not_shared(name: &str, error: &std::io::Error) -> Self {
        Self::NotShared { interface: name.to_owned(), message: error.to_string() }
    }

    /// Why it could not be read.
    pub(super) fn broken(name: &str, error: pcap::Error) -> Self {
        let interface = name.to_owned();
        if link_state(name) == Some(LinkState::Absent) {
            return Self::Gone { interface };
        }
        Self::Broken { interface, message: words(&error) }
    }
}

/// What libpcap said, without the name of the library.
fn words(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Whether libpcap says that rights are missing.
fn may_not(message: &str) -> bool {
    ["CAP_NET_RAW", "ermission", "not permitted"].iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, message: &str) -> String {
        LiveError::refused(name, &pcap::Error::PcapError(message.into())).to_string()
    }

    #[test]
    fn missing_rights_come_with_the_way_to_get_them() {
        let program = std::env::current_exe().unwrap();
        for message in [
            "Attempt to create packet socket failed - CAP_NET_RAW may be required",
            "socket: Operation not permitted",
            "(Permission denied)",
        ] {
            let wanted = format!(
                "lo: this user may not capture ({message}); run it as root, or once, as root: setcap \
                 cap_net_raw,cap_net_admin+eip {}",
                program.display()
            );
            assert_eq!(refused("lo", message), wanted);
        }
    }

    #[test]
    fn what_libpcap_says_of_an_interface_that_is_there_is_handed_on() {
        assert_eq!(refused("lo", "out of luck"), "lo: cannot be captured from: out of luck");
        assert_eq!(refused("any", "a\x07b"), "any: cannot be captured from: a\\u{7}b");
    }

    #[test]
    fn an_interface_that_is_not_listed_any_more_went_away() {
        let said =
            |name| LiveError::broken(name, pcap::Error::PcapError("The interface disappeared".into())).to_string();
        assert_eq!(said("nonesuch0"), "nonesuch0: this interface went away; start again when it is back");
        assert_eq!(said("lo"), "lo: cannot be captured from any more: The interface disappeared");
    }
}
