//! How the sensor goes, as Prometheus, a supervisor and people are told it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod asked;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use asked::common::{Said, Talk};
use asked::{Answer, Server};
use axum::http::{Method, StatusCode};
use streamdb_http_api::{App, Role, Settings, Token, TokenHash, router};
use streamdb_storage::{DiskVolume, Status, StatusWriter, Teller};
use streamdb_submit::{Kind, Policy, Retry, Rules, Submissions, Target, TargetName};
use streamdb_types::{Counters, Reason};

const HTML: (&str, &str) = ("accept", "text/html");

fn talk<'a>(said: Vec<Said<'a>>) -> Talk<'a> {
    Talk {
        client: "10.0.0.5:49211",
        server: "203.0.113.9:80",
        begun: "2012-03-02T07:51:51Z",
        said,
        reason: Reason::Fin,
    }
}

fn server() -> Server {
    Server::new(&[talk(vec![Said::ToServer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")])])
}

/// Says what a process would.
fn say(server: &Server, teller: Teller, values: &[(&str, &str)]) {
    let mut status = Status::default();
    values.iter().for_each(|(name, value)| status.set(name, value));
    StatusWriter::open(&DiskVolume, server.store.path(), teller).unwrap().write(status.values).unwrap();
}

fn json(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_slice(&answer.body).unwrap()
}

fn reasons(server: &Server) -> (StatusCode, Vec<String>) {
    let answer = server.get("/ready");
    let reasons = json(&answer)["reasons"].as_array().cloned().unwrap_or_default();
    (answer.status, reasons.iter().map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn prometheus_is_told_all_that_is_counted() {
    let server = server();
    let counters: Vec<(String, String)> = Counters::NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| (format!("worker.0.{name}"), (at + 1).to_string()))
        .collect();
    let mut values: Vec<(&str, &str)> = counters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    values.extend([("worker.0.interface", "eth\"0"), ("worker.0.open", "77"), ("worker.0.held", "78")]);
    values.extend([("worker.61.interface", "spool"), ("worker.61.waiting", "5")]);
    say(&server, Teller::Capture, &values);
    say(&server, Teller::Derive, &[("lag_millis", "1500"), ("lag_bytes", "900"), ("objects", "12"), ("given_up", "1")]);
    say(&server, Teller::Supervisor, &[("process.capture.restarts", "2"), ("process.capture.down_millis", "2500")]);
    server.get("/streamdb/?ip=10.0.0.5");
    server.get("/nothing");
    let answer = server.get("/metrics");
    assert_eq!((answer.status, answer.header("content-type")), {
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8")
    });
    let text = answer.text();
    let own = "worker=\"0\",interface=\"eth\\\"0\"";
    for line in [
        format!("streamdb_frames_total{{{own}}} 1"),
        format!("streamdb_payload_bytes_total{{{own},outcome=\"stored\"}} 13"),
        format!("streamdb_open_connections{{{own}}} 77"),
        format!("streamdb_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "streamdb_up{process=\"capture\"} 1".to_owned(),
        "streamdb_spool_waiting_files 5".to_owned(),
        "streamdb_derive_lag_seconds 1.5".to_owned(),
        "streamdb_derive_lag_bytes 900".to_owned(),
        "streamdb_derive_given_up_connections 1".to_owned(),
        "streamdb_process_restarts_total{process=\"capture\"} 2".to_owned(),
        "streamdb_process_down_seconds_total{process=\"capture\"} 2.5".to_owned(),
        "streamdb_store_buckets 1".to_owned(),
        "streamdb_retention_dropped_buckets_total 0".to_owned(),
        "streamdb_http_requests_total{route=\"/streamdb/\",status=\"200\"} 1".to_owned(),
        "streamdb_http_requests_total{route=\"other\",status=\"404\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Each family is described once, before its samples, which differ.
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(described.len(), described.iter().collect::<BTreeSet<_>>().len());
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let names: BTreeSet<&str> = samples.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(names.len(), samples.len());
    // Where Prometheus is installed, it says whether it likes that.
    let Ok(mut promtool) = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn() else {
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(promtool.wait().unwrap().success());
}

#[test]
fn metrics_and_the_status_need_a_token_and_health_does_not() {
    let server = server();
    let token =
        Token { name: "reader".into(), hash: TokenHash::of(b"secret"), roles: [Role::Read].into_iter().collect() };
    let settings = Settings { tokens: vec![token], ..Settings::default() };
    let app = |listen: &str| App::new(server.store.clone(), listen.parse().unwrap()).with(settings.clone());
    let with = |listen| Server {
        router: router(app(listen)),
        store: server.store.clone(),
        _folder: asked::common::store(&[]).0,
    };
    let guarded = with("127.0.0.1");
    for path in ["/metrics", "/status"] {
        assert_eq!(guarded.get(path).status, StatusCode::UNAUTHORIZED, "{path}");
        let answer = guarded.ask(Method::GET, path, &[("authorization", "Bearer secret")]);
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    assert_eq!(json(&guarded.get("/health")), serde_json::json!({"status": "ok"}));
    assert_eq!(guarded.get("/ready").status, StatusCode::OK);
    // Who asks from elsewhere is not told what is wrong.
    say(&server, Teller::Supervisor, &[]);
    assert_eq!(json(&guarded.get("/ready"))["reasons"][0]["reason"], "capture");
    let public = with("192.0.2.1");
    let answer = public.ask(Method::GET, "/ready", &[("host", "192.0.2.1:8080")]);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json(&answer), serde_json::json!({"status": "not ready"}));
}

/// Who sends holds the queue while its disk syncs, which may take for ever.
#[test]
fn nobody_waits_for_who_holds_the_queue_of_submissions() {
    let mut server = Server::new(&[asked::download()]);
    let kind = Kind::Folder { path: server.store.path().to_owned(), json: false };
    let targets = vec![Target { name: TargetName::folder(), kind, timeout: Duration::from_secs(1) }];
    let settings =
        streamdb_submit::Settings { targets, policy: Policy::default(), retry: Retry::default(), room: 1 << 20 };
    let submissions = Submissions::open(server.store.path(), settings).unwrap();
    let oid = server.oids().remove(0).parse().unwrap();
    submissions.submit(&server.store, oid, Rules { incomplete: true, again: false }).unwrap();
    let settings = Settings { submissions: Some(submissions), ..Settings::default() };
    server.router = router(App::new(server.store.clone(), "127.0.0.1".parse().unwrap()).with(settings));
    let hold = || {
        let lock = File::options().write(true).open(server.store.path().join("queue/lock")).unwrap();
        lock.lock().unwrap();
        lock
    };
    let paths = ["/metrics"; 8].into_iter().chain(["/status"; 8]).chain(["/ready"]);
    let ask_all = |lock: File| -> Vec<(&str, Answer)> {
        let (told, answers) = channel();
        let asked = paths.clone().count();
        thread::scope(|scope| {
            for path in paths.clone() {
                let (told, server) = (told.clone(), &server);
                scope.spawn(move || drop(told.send((path, server.get(path)))));
            }
            let answered = (0..asked).map_while(|_| answers.recv_timeout(Duration::from_secs(30)).ok()).collect();
            drop(lock);
            answered
        })
    };
    let waits = "streamdb_submissions{target=\"folder\",state=\"waiting\"} 1\n";
    let shows = |(path, answer): &(&str, Answer)| {
        let wanted = if *path == "/metrics" { waits } else { "1 waiting" };
        (*path != "/ready").then(|| answer.text().contains(wanted))
    };
    let before = ask_all(hold());
    assert_eq!(before.len(), paths.clone().count());
    assert!(before.iter().all(|(_, answer)| answer.status == StatusCode::OK));
    assert!(before.iter().filter_map(shows).all(|shows| !shows), "what was never known is left out");
    while !server.get("/metrics").text().contains(waits) {}
    let then = ask_all(hold());
    assert_eq!(then.len(), paths.clone().count());
    assert!(then.iter().filter_map(shows).all(|shows| shows), "and else shown as it was");
}

#[test]
fn it_is_ready_when_all_that_should_run_does() {
    let server = server();
    // A store alone is all there is to serve.
    assert_eq!(reasons(&server), (StatusCode::OK, vec![]));
    say(&server, Teller::Supervisor, &[]);
    assert_eq!(reasons(&server), (StatusCode::SERVICE_UNAVAILABLE, vec!["capture".to_owned()]));
    let lock = File::options().write(true).open(server.store.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    say(&server, Teller::Capture, &[]);
    assert_eq!(reasons(&server), (StatusCode::OK, vec![]));
    say(&server, Teller::Derive, &[("lag_millis", "599000")]);
    assert_eq!(reasons(&server).0, StatusCode::OK);
    say(&server, Teller::Derive, &[("lag_millis", "601000")]);
    assert_eq!(reasons(&server), (StatusCode::SERVICE_UNAVAILABLE, vec!["derive".to_owned()]));
    say(&server, Teller::Derive, &[]);
    let ledger = server.store.path().join("ledger");
    std::fs::rename(&ledger, ledger.with_extension("gone")).unwrap();
    assert_eq!(reasons(&server), (StatusCode::SERVICE_UNAVAILABLE, vec!["store".to_owned()]));
}

#[test]
fn what_was_lost_is_shown_beside_the_streams() {
    let lost = talk(vec![Said::ToServer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Said::Dropped(1), Said::ToClient(b"x")]);
    let later = Talk { client: "10.0.0.6:1", begun: "2012-03-02T08:51:51Z", ..talk(vec![Said::ToServer(b"y")]) };
    let server = Server::new(&[lost, later]);
    let sentence = " % of frames were lost in this window";
    let page = server.ask(Method::GET, "/streamdb/?ip=10.0.0.5", &[HTML]).text();
    assert!(page.contains(&format!("{sentence}</p>")), "{page}");
    assert!(server.get("/streamdb/?ip=10.0.0.5").text().contains(&format!("{sentence}]")));
    assert!(!server.get("/streamdb/?ip=10.0.0.6").text().contains(sentence));
    for (path, rows) in [("/streamdb/?as_json=1&ip=", ""), ("/api/v1/streams?ip=", "/rows")] {
        let found = |ip: &str| {
            let answer = json(&server.get(&format!("{path}{ip}")));
            answer.pointer(rows).unwrap().as_array().unwrap().clone()
        };
        for row in found("10.0.0.5") {
            assert_eq!(row["loss"]["dropped_kernel"], 1, "{row}");
            let frames = row["loss"]["frames"].as_f64().unwrap();
            assert!((1.0..20.0).contains(&frames), "{row}");
            assert!((row["loss"]["percent"].as_f64().unwrap() - 100.0 / (frames + 1.0)).abs() < 0.001, "{row}");
        }
        for row in found("10.0.0.6") {
            assert_eq!(row.get("loss"), None, "{row}");
        }
    }
}

#[test]
fn what_a_disk_did_not_take_is_counted_once() {
    let server = server();
    say(
        &server,
        Teller::Capture,
        &[("worker.0.interface", "eth0"), ("worker.0.frames", "100"), ("worker.0.lost_frames", "100")],
    );
    let page = server.ask(Method::GET, "/status", &[HTML]).text();
    assert!(page.contains("100 (100.0 %)"), "{page}");
}

#[test]
fn people_are_told_how_it_goes() {
    let server = server();
    let page = server.ask(Method::GET, "/status", &[HTML]);
    assert_eq!(page.header("content-security-policy").split(';').next(), Some("default-src 'none'"));
    assert!(page.text().contains("no process has captured here that says how it goes"), "{}", page.text());
    let values = [
        ("worker.0.interface", "<b>eth0"),
        ("worker.0.frames", "997"),
        ("worker.0.dropped_kernel", "3"),
        ("worker.0.disk_stalls", "2"),
        ("worker.0.disk_stalled_millis", "1500"),
        ("worker.61.interface", "spool"),
        ("worker.61.waiting", "1"),
    ];
    say(&server, Teller::Capture, &values);
    say(&server, Teller::Derive, &[("lag_millis", "2500"), ("objects", "1"), ("given_up", "1")]);
    let gap = ("gap.00", "capture 1330674711000000000 1330674713500000000");
    say(
        &server,
        Teller::Supervisor,
        &[gap, ("process.capture.restarts", "1"), ("process.capture.down_millis", "2500")],
    );
    let text = server.ask(Method::GET, "/status", &[HTML]).text();
    for wanted in [
        "<td>997</td>",
        "3 (0.3 %)",
        "2 times, 1.5 s",
        "0, 0 bytes held, 1 file waiting",
        "2.5 s and 0 bytes behind; 1 object found, given up in 1 connection",
        "capture: 2012-03-02 07:51:51 for 2.5 s",
        "died and was started again once, 2.5 s without it",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    assert!(!text.contains("<b>eth0"));
}
