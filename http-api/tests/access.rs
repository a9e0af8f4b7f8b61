//! Who may ask, from where, and by what name of the server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../crates/derive/tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use common::{Said, Talk, store};
use http_body_util::BodyExt;
use streamdb_http_api::{App, HostName, Origin, Role, Settings, Token, TokenHash, router};
use streamdb_submit::{Kind, Policy, Retry, Submissions, Target, TargetName};
use streamdb_testkit::TestFolder;
use streamdb_types::{Direction, Reason};
use tower::ServiceExt;

const HOST: &str = "streamdb.example";
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
const OURS: (&str, &str) = ("origin", "http://streamdb.example");
const SEARCH: &str = "/streamdb/?ip=10.0.0.5";

struct Server {
    folder: TestFolder,
    router: Router,
    /// The response.
    oid: String,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The cookies that it sets, as a browser sends them back; those that it removes are left out.
    fn cookies(&self) -> Vec<String> {
        let all = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        all.filter(|cookie| !cookie.contains("Max-Age=0")).map(|c| c.split(';').next().unwrap().to_owned()).collect()
    }
}

fn token(name: &str, roles: &[Role]) -> Token {
    Token { name: name.to_owned(), hash: TokenHash::of(name.as_bytes()), roles: roles.iter().copied().collect() }
}

impl Server {
    fn new(tokens: Vec<Token>) -> Self {
        Self::of_one_that_ended(Reason::Fin, tokens)
    }

    /// Its response lasts until the connection ends, and is complete if that is by FIN.
    fn of_one_that_ended(reason: Reason, tokens: Vec<Token>) -> Self {
        let (folder, store) = store(&[Talk {
            client: "10.0.0.5:49211",
            server: "203.0.113.9:80",
            begun: "2012-03-02T07:51:51.5Z",
            said: vec![Said::ToServer(b"GET / HTTP/1.0\r\n\r\n"), Said::ToClient(b"HTTP/1.0 200 OK\r\n\r\nabc")],
            reason,
        }]);
        let mut oid = None;
        let visit = &mut |info: streamdb_storage::StreamInfo| {
            oid = if info.direction == Direction::ToClient { Some(info.oid) } else { oid };
            Ok(())
        };
        store.streams(visit, &mut |error| panic!("{error}")).unwrap();
        let target = streamdb_submit::Settings {
            targets: vec![Target {
                name: TargetName::folder(),
                kind: Kind::Folder { path: folder.path().to_owned(), json: false },
                timeout: Duration::from_secs(1),
            }],
            policy: Policy::default(),
            retry: Retry::default(),
            room: 1 << 20,
        };
        let submissions = Submissions::open(&folder.path().join("data"), target).unwrap();
        let settings = Settings {
            submissions: Some(submissions),
            names: vec![HostName::parse(HOST).unwrap()],
            origins: vec![Origin::parse("https://kibana.example").unwrap()],
            tokens,
            ..Settings::default()
        };
        let router = router(App::new(store, "0.0.0.0".parse().unwrap()).with(settings));
        Self { folder, router, oid: oid.unwrap().to_string() }
    }

    fn closed() -> Self {
        Self::new(vec![token("reader", &[Role::Read]), token("submitter", &[Role::Submit]), token("both", &Role::ALL)])
    }

    fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        if !form.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }

    fn get(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", uri, headers, "")
    }

    /// How many objects are in the queue.
    fn queued(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("data/queue/content")).unwrap().count()
    }

    /// Logs in, and gives the cookies.
    fn enter(&self) -> String {
        self.enter_as("reader")
    }

    fn enter_as(&self, token: &str) -> String {
        let answer = self.ask("POST", "/login", &[OURS], &format!("token={token}&next=%2F"));
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        answer.cookies().join("; ")
    }
}

#[test]
fn a_script_needs_a_token() {
    let server = Server::closed();
    for uri in ["/", "/streamdb/", SEARCH, "/nowhere"] {
        let answer = server.get(uri, &[]);
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"StreamDB\"");
        assert_eq!(
            answer.body,
            "A token is needed: send it as \"Authorization: Bearer TOKEN\", or open /login in a browser.\n"
        );
    }
    let answer = server.get(SEARCH, &[("authorization", "Bearer reader")]);
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.starts_with("Returning 2 of 2"), "{}", answer.body);
    // Nor is the token's hash one, nor a cookie with the token in it.
    let hash = format!("Bearer {}", TokenHash::of(b"reader"));
    for wrong in [("authorization", "Bearer other"), ("authorization", &hash), ("authorization", "Basic cmVhZGVyOg==")]
    {
        let begun = Instant::now();
        let answer = server.get(SEARCH, &[wrong]);
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(begun.elapsed() >= Duration::from_secs(1), "a wrong token waits");
    }
    assert_eq!(server.get(SEARCH, &[("cookie", "streamdb=reader")]).status, StatusCode::UNAUTHORIZED);
    // A role is not all roles.
    let answer = server.get(SEARCH, &[("authorization", "Bearer submitter")]);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::FORBIDDEN, "This token may not do that; it needs the role read.\n")
    );
}

