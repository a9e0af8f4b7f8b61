//! Captured content that is hostile, in front of a real browser: nothing of it runs, and nothing of it is loaded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, Data, Made, PATIENCE, Server, Talk, installed, wait};

/// What a page's title becomes when a captured script runs. No capture has it in one piece.
const RAN: &str = "PWNED";
const SCRIPT: &str = "document.title='PW'+'NED'";

/// Counts who comes, and hands everybody the same answer.
struct Listener {
    address: SocketAddr,
    came: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        let visitors = Arc::clone(&came);
        // It ends with the test's process.
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                visitors.lock().unwrap().push(String::new());
                let (visitors, answer) = (Arc::clone(&visitors), answer.clone());
                thread::spawn(move || {
                    let _ = socket.set_read_timeout(Some(PATIENCE));
                    let mut request = [0; 4096];
                    let n = socket.read(&mut request).unwrap_or(0);
                    let line = String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned();
                    visitors.lock().unwrap().push(line);
                    let _ = socket.write_all(&answer);
                });
            }
        });
        Self { address, came }
    }

    /// A beacon: what is loaded from it counts, and there is nothing to have.
    fn beacon() -> Self {
        Self::start(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec())
    }

    /// Who came since it was last asked. A browser that has ended has sent all that it sends.
    fn came(&self) -> Vec<String> {
        thread::sleep(Duration::from_millis(100));
        std::mem::take(&mut self.came.lock().unwrap())
    }
}

/// A response's body, and how its sender declares it.
struct Hostile {
    declared: &'static str,
    body: Vec<u8>,
    /// Whether a browser runs it when it is handed out as declared.
    runs: bool,
}

/// What loads and runs in many ways, once it is taken for HTML.
fn markup(beacon: SocketAddr) -> String {
    let url = format!("http://{beacon}");
    format!(
        "</pre></article></main></title></textarea></style>--></script><script>{SCRIPT}</script>\
         <base href=\"{url}/base/\"><img src={url}/img><img src=x onerror=\"{SCRIPT}\"><svg onload=\"{SCRIPT}\"></svg>\
         <style>@import url({url}/import);body{{background:url({url}/background)}}</style>\
         <link rel=stylesheet href={url}/sheet><iframe src={url}/frame srcdoc=\"<script>parent.{SCRIPT}</script>\"></iframe>\
         <object data={url}/object></object><video src={url}/video></video>\
         <meta http-equiv=refresh content=\"0;url={url}/refresh\"><a href=\"javascript:{SCRIPT}\" autofocus onfocus=\"{SCRIPT}\">x</a>"
    )
}

fn hostile(beacon: SocketAddr) -> Vec<Hostile> {
    let markup = markup(beacon);
    let page = format!("<!DOCTYPE html><title>quiet</title>{markup}");
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"{SCRIPT}\"><title>quiet</title><script>{SCRIPT}</script>\
         <image href=\"http://{beacon}/svg\" width=\"9\" height=\"9\"/></svg>"
    );
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(page.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let utf7 = format!("+ADw-script+AD4-{SCRIPT}+ADw-/script+AD4-+ADw-img src=http://{beacon}/utf7+AD4-");
    let controls = [b"\x1b]0;PW\x07\0\r\r\n\x0b\x0c\x85\xa0\xff\xfe".as_slice(), page.as_bytes()].concat();
    let long = format!("{}{markup}", "A".repeat(15_000));
    let one = |declared, runs, body: &[u8]| Hostile { declared, body: body.to_vec(), runs };
    vec![
        one("text/html", true, page.as_bytes()),
        one("image/svg+xml", true, svg.as_bytes()),
        one("text/html; charset=utf-16le", true, &utf16),
        one("text/html; charset=utf-7", false, utf7.as_bytes()),
        one("application/javascript", false, format!("{SCRIPT};//{markup}").as_bytes()),
        one("text/html", true, &controls),
        one("text/html", true, long.as_bytes()),
        one("text/html\"><script>document.title='PW'+'NED'</script>", false, page.as_bytes()),
    ]
}

