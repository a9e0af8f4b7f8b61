//! A server on a socket: what a client sees of bodies that come in pieces, and of the end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Said, Talk, store};
use streamdb_http_api::Server;
use streamdb_types::Reason;
use tokio::sync::oneshot;

fn ask(address: std::net::SocketAddr, path: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An answer that breaks off may end in a reset.
    let _ = socket.read_to_end(&mut answer);
    answer
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
    let (folder, store) = store(&[Talk {
        client: "10.0.0.5:1",
        server: "203.0.113.9:9",
        begun: "2012-03-02T07:51:51Z",
        said: vec![Said::ToServer(&bytes)],
        reason: Reason::Fin,
    }]);
    let mut oid = None;
    let visit = &mut |info: streamdb_storage::StreamInfo| {
        oid = if info.length.0 > 0 { Some(info.oid) } else { oid };
        Ok(())
    };
    store.streams(visit, &mut |error| panic!("{error}")).unwrap();
    let path = format!("/streamdb/?raw=1&oid={}", oid.unwrap());

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
    let store = std::sync::Arc::new(streamdb_storage::Store::open(&folder.path().join("data")).unwrap());
    runtime.spawn(fresh.run(store, std::future::pending()));
    let answer = ask(broken, &path);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.len() < bytes.len(), "{}", answer.len());

    stop.send(()).unwrap();
    runtime.block_on(running).unwrap().unwrap();
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
}