#[test]
fn a_browser_gets_the_login_page_and_then_what_it_wanted() {
    let server = Server::closed();
    let answer = server.get("/streamdb/?ip=10.0.0.5&sort=1", &[HTML]);
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.body.contains("value=\"/streamdb/?ip=10.0.0.5&amp;sort=1\""), "{}", answer.body);
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cache-control"), "no-store");

    let answer = server.ask("POST", "/login", &[OURS], "token=%20reader%20&next=%2Fstreamdb%2F%3Fip%3D10.0.0.5");
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/streamdb/?ip=10.0.0.5"));
    let session = answer.header("set-cookie");
    assert!(session.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"), "{session}");
    assert!(!session.contains("reader") && !session.contains(&TokenHash::of(b"reader").to_string()[7..]));

    let cookies = answer.cookies().join("; ");
    assert_eq!(server.get(SEARCH, &[("cookie", &cookies)]).status, StatusCode::OK);
    let inside = server.get("/login", &[("cookie", &cookies)]);
    assert!(inside.body.contains("logged in with the token reader"), "{}", inside.body);

    let out = server.ask("POST", "/logout", &[OURS, ("cookie", &cookies)], "");
    assert_eq!((out.status, out.cookies().len()), (StatusCode::SEE_OTHER, 0));
    assert_eq!(server.get(SEARCH, &[("cookie", &cookies)]).status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_wrong_login_waits_and_few_may_wait() {
    let server = Server::closed();
    let begun = Instant::now();
    let answer = server.ask("POST", "/login", &[OURS], "token=%3Cb%3E&next=/x%22%3E%3Cscript%3E");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(
        answer.body.contains("This token is not known here") && !answer.body.contains("<script>"),
        "{}",
        answer.body
    );
    let statuses: Vec<StatusCode> = std::thread::scope(|scope| {
        let ask = || server.ask("POST", "/login", &[OURS], "token=x").status;
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&StatusCode::UNAUTHORIZED) && statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    // Meanwhile or after: who has a right one gets in.
    server.enter();
}

#[test]
fn a_login_leads_to_no_other_server() {
    let server = Server::closed();
    for next in
        ["//evil.example", "%2F%5Cevil.example", "https%3A%2F%2Fevil.example", "%2F%09%2Fevil.example", "%2Fa%0D%0Ab"]
    {
        let answer = server.ask("POST", "/login", &[OURS], &format!("token=reader&next={next}"));
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"), "{next}");
    }
}

#[test]
fn another_page_can_neither_log_in_nor_out() {
    let server = Server::closed();
    let cookies = server.enter();
    for stranger in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "https://kibana.example")],
        &[("origin", "null")],
        &[("origin", "http://streamdb.example"), ("sec-fetch-site", "cross-site")],
        &[],
    ] {
        let headers = [stranger, &[("cookie", &cookies)]].concat();
        for (path, form) in [("/login", "token=reader"), ("/logout", "x=1")] {
            let answer = server.ask("POST", path, &headers, form);
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{stranger:?}");
            assert!(answer.body.starts_with("This changes something"), "{}", answer.body);
        }
    }
    assert_eq!(server.get(SEARCH, &[("cookie", &cookies)]).status, StatusCode::OK);
}

#[test]
fn a_link_on_another_page_finds_the_session() {
    let server = Server::closed();
    let cookies = server.enter();
    let mark = cookies.split("; ").find(|cookie| cookie.starts_with("streamdb_login=")).unwrap();
    // The browser keeps the session's cookie back, and sends the mark.
    let bounced = server.get(SEARCH, &[HTML, ("cookie", mark)]);
    assert_eq!(bounced.status, StatusCode::OK);
    assert!(bounced.body.contains("http-equiv=\"refresh\" content=\"0\"") && !bounced.body.contains("10.0.0.5:49211"));
    assert!(bounced.header("set-cookie").starts_with("streamdb_login=; ") && bounced.cookies().is_empty());
    // Our own page's request has the session, and gets the mark back.
    let session = cookies.split("; ").find(|cookie| cookie.starts_with("streamdb=")).unwrap();
    let answer = server.get(SEARCH, &[HTML, ("cookie", session)]);
    assert_eq!((answer.status, answer.cookies().join("")), (StatusCode::OK, mark.to_owned()));
    // One whose session has ended gets the form, and no third page.
    assert_eq!(server.get(SEARCH, &[HTML]).status, StatusCode::UNAUTHORIZED);
}

