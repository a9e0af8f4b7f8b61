//! Whom a request is for. A page of a stranger can make its own name resolve to this machine and then read as its own what
//! it gets; such a request carries that name, and is refused.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::Response;

use crate::answer::refuse;
use crate::app::App;

const REFUSAL: &str = "This server does not answer to the name that the request was for, but to its own address, to localhost, \
                       and to the `names` below [http] in its configuration.";

/// A name that the server is known by: a host name or an address, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// What is accepted, for messages.
    pub const ACCEPTED: &str = "host names and addresses without a port, as in streamdb.example or 10.0.0.7";
    /// RFC 1035 §2.3.4.
    const LONGEST: usize = 253;

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self(address.to_string()));
        }
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let labels = text.split('.').all(|label| !label.is_empty());
        (letters && labels && text.len() <= Self::LONGEST).then(|| Self(text.to_ascii_lowercase()))
    }

    /// Whether `text`, a name without a port, is this one.
    pub(crate) fn is(&self, text: &str) -> bool {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.0 == address.to_string(),
            Err(_) => self.0.eq_ignore_ascii_case(text),
        }
    }
}

/// Lets through what is for the address that is listened on (any address, when that is all of them), `localhost`, a loopback address, or a configured name.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut named = request.headers().get_all(HOST).iter();
    let host = named.next().and_then(|host| host.to_str().ok());
    let one = named.next().is_none();
    let target = request.uri().authority().map(|authority| authority.as_str());
    // RFC 9112 §3.2.2: where the target names a host, that counts; here neither may be a stranger's.
    let ours = |name: Option<&str>| name.is_none_or(|name| is_ours(name, app.listen(), &app.settings().names));
    if one && (host.is_some() || target.is_some()) && ours(host) && ours(target) {
        next.run(request).await
    } else {
        refuse(StatusCode::MISDIRECTED_REQUEST, REFUSAL)
    }
}

/// Whether `host`, `host:port` or `[v6]:port` is us. The port does not matter: tunnels change it.
fn is_ours(host: &str, listen: IpAddr, names: &[HostName]) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port_is_one = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    if !port_is_one {
        return false;
    }
    let by_nature = match name.parse::<IpAddr>() {
        // Who listens on all addresses has any of them. No stranger's page has a name that is an address of ours.
        Ok(addr) => addr == listen || addr.is_loopback() || listen.is_unspecified(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    by_nature || names.iter().any(|known| known.is(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_and_strangers() {
        let listen = "127.0.0.1".parse().unwrap();
        for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.5.5.5:80", "[::1]:8080", "[::1]"] {
            assert!(is_ours(ours, listen, &[]), "{ours}");
        }
        for strange in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:127",
            "127.0.0.1.evil.example",
            "10.0.0.5",
            "localhost:x",
            "[::1",
            "[::1]x",
            "[::2]",
            "127.0.0.1:80:80",
            "user@localhost",
        ] {
            assert!(!is_ours(strange, listen, &[]), "{strange}");
        }
        assert!(is_ours("10.0.0.5:80", "10.0.0.5".parse().unwrap(), &[]));
        let all = "0.0.0.0".parse().unwrap();
        assert!(is_ours("192.0.2.2:8080", all, &[]) && !is_ours("evil.example:8080", all, &[]));
    }

    #[test]
    fn configured_names() {
        let names = ["StreamDB.example", "10.0.0.7", "2001:db8:0::7"].map(|name| HostName::parse(name).unwrap());
        let listen = "0.0.0.0".parse().unwrap();
        for ours in ["streamdb.example", "STREAMDB.example:8080", "10.0.0.7:80", "[2001:db8::7]:80", "localhost"] {
            assert!(is_ours(ours, listen, &names), "{ours}");
        }
        for strange in ["streamdb.example.evil.example", "www.streamdb.example"] {
            assert!(!is_ours(strange, listen, &names), "{strange}");
        }
        for bad in ["", "a b", "streamdb.example:80", "https://streamdb.example", ".example", "a..b", "*", "[::1]"] {
            assert_eq!(HostName::parse(bad), None, "{bad}");
        }
    }
}
