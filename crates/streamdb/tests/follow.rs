//! Following a stream while it is captured: on the command line, over HTTP, and by asking again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Capturing, Data, Pair, Server, head, installed, may_capture, noise, stream_to, text, until, wait};

/// What a client has of a stream that it reads on, and when it has ended.
struct Following {
    child: Child,
    got: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Following {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&got);
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            loop {
                let n = out.read(&mut piece).unwrap();
                if n == 0 {
                    return;
                }
                all.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self { child, got, reader }
    }

    fn has(&self, wanted: &[u8]) {
        until("the follower has what came", || (self.got.lock().unwrap().as_slice() == wanted).then_some(()));
    }

    /// What it said at its end, which must come by itself.
    fn end(mut self) -> (Option<i32>, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = wait(&mut self.child).code();
        self.reader.join().unwrap();
        (code, err)
    }
}

#[test]
fn an_open_stream_is_followed_by_any_oid_of_it() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-follow");
    let (listener, address, filter) = Pair::on_loopback();
    let capturing = Capturing::start(&data, None, &["-i", "lo", "--filter", &filter, "--bucket", "2s"]);
    let mut pair = Pair::connect(&listener, address);
    pair.download(b"the first part");
    let mut all = [head(b"the first part").as_bytes(), b"the first part"].concat();
    let first = text(&stream_to(&data, pair.port(), all.len()), "oid").to_owned();
    let server = Server::start(&data);
    let raw = |more: &str| server.get(&format!("/streamdb/?oid={first}&raw=1{more}"));
    assert_eq!(raw("").header("x-streamdb-newest"), None);
    let following = Following::start(data.command("get", &["--raw", "--follow", &first]));
    let mut curl = Command::new("curl");
    curl.args(["-sSN", &format!("http://{}/streamdb/?oid={first}&raw=1&follow=1", server.address)]);
    let curling = installed("curl").then(|| Following::start(curl));
    following.has(&all);

    // Over several buckets, each time read within a second or little more on a machine that has much else to do.
    for turn in 0..6 {
        let body = noise(turn, 30_000);
        let sent = Instant::now();
        pair.download(&body);
        all.extend([head(&body).as_bytes(), &body].concat());
        following.has(&all);
        println!("turn {turn}: {} ms", sent.elapsed().as_millis());
        // A script goes on from where it was.
        let known = (all.len() - body.len()).to_string();
        let request = format!(
            "GET /streamdb/?oid={first}&raw=1&newest=1 HTTP/1.1\r\nHost: {}\r\nRange: bytes={known}-\r\nConnection: close\r\n\r\n",
            server.address
        );
        let answer = server.send(&request);
        let said = format!("bytes {known}-{}/{}", all.len() - 1, all.len());
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(said.as_str())));
        assert!(answer.body == body);
        let newest = answer.header("x-streamdb-oid").unwrap().to_owned();
        assert_eq!(answer.header("x-streamdb-reason"), Some("open"));
        // The old name still means what it meant, and says the new one.
        let old = raw("");
        assert_eq!(
            (old.body.len(), old.header("x-streamdb-newest")),
            (head(b"the first part").len() + 14, Some(&*newest))
        );
        std::thread::sleep(Duration::from_millis(700));
    }
    assert!(data.json("buckets", &[]).len() > 2);
    // The message that the oid names is in the newer stream too.
    let (stem, _) = first.rsplit_once('-').unwrap();
    assert_eq!(server.get(&format!("/streamdb/?oid={stem}-6")).status, 404);
    assert!(server.get(&format!("/streamdb/?oid={stem}-6&newest=1")).body == noise(5, 30_000));

    // The connection ends, and so do those who follow it.
    drop(pair);
    let begun = Instant::now();
    let (code, err) = following.end();
    assert_eq!((code, err.as_str()), (Some(0), ""), "after {:?}", begun.elapsed());
    if let Some(curling) = curling {
        let got = Arc::clone(&curling.got);
        assert_eq!(curling.end(), (Some(0), String::new()));
        assert!(*got.lock().unwrap() == all);
    }
    capturing.stop();
    data.is_well();
}

#[test]
fn who_follows_a_stream_whose_writer_dies_is_told() {
    if !may_capture() {
        return;
    }
    let data = Data::new("capture-follow-killed");
    let (listener, address, filter) = Pair::on_loopback();
    let mut capturing = Capturing::start(&data, None, &["-i", "lo", "--filter", &filter]);
    let mut pair = Pair::connect(&listener, address);
    pair.download(b"some");
    let all = [head(b"some").as_bytes(), b"some"].concat();
    let oid = text(&stream_to(&data, pair.port(), all.len()), "oid").to_owned();
    let following = Following::start(data.command("get", &["--raw", "--follow", &oid]));
    following.has(&all);
    capturing.child.kill().unwrap();
    capturing.child.wait().unwrap();
    let (code, err) = following.end();
    let wanted = format!("streamdb: {oid}: nobody writes to the store any more, and the stream was open\n");
    assert_eq!((code, err), (Some(0), wanted));
    let said = data.run("get", &["--follow", &oid]);
    assert!(said.code == Some(2) && said.err.contains("--raw"), "{said:?}");
}