/// A cache between us and the browser must not give one origin's answer to another.
fn varies_by_origin(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|value| value == "Origin")
}

#[test]
fn other_origins_read_only_when_they_are_named() {
    let server = Server::closed();
    let bearer = ("authorization", "Bearer reader");
    let answer = server.get(SEARCH, &[bearer, ("origin", "https://kibana.example")]);
    assert_eq!(answer.header("access-control-allow-origin"), "https://kibana.example");
    assert_eq!((answer.status, varies_by_origin(&answer)), (StatusCode::OK, true));
    for origin in ["https://evil.example", "https://kibana.example.evil.example", "http://kibana.example", "null"] {
        let answer = server.get(SEARCH, &[bearer, ("origin", origin)]);
        assert_eq!((answer.header("access-control-allow-origin"), varies_by_origin(&answer)), ("", true));
    }
    let preflight_of = |method, origin| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization"),
        ];
        server.ask("OPTIONS", SEARCH, &headers, "")
    };
    let preflight = |origin| preflight_of("GET", origin);
    let yes = preflight("https://kibana.example");
    assert_eq!(yes.status, StatusCode::NO_CONTENT);
    assert_eq!(yes.header("access-control-allow-origin"), "https://kibana.example");
    assert_eq!(yes.header("access-control-allow-methods"), "GET, HEAD");
    assert_eq!(yes.header("access-control-allow-headers"), "authorization, range");
    let no = preflight("https://evil.example");
    assert_eq!((no.status, no.header("access-control-allow-origin")), (StatusCode::FORBIDDEN, ""));
    // Browsers take a POST for allowed whatever methods the answer names (Fetch §4.8), so that it is refused as a whole:
    // who may read must not hand objects in.
    for method in ["POST", "PUT", "DELETE", "get"] {
        assert_eq!(preflight_of(method, "https://kibana.example").status, StatusCode::FORBIDDEN, "{method}");
    }
}

#[test]
fn only_for_its_own_names() {
    let server = Server::closed();
    for host in ["streamdb.example:8080", "localhost", "127.0.0.1:8080"] {
        assert_eq!(server.get(SEARCH, &[("host", host), ("authorization", "Bearer reader")]).status, StatusCode::OK);
    }
    for uri in ["/", "/login"] {
        let answer = server.get(uri, &[("host", "evil.example"), ("authorization", "Bearer reader")]);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
        assert!(answer.body.contains("`names` below [http]"), "{}", answer.body);
    }
}

#[test]
fn without_tokens_nobody_logs_in() {
    let server = Server::new(Vec::new());
    assert_eq!(server.get(SEARCH, &[]).status, StatusCode::OK);
    let answer = server.get("/login", &[HTML]);
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
}

#[test]
fn only_a_token_in_the_request_submits_without_a_question() {
    let server = Server::closed();
    let uri = format!("/submit?oid={}", server.oid);
    // Who may only read may not; nor does a session on a link.
    let answer = server.get(&uri, &[("authorization", "Bearer reader")]);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::FORBIDDEN, "This token may not do that; it needs the role submit.\n")
    );
    let cookies = server.enter_as("both");
    let page = server.get(&uri, &[HTML, ("cookie", &cookies)]);
    assert_eq!((page.status, server.queued()), (StatusCode::OK, 0));
    assert!(page.body.contains(&format!("name=\"oid\" value=\"{}\"", server.oid)), "{}", page.body);
    let form = format!("oid={}", server.oid);
    for stranger in [&[("origin", "https://evil.example")][..], &[]] {
        let answer = server.ask("POST", "/submit", &[stranger, &[("cookie", &cookies)]].concat(), &form);
        assert_eq!((answer.status, server.queued()), (StatusCode::FORBIDDEN, 0));
    }
    // The page's own button does it, and so does a token.
    let answer = server.ask("POST", "/submit", &[OURS, HTML, ("cookie", &cookies)], &form);
    assert_eq!((answer.status, server.queued()), (StatusCode::OK, 1));
    assert!(answer.body.contains(&format!("<li>{}: queued for folder; 3 bytes", server.oid)), "{}", answer.body);
    let server = Server::closed();
    let uri = format!("/submit?oid={}", server.oid);
    let answer = server.get(&uri, &[("authorization", "Bearer submitter")]);
    assert_eq!((answer.status, server.queued()), (StatusCode::OK, 1));
    assert!(answer.body.starts_with(&format!("{}: queued for folder; 3 bytes", server.oid)), "{}", answer.body);
    let answer = server.ask("POST", "/submit", &[("authorization", "Bearer submitter")], "oid=9-9-9-9");
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body, "9-9-9-9: there is no such stream in this store\n");
}

