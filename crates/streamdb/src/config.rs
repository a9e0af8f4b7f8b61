//! The configuration file, as it is meant: TOML in, settings out, and one sentence for a mistake. A flag on the command line
//! overrides what the file says.

pub(crate) mod capturing;
#[cfg(test)]
mod example;
mod scanning;
mod section;
mod submitting;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use streamdb_http_api::{HostName, Origin, Role, Roles, Settings, Token, TokenHash};
use streamdb_query::Zone;
use streamdb_scan::Settings as Scan;
use streamdb_storage::Limits;
use streamdb_submit::Settings as Submit;

use self::capturing::Flags;
pub(crate) use self::section::ConfigError;
use self::section::{File, Section};
use crate::cli::LogFlag;
use crate::cutoff::{self, Rule};
use crate::units;

/// What [`listen`] takes.
pub(crate) const LISTEN_ACCEPTED: &str = "an address and a port, as in 127.0.0.1:8080, localhost:8080 or [::]:8080";

/// Where to listen. Of names it knows the one that means this machine everywhere (RFC 6761 §6.3), and asks nobody.
pub(crate) fn listen(text: &str) -> Option<SocketAddr> {
    let numbers = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numbers.as_deref().unwrap_or(text).parse().ok()
}

/// Where the configuration is looked for if nothing else is said.
pub(crate) const PLACE: &str = "/etc/streamdb/streamdb.toml";

/// Where the server listens if nothing says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
/// Longer names are cut in every list.
const LONGEST_NAME: usize = 64;
pub(crate) const NAME_ACCEPTED: &str = "a name of 1 to 64 letters, digits and . _ - @";

/// The keys below [retention].
const RETENTION: &[&str] = &["max_bytes", "max_age", "min_free"];

/// What the configuration file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// The data folder.
    pub(crate) data: Option<PathBuf>,
    /// Who the processes of `streamdb run` are, if it is root that starts them.
    pub(crate) user: Option<String>,
    /// Whether they give up what they do not need; they do unless it says otherwise.
    pub(crate) confine: Option<bool>,
    /// In which style the processes of `streamdb run` say what goes on.
    pub(crate) log: Option<LogFlag>,
    /// What `streamdb run` captures, if anything.
    pub(crate) capture: Option<Flags>,
    /// Where the server listens.
    pub(crate) listen: SocketAddr,
    /// How it answers.
    pub(crate) http: Settings,
    /// Where objects are submitted, if anywhere.
    pub(crate) submit: Option<Submit>,
    /// By what contents are scanned, if they are.
    pub(crate) scan: Option<Scan>,
    /// What the store may have.
    pub(crate) retention: Limits,
    /// How much of which connections is kept.
    pub(crate) cutoffs: Vec<Rule>,
}

