//! The configuration file, as it is meant: TOML in, settings out, and one sentence for a mistake. A flag on the command line
//! overrides what the file says.

mod section;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use jiff::tz::TimeZone;
use streamdb_http_api::{HostName, Origin, Role, Roles, Settings, Token, TokenHash};

pub(crate) use self::section::ConfigError;
use self::section::{File, Section};

/// Where the server listens if nothing says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
/// Longer names are cut in every list.
const LONGEST_NAME: usize = 64;
pub(crate) const NAME_ACCEPTED: &str = "a name of 1 to 64 letters, digits and . _ - @";

/// What the configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the server listens.
    pub(crate) listen: SocketAddr,
    /// How it answers.
    pub(crate) http: Settings,
}

impl Config {
    /// Reads the file; without one, all is as it is by default.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse(&File { path: "".into(), text: String::new() }) };
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&File { path: path.to_owned(), text })
    }

    fn parse(file: &File) -> Result<Self, ConfigError> {
        let mut config = Self { listen: LISTEN, http: Settings::default() };
        let mut outer = file.table(&["http"])?;
        if let Some(http) = outer.section("http", &["listen", "names", "origins", "tokens", "zone"])? {
            config.http(http)?;
        }
        Ok(config)
    }

    fn http(&mut self, mut http: Section<'_>) -> Result<(), ConfigError> {
        let listen = "an address and a port, as in 127.0.0.1:8080 or [::]:8080";
        self.listen = http.value("listen", listen, |text| text.parse().ok())?.unwrap_or(self.listen);
        let settings = &mut self.http;
        settings.names = http.list("names", HostName::ACCEPTED, HostName::parse)?.unwrap_or_default();
        settings.origins = http.list("origins", Origin::ACCEPTED, Origin::parse)?.unwrap_or_default();
        let zone = "the name of a time zone that this machine knows, as in UTC or Europe/Berlin";
        settings.zone = http.value("zone", zone, zone_of)?.unwrap_or(TimeZone::UTC);
        for section in http.sections("tokens", &["name", "hash", "roles"])? {
            let token = token(section, &settings.tokens)?;
            settings.tokens.push(token);
        }
        Ok(())
    }
}

fn token(mut section: Section<'_>, known: &[Token]) -> Result<Token, ConfigError> {
    let name = section.needed("name", NAME_ACCEPTED, name)?;
    let hash = section.needed("hash", TokenHash::ACCEPTED, TokenHash::parse)?;
    let roles = section.list("roles", "read and submit", Role::from_word)?;
    let roles: Roles = roles.unwrap_or_else(|| vec![Role::Read]).into_iter().collect();
    if roles == Roles::default() {
        return Err(section.wrong(&format!("the token {name} has no role; give it read, submit or both")));
    }
    match known.iter().find(|token| token.name == name || token.hash == hash) {
        Some(token) if token.name == name => Err(section.wrong(&format!("there are two tokens {name}"))),
        Some(token) => {
            Err(section.wrong(&format!("{name} and {} have one hash: each is a token of its own", token.name)))
        }
        None => Ok(Token { name, hash, roles }),
    }
}

/// What a token may be called.
pub(crate) fn name(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@'));
    (plain && (1..=LONGEST_NAME).contains(&text.len())).then(|| text.to_owned())
}

