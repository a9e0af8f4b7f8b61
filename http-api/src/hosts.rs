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

const REFUSAL: &str = "This server answers to its own address and to localhost only; the request was for another host.";

/// Lets through what is for the address that is listened on, `localhost`, or a loopback address.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut named = request.headers().get_all(HOST).iter();
    let host = named.next().and_then(|host| host.to_str().ok());
    let one = named.next().is_none();
    let target = request.uri().authority().map(|authority| authority.as_str());
    // RFC 9112 §3.2.2: where the target names a host, that counts; here neither may be a stranger's.
    let ours = |name: Option<&str>| name.is_none_or(|name| is_ours(name, app.listen()));
    if one && (host.is_some() || target.is_some()) && ours(host) && ours(target) {
        next.run(request).await
    } else {
        refuse(StatusCode::MISDIRECTED_REQUEST, REFUSAL)
    }
}

/// Whether `host`, `host:port` or `[v6]:port` is us. The port does not matter: tunnels change it.
fn is_ours(host: &str, listen: IpAddr) -> bool {
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
    match name.parse::<IpAddr>() {
        Ok(addr) => addr == listen || addr.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_and_strangers() {
        let listen = "127.0.0.1".parse().unwrap();
        for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.5.5.5:80", "[::1]:8080", "[::1]"] {
            assert!(is_ours(ours, listen), "{ours}");
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
            assert!(!is_ours(strange, listen), "{strange}");
        }
        assert!(is_ours("10.0.0.5:80", "10.0.0.5".parse().unwrap()));
    }
}