impl Config {
    /// Reads the file; without one, all is as it is by default.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse(&File { path: "".into(), text: String::new() }) };
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&File { path: path.to_owned(), text })
    }

    fn parse(file: &File) -> Result<Self, ConfigError> {
        let mut config = Self {
            data: None,
            user: None,
            confine: None,
            log: None,
            capture: None,
            listen: LISTEN,
            http: Settings::default(),
            submit: None,
            scan: None,
            retention: Limits::default(),
            cutoffs: Vec::new(),
        };
        let mut outer = file.table(&[
            "data",
            "log",
            "user",
            "confine",
            "capture",
            "store",
            "http",
            "retention",
            "submit",
            "scan",
            "cutoff",
        ])?;
        config.data = outer.value("data", capturing::DATA, capturing::data)?;
        config.user = outer.value("user", capturing::USER, capturing::user)?;
        config.confine = outer.flag("confine")?;
        config.log = outer.value("log", "text or json", |text| LogFlag::from_str(text, false).ok())?;
        let mut flags = Flags::default();
        let captures = outer.section("capture", capturing::CAPTURE)?;
        let is_there = captures.is_some();
        if let Some(section) = captures {
            capturing::capture(section, &mut flags)?;
        }
        if let Some(section) = outer.section("store", capturing::STORE)? {
            capturing::store(section, &mut flags)?;
        }
        config.capture = is_there.then_some(flags);
        if let Some(http) = outer.section("http", &["listen", "names", "origins", "tokens", "zone"])? {
            config.http(http)?;
        }
        if let Some(section) = outer.section("submit", submitting::KEYS)? {
            config.submit = Some(submitting::read(section)?);
        }
        if let Some(section) = outer.section("scan", scanning::KEYS)? {
            config.scan = Some(scanning::read(section)?);
        }
        if let Some(section) = outer.section("retention", RETENTION)? {
            config.retention = retention(section)?;
        }
        for section in outer.sections("cutoff", &["protocol", "port", "net", "filter", "first"])? {
            config.cutoffs.push(cutoff(section)?);
        }
        Ok(config)
    }

    fn http(&mut self, mut http: Section<'_>) -> Result<(), ConfigError> {
        self.listen = http.value("listen", LISTEN_ACCEPTED, listen)?.unwrap_or(self.listen);
        let settings = &mut self.http;
        settings.names = http.list("names", HostName::ACCEPTED, HostName::parse)?.unwrap_or_default();
        settings.origins = http.list("origins", Origin::ACCEPTED, Origin::parse)?.unwrap_or_default();
        let zone = "the name of a time zone that this machine knows, as in UTC or Europe/Berlin";
        settings.zone = http.value("zone", zone, Zone::named)?.unwrap_or(Zone::UTC);
        for section in http.sections("tokens", &["name", "hash", "roles"])? {
            let token = token(section, &settings.tokens)?;
            settings.tokens.push(token);
        }
        Ok(())
    }
}

fn retention(mut section: Section<'_>) -> Result<Limits, ConfigError> {
    let size = "a size, as in 512M or 4G";
    let age = "a time, as in 12h or 90d";
    let room = "a size, or a part of the file system, as in 10G or 5%";
    Ok(Limits {
        max_bytes: section.value("max_bytes", size, |text| units::size(text).ok())?,
        max_age: section.value("max_age", age, |text| units::duration(text).ok())?,
        min_free: section.value("min_free", room, |text| units::room(text).ok())?,
    })
}

fn cutoff(mut section: Section<'_>) -> Result<Rule, ConfigError> {
    let mut rule = Rule::default();
    section.value("protocol", &cutoff::protocol_accepted(), |text| rule.set_protocols(text))?;
    section.value("port", cutoff::PORT_ACCEPTED, |text| rule.set_ports(text))?;
    section.value("net", cutoff::NET_ACCEPTED, |text| rule.set_nets(text))?;
    let mut why = String::new();
    let filter = "an expression in the language of tcpdump";
    let taken = section.value("filter", filter, |text| rule.set_filter(text).map_err(|reason| why = reason).ok());
    taken.map_err(|error| if why.is_empty() { error } else { section.wrong(&why) })?;
    section.needed("first", cutoff::FIRST_ACCEPTED, |text| rule.set_first(text))?;
    if rule.asks() {
        Ok(rule)
    } else {
        Err(section.wrong("[[cutoff]] has no test; give it a protocol, a port, a net or a filter"))
    }
}