fn zone_of(text: &str) -> Option<TimeZone> {
    TimeZone::get(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<Config, String> {
        let file = File { path: "streamdb.toml".into(), text: text.replace("HASH", HASH) };
        Config::parse(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_the_default() {
        let config = parse("").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert!(config.http.tokens.is_empty() && config.http.names.is_empty() && config.http.origins.is_empty());
        assert_eq!(config.http.zone, TimeZone::UTC);
    }

    #[test]
    fn all_of_it() {
        let config = parse(
            "# ours\n[http]\nlisten = \"[::]:80\"\nnames = [\"streamdb.example\"]\norigins = [\"https://kibana.example\"]\n\
             zone = \"UTC\"\n[[http.tokens]]\nname = \"kibana\"\nhash = \"HASH\"\nroles = [\"read\", \"submit\"]\n",
        );
        let config = config.unwrap();
        assert_eq!(config.listen.to_string(), "[::]:80");
        assert_eq!(config.http.names, [HostName::parse("streamdb.example").unwrap()]);
        assert_eq!(config.http.origins, [Origin::parse("https://kibana.example").unwrap()]);
        let token = &config.http.tokens[0];
        assert_eq!((token.name.as_str(), token.hash, token.roles), ("kibana", TokenHash::of(b"abc"), Roles::ALL));
        let config = parse("[[http.tokens]]\nname = \"a\"\nhash = \"HASH\"").unwrap();
        assert!(config.http.tokens[0].roles.has(Role::Read) && !config.http.tokens[0].roles.has(Role::Submit));
    }

    #[test]
    fn mistakes_are_sentences() {
        let token = "[[http.tokens]]\nname = \"a\"\nhash = \"HASH\"\n";
        for (text, wanted) in [
            ("[htp]", "1: there is no key \"htp\"; did you mean http?"),
            ("\n\n[http]\nlisen = \"x\"", "4: there is no key \"lisen\" below [http]; did you mean listen?"),
            (
                "[http]\ncolour = 1",
                "2: there is no key \"colour\" below [http]; there are listen, names, origins, tokens, zone",
            ),
            ("http = 1", "1: http: 1 is not accepted; it takes a table, which begins with [http]"),
            (
                "[http]\nlisten = \"localhost\"",
                "2: http.listen: \"localhost\" is not accepted; it takes an address and a port, as in 127.0.0.1:8080 or [::]:8080",
            ),
            (
                "[http]\nnames = \"streamdb.example\"",
                "2: http.names: \"streamdb.example\" is not accepted; it takes a list in brackets, of host names and addresses \
                 without a port, as in streamdb.example or 10.0.0.7",
            ),
            (
                "[http]\nnames = [\"a\",\n  \"b:80\"]",
                "3: http.names: \"b:80\" is not accepted; it takes host names and addresses without a port, as in \
                 streamdb.example or 10.0.0.7",
            ),
            (
                "[http]\norigins = [\"*\"]",
                "2: http.origins: \"*\" is not accepted; it takes scheme and host of a page, with its port if it has one, and \
                 no path, as in https://kibana.example or http://10.0.0.7:5601",
            ),
            (
                "[http]\nzone = \"Mars/Olympus\"",
                "2: http.zone: \"Mars/Olympus\" is not accepted; it takes the name of a time zone that this machine knows, as in \
                 UTC or Europe/Berlin",
            ),
            (
                "[[http.tokens]]\nname = \"a\"",
                "1: http.tokens.hash is missing; it takes sha256: and 64 hex digits, as `streamdb token NAME` prints it",
            ),
            (
                "[[http.tokens]]\nname = \"a\"\nhash = \"secret\"",
                "3: http.tokens.hash: \"secret\" is not accepted; it takes sha256: and 64 hex digits, as `streamdb token NAME` \
                 prints it",
            ),
            (
                "[http.tokens]\nname = \"a\"",
                "1: http.tokens: a table is not accepted; it takes tables, each of which begins with [[http.tokens]]",
            ),
            (
                &format!("{token}roles = [\"write\"]"),
                "4: http.tokens.roles: \"write\" is not accepted; it takes read and submit",
            ),
            (&format!("{token}roles = []"), "1: the token a has no role; give it read, submit or both"),
            (&format!("{token}{token}"), "4: there are two tokens a"),
            (
                &format!("{token}{}", token.replace("\"a\"", "\"b\"")),
                "4: b and a have one hash: each is a token of its own",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), format!("streamdb.toml, line {wanted}"));
        }
        let said = parse("[http]\nlisten = ").unwrap_err();
        assert!(said.starts_with("streamdb.toml, line 2: this is no TOML: "), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
}
