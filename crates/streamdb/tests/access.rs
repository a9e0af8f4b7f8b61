//! Who may ask the server: tokens, the configuration file, and what is said when something is wrong with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "only tests")]

mod common;

use common::{Answer, Data, Server, command, streamdb, testdata};

const SEARCH: &str = "/streamdb/?ip=10.0.0.5";

/// A new token and the lines that the configuration needs for it.
fn new_token(arguments: &[&str]) -> (String, String) {
    let output = command([&["token"], arguments].concat()).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let token = said.trim_end().rsplit_once(": ").unwrap().1.to_owned();
    (token, String::from_utf8(output.stdout).unwrap())
}

fn store(name: &str) -> Data {
    Data::with(name, &[&testdata("nginx-downloads", "capture.pcap")])
}

fn ask(server: &Server, host: &str, path: &str, headers: &str) -> Answer {
    server.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"))
}

#[test]
fn a_token_is_made_configured_and_used() {
    let data = store("access-token");
    let (token, lines) = new_token(&["kibana", "--role", "read,submit"]);
    assert!(token.starts_with("sdb_") && !lines.contains(&token));
    let (first, rest) = lines.split_once("hash = \"sha256:").unwrap();
    assert_eq!(first, "[[http.tokens]]\nname = \"kibana\"\n");
    assert!(rest.ends_with("\"\nroles = [\"read\", \"submit\"]\n"), "{rest}");

    // Others can reach it, by its name, with the token.
    let config = format!("[http]\nlisten = \"0.0.0.0:0\"\nnames = [\"streamdb.example\"]\n{lines}");
    let config = data.write("streamdb.toml", config.as_bytes());
    let server = Server::start_with(&data, &["--config", config.to_str().unwrap()]);
    assert!(server.address.ip().is_unspecified());
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask(&server, "streamdb.example", SEARCH, &bearer).status, 200);
    let refused = ask(&server, "streamdb.example", SEARCH, "");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"StreamDB\"")));
    assert_eq!(ask(&server, "evil.example", SEARCH, &bearer).status, 421);
    assert_eq!(ask(&server, "streamdb.example", SEARCH, "Authorization: Bearer sdb_wrong\r\n").status, 401);

    // A browser: the form, the cookie, the page.
    let page = ask(&server, "streamdb.example", SEARCH, "Accept: text/html\r\n");
    assert!(page.status == 401 && page.text().contains("<form action=\"/login\" method=\"post\">"));
    let form = format!("token={token}&next=%2Fstreamdb%2F%3Fip%3D10.0.0.5");
    let login = server.send(&format!(
        "POST /login HTTP/1.1\r\nHost: streamdb.example\r\nOrigin: http://streamdb.example\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!((login.status, login.header("location")), (303, Some(SEARCH)));
    let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap();
    assert!(!cookie.contains(&token));
    assert_eq!(ask(&server, "streamdb.example", SEARCH, &format!("Cookie: {cookie}\r\n")).status, 200);
}

#[test]
fn a_flag_overrides_the_file() {
    let data = store("access-flag");
    let config = data.write("streamdb.toml", b"[http]\nlisten = \"192.0.2.1:80\"\n");
    let server = Server::start_with(&data, &["--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(server.get(SEARCH).status, 200);
}

#[test]
fn others_are_served_only_with_tokens() {
    let data = store("access-public");
    let config = data.write("streamdb.toml", b"[http]\nlisten = \"0.0.0.0:0\"\n");
    let wanted = "0.0.0.0:0: others could reach this address, and no token is configured; make one with `streamdb token NAME`, \
                  put what it prints into a file and give that with --config, or listen on 127.0.0.1";
    assert_eq!(data.run("serve", &["--config", config.to_str().unwrap()]).sentence(), wanted);
}

#[test]
fn a_configuration_with_mistakes() {
    let data = store("access-mistakes");
    for (text, wanted) in [
        (
            "[http]\nlisten = \"127.0.0.1:0\"\norigin = []\n",
            ", line 3: there is no key \"origin\" below [http]; did you mean origins?",
        ),
        (
            "[http]\nlisten = 8080\n",
            ", line 2: http.listen: 8080 is not accepted; it takes an address and a port, as in 127.0.0.1:8080, \
             localhost:8080 or [::]:8080",
        ),
    ] {
        let config = data.write("streamdb.toml", text.as_bytes());
        let path = config.to_str().unwrap();
        assert_eq!(data.run("serve", &["--config", path]).sentence(), format!("{path}{wanted}"));
    }
    let missing = data.beside("missing.toml");
    let path = missing.to_str().unwrap();
    let wanted = format!("{path}: the configuration could not be read: No such file or directory (os error 2)");
    assert_eq!(data.run("serve", &["--config", path]).sentence(), wanted);
    let said = streamdb(["token", "a b"]);
    assert!(said.err.contains("it takes a name of 1 to 64 letters, digits and . _ - @"), "{}", said.err);
    let said = streamdb(["token", "a", "--role", "write"]);
    assert!(said.err.contains("the roles are read and submit"), "{}", said.err);
}
