//! Connections: how many there are at a time, how long one may take to say what it wants, and how long to take it. Who has not
//! shown a token yet can cost no more than that.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at a time; others wait until one of these ends. Far fewer than the files that a process may have open, as
/// the store needs some too.
const MOST: usize = 512;
/// How long a request's head may take, and how long a connection is kept on which none comes.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may take none of what is sent to it; then the system ends the connection (tcp(7), TCP_USER_TIMEOUT). An
/// answer that is made at once lies in memory as long. A download that was paused for longer goes on by `Range`.
const TAKEN: Duration = Duration::from_secs(120);
/// How long answers that are on their way may take when the server is to end.
const LAST: Duration = Duration::from_secs(5);
/// When the system takes no more connections, it is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers until `shutdown` is ready, and for a few seconds what was asked before that.
pub(crate) async fn answer(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, accept(&listener).await)
        };
        let (place, socket) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            // How a connection ends is the client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    // What is cut then is visibly cut: fewer bytes than announced, or no last chunk.
    let _ = timeout(LAST, graceful.shutdown()).await;
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // A system that does not know the option has a bound of its own, a longer one.
                let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(TAKEN));
                return socket;
            }
            // It went away before we came to it.
            Err(error) if is_of_one(&error) => {}
            // Too many open files, or no memory.
            Err(_) => sleep(AGAIN).await,
        }
    }
}

fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