/// A connection for each, with the markup in the request's target and fields, and in the response's fields.
fn capture(hostile: &[Hostile], beacon: SocketAddr) -> Vec<u8> {
    let markup = markup(beacon);
    let target = markup.replace(' ', "/");
    let mut made = Made::default();
    for (n, hostile) in hostile.iter().enumerate() {
        let millis = n as u64 * 1000;
        let ask = format!(
            "GET /\"'>{target} HTTP/1.1\r\nHost: \"'><script>{SCRIPT}</script>\r\nUser-Agent: {markup}\r\n\
             Cookie: a\rSet-Cookie: b\r\n\r\n"
        );
        let length = hostile.body.len();
        let declared = hostile.declared;
        let head = format!(
            "HTTP/1.1 200 O\rK{markup}\r\nContent-Type: {declared}\r\nServer: {markup}\r\nX: a\rContent-Security-Policy: none\r\n\
             Content-Disposition: inline; filename=\"../../evil\r\n X-Injected: yes{markup}.html\"; \
             filename*=UTF-8''a%0d%0aX-Injected:%20yes%22evil.html\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut talk = Talk::new(40_000 + n as u16);
        talk.open(&mut made, millis).ask(&mut made, millis + 10, ask.as_bytes());
        talk.answer(&mut made, millis + 20, &[head.as_bytes(), &hostile.body].concat()).close(&mut made, millis + 30);
    }
    made.file()
}

/// Headless Chromium, with a home of its own, so that what it downloads goes with the test.
struct Browser<'d> {
    data: &'d Data,
}