#[test]
fn an_incomplete_object_is_submitted_when_its_oid_is_named_and_only_then() {
    let tokens = || vec![token("submitter", &[Role::Submit]), token("both", &Role::ALL)];
    let server = || Server::of_one_that_ended(Reason::Rst, tokens());
    let by = ("authorization", "Bearer both");
    let said = "; it is incomplete, with zeros for what is missing";
    // In every way of naming it, and each says so.
    for (method, uri, form) in [
        ("GET", "/submit?oid=OID", ""),
        ("GET", "/streamdb/?oid=OID&submit=1", ""),
        ("POST", "/submit", "oid=OID"),
        ("POST", "/submit", "oid=OID&incomplete=1"),
        ("POST", "/submit?oid=OID", ""),
    ] {
        let server = server();
        let fill = |text: &str| text.replace("OID", &server.oid);
        let answer = server.ask(method, &fill(uri), &[by], &fill(form));
        assert_eq!((answer.status, server.queued()), (StatusCode::OK, 1), "{method} {uri} {form}: {}", answer.body);
        assert!(answer.body.trim_end().ends_with(said), "{}", answer.body);
    }
    let server = server();
    let answer = server.ask("POST", "/submit", &[by], &format!("oid={}&incomplete=0", server.oid));
    assert_eq!((answer.status, server.queued()), (StatusCode::UNPROCESSABLE_ENTITY, 0));
    let begin =
        format!("{}: incomplete (reset), and so not submitted; asked for by its oid alone (/submit?oid=", server.oid);
    assert!(answer.body.starts_with(&begin), "{}", answer.body);
    // What a search finds is another matter.
    for submit in ["200", "INCOMPLETE", "."] {
        let answer = server.get(&format!("{SEARCH}&submit={submit}"), &[by]);
        assert_eq!((answer.status, server.queued()), (StatusCode::OK, 0), "{}", answer.body);
    }
    // On a page it is said before.
    let cookies = server.enter_as("both");
    for uri in ["/submit?oid=OID&oid=9-9-9-9", "/streamdb/?oid=OID&submit=1"] {
        let page = server.get(&uri.replace("OID", &server.oid), &[HTML, ("cookie", &cookies)]);
        assert!(page.body.contains("Submit this object?") && page.body.contains("incomplete: reset"), "{}", page.body);
        assert!(!page.body.contains("value=\"9-9-9-9\""), "{}", page.body);
        assert_eq!(page.body.contains("9-9-9-9: there is no such stream"), uri.contains("9-9"), "{}", page.body);
        assert!(page.body.contains("name=\"incomplete\" value=\"1\""), "{}", page.body);
    }
    let none = server.get("/submit?oid=9-9-9-9", &[HTML, ("cookie", &cookies)]);
    assert_eq!(
        (none.status, none.body.as_str()),
        (StatusCode::NOT_FOUND, "9-9-9-9: there is no such stream in this store\n")
    );
}

#[test]
fn a_submission_of_nothing_is_refused_with_a_sentence() {
    let server = Server::closed();
    let by = ("authorization", "Bearer submitter");
    let which = "Which object shall be submitted? Name it by its oid, as a search shows it: curl -d oid=";
    for (method, uri, headers, form, status, said) in [
        ("POST", "/submit", vec![by], "", 400, which),
        ("GET", "/submit", vec![by], "", 400, which),
        ("POST", "/submit", vec![by], "again=1", 400, which),
        ("POST", "/submit", vec![by, ("content-type", "application/json")], "{}", 415, "A submission is a form"),
        ("POST", "/submit", vec![by], "oid=1-2-3", 400, "\"1-2-3\" is no oid: four decimal numbers are wanted"),
    ] {
        let answer = server.ask(method, uri, &headers, form);
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        assert!(answer.body.starts_with(said), "{}", answer.body);
    }
    let long = format!("oid={}", "1".repeat(2 << 20));
    let answer = server.ask("POST", "/submit", &[by], &long);
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.body, "This form is longer than 1 MiB; submit fewer objects at a time.\n");
}