fn token(mut section: Section<'_>, known: &[Token]) -> Result<Token, ConfigError> {
    let name = section.needed("name", NAME_ACCEPTED, name)?;
    // Somebody may have put the token itself there.
    let hash = section.secret("hash", TokenHash::ACCEPTED, TokenHash::parse)?;
    let hash =
        hash.ok_or_else(|| section.wrong(&format!("http.tokens.hash is missing; it takes {}", TokenHash::ACCEPTED)))?;
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use streamdb_storage::Room;

    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    pub(super) fn parse(text: &str) -> Result<Config, String> {
        let file = File { path: "streamdb.toml".into(), text: text.replace("HASH", HASH) };
        Config::parse(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_the_default() {
        let config = parse("").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert!(config.http.tokens.is_empty() && config.http.names.is_empty() && config.http.origins.is_empty());
        assert_eq!(config.http.zone, Zone::UTC);
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
    fn by_what_contents_are_scanned() {
        assert!(parse("").unwrap().scan.is_none());
        let scan = parse(
            "[scan]\nrules = [\"/etc/rules\"]\nhash_lists = [\"bad.txt\"]\nclamd = \"localhost:3310\"\nmax_bytes = \"1M\"\n\
             timeout = \"5s\"\npast = true",
        );
        let scan = scan.unwrap().scan.unwrap();
        assert_eq!((scan.rules, scan.hash_lists), (vec!["/etc/rules".into()], vec!["bad.txt".into()]));
        assert_eq!(scan.clamd, Some(streamdb_scan::Address::Tcp("localhost:3310".into())));
        assert_eq!((scan.max_bytes, scan.timeout, scan.past), (1 << 20, std::time::Duration::from_secs(5), true));
    }

    #[test]
    fn what_the_store_may_have() {
        assert!(!parse("[retention]").unwrap().retention.any());
        let limits = parse("[retention]\nmax_bytes = \"2G\"\nmax_age = \"90d\"\nmin_free = \"5%\"").unwrap().retention;
        assert_eq!(limits.max_bytes, Some(2 << 30));
        assert_eq!(limits.max_age, Some(90 * 86_400_000_000_000));
        assert_eq!(limits.min_free, Some(Room::Percent(5)));
    }

    #[test]
    fn what_is_kept_of_which_connections() {
        let config = parse(
            "[[cutoff]]\nprotocol = \"tls, ssh\"\nfirst = \"64K\"\n[[cutoff]]\nport = 443\nnet = \"10.0.0.0/8\"\n\
             filter = \"tcp\"\nfirst = 0",
        );
        let rules =
            ["protocol=tls,ssh:64K", "port=443 net=10.0.0.0/8 filter=tcp:0"].map(|text| Rule::parse(text).unwrap());
        assert_eq!(config.unwrap().cutoffs, rules);
    }

    #[test]
    fn mistakes_are_sentences() {
        let token = "[[http.tokens]]\nname = \"a\"\nhash = \"HASH\"\n";
        for (text, wanted) in [
            ("[scan]\nmax_bytes = \"1M\"", "1: [scan] names nothing to scan by; give it rules, hash_lists or clamd"),
            (
                "[scan]\nclamd = \"clamd\"",
                "2: scan.clamd: \"clamd\" is not accepted; it takes where clamd listens: the path of its socket, as in \
                 /run/clamav/clamd.ctl, or a host and a port, as in 127.0.0.1:3310",
            ),
            (
                "[retention]\nmin_free = \"5 percent\"",
                "2: retention.min_free: \"5 percent\" is not accepted; it takes a size, or a part of the file system, as in \
                 10G or 5%",
            ),
            ("[retention]\nmax_size = 1", "2: there is no key \"max_size\" below [retention]; did you mean max_age?"),
            (
                "[[cutoff]]\nport = 443",
                "1: cutoff.first is missing; it takes a size as in 64K or 1M, 0 for headers alone, or all",
            ),
            ("[[cutoff]]\nfirst = 0", "1: [[cutoff]] has no test; give it a protocol, a port, a net or a filter"),
            (
                "[[cutoff]]\nport = \"https\"\nfirst = 0",
                "2: cutoff.port: \"https\" is not accepted; it takes ports and ranges of them, as in 443, 8443 or 9000-9100, \
                 separated by commas",
            ),
            (
                "[cutoff]\nfirst = 0",
                "1: cutoff: a table is not accepted; it takes tables, each of which begins with [[cutoff]]",
            ),
            ("[htp]", "1: there is no key \"htp\"; did you mean http?"),
            ("\n\n[http]\nlisen = \"x\"", "4: there is no key \"lisen\" below [http]; did you mean listen?"),
            (
                "[http]\ncolour = 1",
                "2: there is no key \"colour\" below [http]; there are listen, names, origins, tokens, zone",
            ),
            ("http = 1", "1: http: 1 is not accepted; it takes a table, which begins with [http]"),
            (
                "[http]\nlisten = \"localhost\"",
                "2: http.listen: \"localhost\" is not accepted; it takes an address and a port, as in 127.0.0.1:8080, localhost:8080 or [::]:8080",
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
                "3: http.tokens.hash: it takes sha256: and 64 hex digits, as `streamdb token NAME` \
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