impl Browser<'_> {
    /// What has become of a page when all that it waits for is there.
    fn dom(&self, url: &str) -> String {
        let out = self.data.beside("dom.html");
        wait(&mut self.start(url, &["--virtual-time-budget=3000"], fs::File::create(&out).unwrap().into()));
        String::from_utf8_lossy(&fs::read(&out).unwrap()).into_owned()
    }

    /// The name and the bytes of the file that it stores instead of showing a page. Now and then headless Chromium drops the
    /// download that it was started with, whoever serves it: then it is asked again.
    fn download(&self, url: &str) -> (String, Vec<u8>) {
        let stored = (0..10).find_map(|_| self.try_download(url));
        stored.unwrap_or_else(|| panic!("{url} is never stored"))
    }

    fn try_download(&self, url: &str) -> Option<(String, Vec<u8>)> {
        // It waits for a page, which never comes.
        let mut child = self.start(url, &[], Stdio::null());
        let folder = self.data.beside("home").join("Downloads");
        let begun = Instant::now();
        let mut stored = None;
        while stored.is_none() && begun.elapsed() < Duration::from_secs(6) {
            thread::sleep(Duration::from_millis(50));
            let Ok(files) = fs::read_dir(&folder) else { continue };
            // The name of an unfinished one ends so, or begins with a dot.
            stored = files
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .find(|name| !name.ends_with(".crdownload") && !name.starts_with('.'));
        }
        // Time for what it should not do.
        thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        // The name may be a place that is kept for the file, which is there only when it is whole.
        stored.and_then(|name| {
            let bytes = fs::read(folder.join(&name)).ok().filter(|bytes| !bytes.is_empty())?;
            Some((name, bytes))
        })
    }

    fn start(&self, url: &str, more: &[&str], out: Stdio) -> Child {
        let home = self.data.beside("home");
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg("--dump-dom")
            .args(more)
            .arg(format!("--user-data-dir={}", home.join("profile").display()))
            .arg(url)
            .env("HOME", &home)
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// An answer as a browser gets it.
fn ask(server: &Server, path: &str) -> Answer {
    let host = server.address;
    server.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html,*/*\r\nConnection: close\r\n\r\n"))
}

/// What holds for every answer.
fn check_headers(path: &str, answer: &Answer) {
    let header = |name| answer.header(name).unwrap_or_else(|| panic!("{path}: no {name}"));
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains('*'),
        "{path}: {policy}"
    );
    assert!(!policy.contains("script-src"), "{path}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("x-frame-options"), "DENY", "{path}");
    for name in ["x-injected", "set-cookie", "x", "refresh", "link"] {
        assert_eq!(answer.header(name), None, "{path}");
    }
    // A page is ours, made here; what is not ours is never handed out as a page.
    if header("content-type").starts_with("text/html") {
        let page = answer.text();
        let tags = [
            "<script",
            "<svg",
            "<img",
            "<image",
            "<iframe",
            "<base",
            "<object",
            "<video",
            "<style",
            "<meta http-equiv",
        ];
        for tag in tags {
            assert!(!page.to_ascii_lowercase().contains(tag), "{path}: {tag}");
        }
    } else {
        assert!(policy.starts_with("sandbox"), "{path}: {policy}");
        let plain = ["text/plain; charset=utf-8", "application/octet-stream", "application/zip", "application/json"];
        assert!(plain.contains(&header("content-type")), "{path}: {}", header("content-type"));
    }
}

/// A download: attached, under a name made of its oid.
fn check_download(path: &str, oid: &str, answer: &Answer) {
    let named = answer.header("content-disposition").unwrap_or_else(|| panic!("{path}: would be shown"));
    let name = named.strip_prefix(&format!("attachment; filename=\"streamdb-{oid}")).and_then(|n| n.strip_suffix('"'));
    let name = name.unwrap_or_else(|| panic!("{path}: {named}"));
    assert!(
        name.is_empty() || name.strip_prefix('.').is_some_and(|n| n.bytes().all(|b| b.is_ascii_alphanumeric())),
        "{named}"
    );
}

#[test]
fn nothing_captured_runs_or_is_loaded() {
    if !installed("chromium") {
        return;
    }
    let beacon = Listener::beacon();
    let hostile = hostile(beacon.address);
    let data = Data::new("browser");
    let file = data.write("hostile.pcap", &capture(&hostile, beacon.address));
    data.ingest(&[], &[&file]).well();
    let browser = Browser { data: &data };

    // Served as declared it does run and load: the traps work.
    for (n, hostile) in hostile.iter().enumerate().filter(|(_, hostile)| hostile.runs) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\nConnection: close\r\n\r\n", hostile.declared);
        let server = Listener::start([head.as_bytes(), &hostile.body].concat());
        let _ = browser.dom(&format!("http://{}/", server.address));
        let came = beacon.came();
        assert!(came.iter().any(|line| line.starts_with("GET /")), "no trap: {n}, {came:?}");
    }
    let titled =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p><script>{SCRIPT}</script>");
    let titled = Listener::start(titled.into_bytes());
    assert!(browser.dom(&format!("http://{}/", titled.address)).contains(RAN), "no trap: the title");
    let _ = beacon.came();

    let server = Server::start(&data);
    let quiet = |path: &str| {
        let dom = browser.dom(&format!("http://{}{path}", server.address));
        assert_eq!(beacon.came(), [""; 0], "{path} was loaded from");
        assert!(!dom.contains(RAN), "{path} ran: {dom}");
        dom
    };

    // What is asked for comes back in the form, and may be a stranger's link.
    let trap: String = form_escape(&markup(beacon.address));
    let searches = [
        "/streamdb/?srcip=10.0.0.5".to_owned(),
        "/streamdb/?srcip=10.0.0.5&limit=2&sort=1".to_owned(),
        "/streamdb/?srcip=10.0.0.5&raw=1".to_owned(),
        "/streamdb/?srcip=10.0.0.5&as_text=1".to_owned(),
        "/streamdb/?srcip=10.0.0.5&as_hex=1".to_owned(),
        "/streamdb/?srcip=10.0.0.5&as_json=1".to_owned(),
    ];
    for path in &searches {
        check_headers(path, &ask(&server, path));
        let dom = quiet(path);
        assert!(dom.contains("10.0.0.5"), "{path}: {dom}");
    }
    assert!(quiet(&searches[0]).contains("'PW'+'NED'"), "the captured text is to be read");
    for path in [
        format!("/streamdb/?ip=10.0.0.5&uri={trap}"),
        format!("/streamdb/?srcip={trap}"),
        format!("/streamdb/?oid={trap}"),
    ] {
        check_headers(&path, &ask(&server, &path));
        quiet(&path);
    }

    let objects = data.json("objects", &[]);
    let mut bodies = 0;
    for object in &objects {
        let oid = object["oid"].as_str().unwrap();
        for shape in ["", "&raw=1", "&as_zip=1", "&as_pcap=1", "&as_hex=1"] {
            let path = format!("/streamdb/?oid={oid}{shape}");
            let answer = ask(&server, &path);
            assert_eq!(answer.status, 200, "{path}");
            if shape == "&as_pcap=1" {
                assert!(answer.header("content-disposition").unwrap().starts_with("attachment; filename=\"streamdb-"));
                continue;
            }
            check_headers(&path, &answer);
            match shape {
                "&as_hex=1" => {
                    assert!(answer.text().bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{path}")
                }
                _ => check_download(&path, oid, &answer),
            }
            // A browser goes to where there is something to be taken for a page.
            if object["size"].as_u64() == Some(0) {
                continue;
            }
            match shape {
                "&as_hex=1" => _ = quiet(&path),
                "" => {
                    assert!(hostile.iter().any(|hostile| hostile.body == answer.body), "{path} is not as sent");
                    let (name, bytes) = browser.download(&format!("http://{}{path}", server.address));
                    assert_eq!(beacon.came(), [""; 0], "{path} was loaded from");
                    assert!(name.starts_with(&format!("streamdb-{oid}")), "{path} was stored as {name}");
                    assert_eq!(bytes, answer.body, "{path}");
                    bodies += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(bodies, hostile.len(), "objects: {objects:?}");
}

/// A value for a query string.
fn form_escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
