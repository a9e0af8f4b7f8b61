//! A server on a socket: what a client sees of bodies that come in pieces, and of the end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Said, Talk, store};
use streamdb_http_api::Server;
use streamdb_storage::{Store, StreamInfo};
use streamdb_testkit::TestFolder;
use streamdb_types::{Oid, Reason};
use tokio::sync::oneshot;

fn ask(address: std::net::SocketAddr, path: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An answer that breaks off may end in a reset.
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// A store of one stream with these bytes, and its name.
fn one_stream(bytes: &[u8]) -> (TestFolder, Arc<Store>, Oid) {
    let (folder, store) = store(&[Talk {
        client: "10.0.0.5:1",
        server: "203.0.113.9:9",
        begun: "2012-03-02T07:51:51Z",
        said: vec![Said::ToServer(bytes)],
        reason: Reason::Fin,
    }]);
    let mut oid = None;
    let visit = &mut |info: StreamInfo| {
        oid = if info.length.0 > 0 { Some(info.oid) } else { oid };
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    (folder, store, oid.unwrap())
}

#[test]
fn answers_are_whole_or_visibly_not() {
    // Noise, so that blocks are stored as they are.
    let mut state = 1u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(9 << 20)
    .collect();
    let (folder, store, oid) = one_stream(&bytes);
    let path = format!("/streamdb/?raw=1&oid={}", oid);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = runtime.spawn(server.run(store, async {
        let _ = stopped.await;
    }));

    let answer = ask(address, &path);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&bytes));

    // A block is damaged under the server's feet: the length that was promised is not sent.
    let bucket = std::fs::read_dir(folder.path().join("data/buckets")).unwrap().next().unwrap().unwrap().path();
    let mut file = std::fs::read(&bucket).unwrap();
    let wanted = &bytes[8 << 20..(8 << 20) + 32];
    let at = file.windows(32).position(|w| w == wanted).unwrap();
    file[at] ^= 1;
    std::fs::write(&bucket, file).unwrap();
    let fresh = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let broken = fresh.address();
    let store = Arc::new(Store::open(&folder.path().join("data")).unwrap());
    runtime.spawn(fresh.run(store, std::future::pending()));
    let answer = ask(broken, &path);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.len() < bytes.len(), "{}", answer.len());

    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
}

#[test]
fn slow_downloads_keep_no_search_waiting() {
    let bytes = vec![7; 16 << 20];
    let (_folder, store, oid) = one_stream(&bytes);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address();
    runtime.spawn(server.run(store, std::future::pending()));
    // Each takes the first bytes, and then no more.
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            write!(socket, "GET /streamdb/?raw=1&oid={} HTTP/1.1\r\nHost: localhost\r\n\r\n", oid).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            // Without a turn of its own nothing comes.
            let _ = socket.read(&mut [0; 100]);
            socket
        })
        .collect();
    let begun = Instant::now();
    let answer = ask(address, "/streamdb/?srcip=10.0.0.99");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", answer.escape_ascii());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(slow);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

#[test]
fn who_takes_nothing_does_not_keep_the_server_from_ending() {
    let (_folder, store, oid) = one_stream(&vec![7; 32 << 20]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run(store, async {
        let _ = stopped.await;
    }));
    let mut slow = TcpStream::connect(address).unwrap();
    write!(slow, "GET /streamdb/?raw=1&oid={oid} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    let begun = Instant::now();
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
    drop(runtime);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < 32 << 20);
}

#[test]
fn who_does_not_say_what_is_wanted_keeps_nobody_out() {
    let (_folder, store) = store(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address();
    runtime.spawn(server.run(store, std::future::pending()));
    let mut idle: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (n, socket) in idle.iter_mut().enumerate() {
        // Nothing, half a head, half a login.
        let said: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nHost: localhost\r\n",
            _ => {
                b"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Length: 9\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken"
            }
        };
        socket.write_all(said).unwrap();
    }
    let begun = Instant::now();
    let answer = ask(address, "/style.css");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", answer.escape_ascii());
    // Each of them is let go of.
    for socket in &mut idle {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let result = socket.read_to_end(&mut Vec::new());
        assert!(result.is_ok() || result.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock));
    }
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
}
