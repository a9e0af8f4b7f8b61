//! Listening.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use streamdb_derive::Store;
use tokio::net::TcpListener;

use crate::app::{App, router};
use crate::connections;
use crate::settings::Settings;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address that others can reach.
    #[error(
        "{0}: others could reach this address, and no token is configured; make one with `streamdb token NAME`, put what it \
         prints into a file and give that with --config, or listen on 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("{0}: another program listens on this port; stop it, or listen on another port")]
    InUse(SocketAddr),
    /// The system does not let us.
    #[error("{0}: this user may not listen on this port; take one from 1024 on")]
    NotAllowed(SocketAddr),
    /// The address is not this machine's.
    #[error("{0}: this machine does not have this address")]
    NoAddress(SocketAddr),
    /// Anything else that the system says.
    #[error("{address}: could not listen: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ServeError {
    fn of(listen: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(listen),
            io::ErrorKind::PermissionDenied => Self::NotAllowed(listen),
            io::ErrorKind::AddrNotAvailable => Self::NoAddress(listen),
            _ => Self::Listen { address: listen, source },
        }
    }
}

/// A server that listens, and answers when it is [`run`](Self::run).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

impl Server {
    /// Listens, without tokens. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is not a loopback one, or cannot be listened on.
    pub async fn bind(listen: SocketAddr) -> Result<Self, ServeError> {
        Self::bind_with(listen, Settings::default()).await
    }

    /// Listens, with these settings.
    ///
    /// # Errors
    /// When the address is not a loopback one and there are no tokens, or when it cannot be listened on.
    pub async fn bind_with(listen: SocketAddr, settings: Settings) -> Result<Self, ServeError> {
        Self::may_listen(listen, &settings)?;
        let error = |source| ServeError::of(listen, source);
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address, settings })
    }

    /// Whether it would listen there with these settings, whoever else may.
    ///
    /// # Errors
    /// When the address is not a loopback one and there are no tokens.
    pub fn may_listen(listen: SocketAddr, settings: &Settings) -> Result<(), ServeError> {
        if listen.ip().to_canonical().is_loopback() || !settings.tokens.is_empty() {
            return Ok(());
        }
        Err(ServeError::NotLoopback(listen))
    }

    /// Whether this process can listen there now.
    ///
    /// # Errors
    /// When it cannot.
    pub fn can_listen(listen: SocketAddr) -> Result<(), ServeError> {
        std::net::TcpListener::bind(listen).map(drop).map_err(|source| ServeError::of(listen, source))
    }

    /// Whether this machine has that address, whoever listens on its port.
    ///
    /// # Errors
    /// When it has not.
    pub fn has_address(listen: SocketAddr) -> Result<(), ServeError> {
        let any_port = SocketAddr::new(listen.ip(), 0);
        std::net::TcpListener::bind(any_port).map(drop).map_err(|source| ServeError::of(listen, source))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is ready, and for a few seconds what was asked before that.
    pub async fn run(self, store: Arc<Store>, shutdown: impl Future<Output = ()> + Send + 'static) {
        let app = App::new(store, self.address.ip()).with(self.settings);
        connections::answer(self.listener, router(app), shutdown).await;
    }
}

/// Listens, and answers until `shutdown` is ready.
///
/// # Errors
/// As [`Server::bind`].
pub async fn serve(
    store: Arc<Store>,
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    Server::bind(listen).await?.run(store, shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(listen: &str) -> Result<Server, ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Server::bind(listen.parse().unwrap()))
    }

    #[test]
    fn only_loopback_and_only_once() {
        for public in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:10.0.0.1]:0"] {
            let error = bind(public).unwrap_err();
            assert!(error.to_string().contains("no token is configured"), "{error}");
        }
        // Held by std, as a listener of a runtime that is gone is no listener.
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = first.local_addr().unwrap();
        let error = bind(&taken.to_string()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{taken}: another program listens on this port; stop it, or listen on another port")
        );
        assert_ne!(bind("127.0.0.1:0").unwrap().address().port(), 0);
    }
}
