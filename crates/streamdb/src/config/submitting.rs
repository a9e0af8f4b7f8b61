//! `[submit]`, `[[submit.target]]` and `[[submit.rule]]`: where contents go, and which go by themselves.

use std::path::PathBuf;
use std::time::Duration;

use streamdb_query::VerdictPattern;
use streamdb_submit::{Kind, Policy, Retry, Rule, Server, Settings, Target, TargetName, row_filter};

use super::section::{ConfigError, Section};
use crate::units;

/// The keys below [submit].
pub(super) const KEYS: &[&str] =
    &["url", "field", "header", "timeout", "folder", "tries", "pause", "longest_pause", "room", "target", "rule"];
/// Below [[submit.target]]: first those of every kind, then those of some.
const TARGET: &[&str] = &[
    "name", "kind", "timeout", "url", "token", "headers", "fields", "page", "field", "link", "task", "path", "json",
    "command",
];
const SERVER: &[&str] = &["url", "token", "headers", "fields", "page", "field", "link", "task"];
const TOKEN: &[&str] = &["token"];
const ANSWERS: &[&str] = &["field", "link", "task"];
const FOLDER: &[&str] = &["path", "json"];
const COMMAND: &[&str] = &["command"];
/// Below [[submit.rule]].
const RULE: &[&str] = &["name", "to", "filter", "first_seen", "verdict", "incomplete"];

const KINDS: &str = "cape, cuckoo, post, folder or command";
const URL: &str = "an address that begins with http:// or https://, without a user's name";
const FIELD: &str = "a name of printable ASCII characters without quotes and backslashes";
const HEADER: &str = "a header's name, a colon and its value, as in Authorization: Bearer abc";
const DURATION: &str = "a time, as in 30s, 5m or 1h";
const PATH: &str = "the path of a folder that is there";
/// How long a try may take if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn read(mut section: Section<'_>) -> Result<Settings, ConfigError> {
    let mut targets = first(&mut section)?;
    let default = Retry::default();
    let tries = |text: &str| text.parse().ok().filter(|tries| *tries > 0);
    let retry = Retry {
        tries: section.value("tries", "a number from 1 on", tries)?.unwrap_or(default.tries),
        pause: section.value("pause", DURATION, time)?.unwrap_or(default.pause),
        longest_pause: section.value("longest_pause", DURATION, time)?.unwrap_or(default.longest_pause),
    };
    let size = |text: &str| units::size(text).ok();
    let room = section.value("room", "a size, as in 512M or 4G", size)?.unwrap_or(Settings::ROOM);
    for section in section.sections("target", TARGET)? {
        let target = target(section, &targets)?;
        targets.push(target);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for section in section.sections("rule", RULE)? {
        let rule = rule(section, &targets, &rules)?;
        rules.push(rule);
    }
    if targets.is_empty() {
        return Err(section.wrong("[submit] names no target; give it a [[submit.target]], a url or a folder"));
    }
    Ok(Settings { targets, policy: Policy(rules), retry, room })
}

/// The targets that [submit] itself names.
fn first(section: &mut Section<'_>) -> Result<Vec<Target>, ConfigError> {
    let url = section.value("url", URL, url)?;
    let field = section.value("field", FIELD, field)?.unwrap_or_else(|| "filename".to_owned());
    let headers = section.secret("header", HEADER, header)?.into_iter().collect();
    let timeout = section.value("timeout", DURATION, time)?.unwrap_or(TIMEOUT);
    let folder = section.value("folder", PATH, existing)?;
    let folder = folder.map(|path| Target {
        name: TargetName::folder(),
        // Whoever watches it knows of no other files in it.
        kind: Kind::Folder { path, json: false },
        timeout,
    });
    let sandbox = url.map(|url| Target {
        name: TargetName::sandbox(),
        kind: Kind::Post(Server { url, field, headers, ..Server::default() }),
        timeout,
    });
    Ok(folder.into_iter().chain(sandbox).collect())
}

fn target(mut section: Section<'_>, known: &[Target]) -> Result<Target, ConfigError> {
    let name = section.needed("name", TargetName::ACCEPTED, TargetName::parse)?;
    if known.iter().any(|target| target.name == name) {
        return Err(section.wrong(&format!("there are two targets {name}; give each its own name")));
    }
    let word = |text: &str| ["cape", "cuckoo", "post", "folder", "command"].into_iter().find(|kind| *kind == text);
    let kind = section.needed("kind", KINDS, word)?;
    let timeout = section.value("timeout", DURATION, time)?.unwrap_or(TIMEOUT);
    let others: Vec<&[&'static str]> = match kind {
        "cape" | "cuckoo" => vec![ANSWERS, FOLDER, COMMAND],
        "post" => vec![TOKEN, FOLDER, COMMAND],
        "folder" => vec![SERVER, COMMAND],
        _ => vec![SERVER, FOLDER],
    };
    if let Some(key) = others.into_iter().find_map(|keys| section.has_one_of(keys)) {
        let hint = if key == "token" { "; give it headers = [\"Authorization: ...\"]" } else { "" };
        return Err(section.wrong(&format!("{key} says nothing of a target of kind {kind}{hint}")));
    }
    let kind = match kind {
        "cape" => Kind::Cape(server(&mut section, "Token", "custom")?),
        "cuckoo" => Kind::Cuckoo(server(&mut section, "Bearer", "owner")?),
        "post" => Kind::Post(server(&mut section, "", "")?),
        "folder" => {
            Kind::Folder { path: section.needed("path", PATH, existing)?, json: section.flag("json")?.unwrap_or(true) }
        }
        _ => {
            let accepted = "a program and its arguments, {} for the file's path";
            let words = section.list("command", accepted, |text| Some(text.to_owned()))?.unwrap_or_default();
            if words.first().is_none_or(String::is_empty) {
                return Err(section.wrong(
                    "submit.target.command is missing; it takes a list in brackets, of a program and its arguments, {} for the file's path",
                ));
            }
            Kind::Command { words }
        }
    };
    Ok(Target { name, kind, timeout })
}

/// A server; `scheme` is how its token is sent, and `ours` the field that it knows our submissions by.
fn server(section: &mut Section<'_>, scheme: &str, ours: &str) -> Result<Server, ConfigError> {
    let token = |text: &str| header(&format!("Authorization: {scheme} {text}")).filter(|_| !text.trim().is_empty());
    let token = section.secret("token", "the token alone, of printable ASCII characters", token)?;
    let mut headers = section.secrets("headers", HEADER, header)?;
    headers.extend(token);
    let taken = if ours.is_empty() { String::new() } else { format!("; {ours} is used for what tells tries apart") };
    let accepted = format!("a field's name, = and its value, as in timeout=200{taken}");
    let pointer = "the place of a value in JSON (RFC 6901), as in /data/url";
    Ok(Server {
        url: section.needed("url", URL, url)?,
        field: section.value("field", FIELD, field)?.unwrap_or_else(|| "file".to_owned()),
        fields: section.secrets("fields", &accepted, |text| pair(text).filter(|(name, _)| name != ours))?,
        headers,
        page: section.value("page", "an address with {} for the task's id, as in https://cape/analysis/{}/", page)?,
        link: section.value("link", pointer, json_pointer)?,
        task: section.value("task", pointer, json_pointer)?,
    })
}

fn rule(mut section: Section<'_>, targets: &[Target], known: &[Rule]) -> Result<Rule, ConfigError> {
    let name = section.needed("name", super::NAME_ACCEPTED, super::name)?;
    if known.iter().any(|rule| rule.name == name) {
        return Err(section.wrong(&format!("there are two rules {name}; give each its own name")));
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let accepted = match names.as_slice() {
        [] => "names of targets, and there is none: give a [[submit.target]]".to_owned(),
        names => format!("names of targets, and there are {}", names.join(", ")),
    };
    let target = |text: &str| TargetName::parse(text).filter(|name| names.contains(&name.as_str()));
    let to = section.list("to", &accepted, target)?.unwrap_or_default();
    if to.is_empty() {
        return Err(section.wrong(&format!("submit.rule.to is missing; it takes a list in brackets, of {accepted}")));
    }
    let mut why = String::new();
    let language = "a filter, as in mime=*executable size=1K-10M";
    let filter = section.value("filter", language, |text| row_filter(text).map_err(|said| why = said).ok());
    let filter = filter.map_err(|error| {
        if why.is_empty() { error } else { section.wrong(&format!("the filter of submit.rule {name}: {why}")) }
    })?;
    let verdicts = section.list("verdict", VerdictPattern::ACCEPTED, VerdictPattern::parse)?;
    let rule = Rule {
        name,
        to,
        first_seen: section.flag("first_seen")?.unwrap_or_default(),
        incomplete: section.flag("incomplete")?.unwrap_or_default(),
        verdicts: verdicts.clone().unwrap_or_default(),
        filter: filter.clone().unwrap_or_default(),
    };
    if verdicts.is_some_and(|patterns| patterns.is_empty()) {
        return Err(section
            .wrong(&format!("the verdicts of submit.rule {} are none; leave the key out to need none", rule.name)));
    }
    // Everything would go: whoever wants that says so.
    if filter.is_none() && rule.verdicts.is_empty() && !rule.first_seen {
        return Err(section.wrong(&format!(
            "submit.rule {} has no test; give it a filter (\"\" for everything), a verdict, or first_seen = true",
            rule.name
        )));
    }
    Ok(rule)
}

fn time(text: &str) -> Option<Duration> {
    u64::try_from(units::duration(text).ok()?).ok().map(Duration::from_nanos)
}

fn existing(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_dir())
}

fn url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#');
    let host = !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@');
    (plain && host).then(|| text.to_owned())
}

fn page(text: &str) -> Option<String> {
    url(&text.replace("{}", "7")).filter(|_| text.contains("{}")).map(|_| text.to_owned())
}

/// RFC 6901 §3.
fn json_pointer(text: &str) -> Option<String> {
    text.starts_with('/').then(|| text.to_owned())
}

fn field(text: &str) -> Option<String> {
    let plain = text.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\');
    (plain && !text.is_empty()).then(|| text.to_owned())
}

/// A field of a form, and its value.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let one_line = value.chars().all(|c| !c.is_control());
    field(name).filter(|_| one_line).map(|name| (name, value.to_owned()))
}

/// RFC 9110 §5.1, §5.5.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let name_is_one = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let value = value.trim();
    let value_is_one = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (name_is_one && value_is_one).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn read(text: &str) -> Settings {
        parse(text).unwrap().submit.unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_url_and_one_folder_are_targets_with_names() {
        let submit = read("[submit]\nurl = \"https://sandbox.example/api?key=1\"");
        assert_eq!((submit.retry, submit.room), (Retry::default(), Settings::ROOM));
        let [target] = submit.targets.as_slice() else { panic!("{submit:?}") };
        let Kind::Post(server) = &target.kind else { panic!("{submit:?}") };
        assert_eq!((target.name.as_str(), server.field.as_str(), server.headers.len()), ("sandbox", "filename", 0));
        let submit = read(
            "[submit]\nurl = \"http://10.0.0.9\"\nfield = \"file\"\nheader = \"Authorization: Bearer a b\"\nfolder = \"/\"\n\
             timeout = \"30s\"\ntries = 3\npause = \"1s\"\nlongest_pause = \"1m\"\nroom = \"1M\"",
        );
        let seconds = Duration::from_secs;
        assert_eq!(submit.retry, Retry { tries: 3, pause: seconds(1), longest_pause: seconds(60) });
        assert_eq!(submit.room, 1 << 20);
        let [folder, sandbox] = submit.targets.as_slice() else { panic!("{submit:?}") };
        assert!(matches!(&folder.kind, Kind::Folder { path, json: false } if path.to_str() == Some("/")));
        assert_eq!(folder.name, TargetName::folder());
        let Kind::Post(server) = &sandbox.kind else { panic!("{submit:?}") };
        assert_eq!((server.field.as_str(), sandbox.timeout), ("file", seconds(30)));
        assert_eq!(server.headers, pairs(&[("Authorization", "Bearer a b")]));
    }

    #[test]
    fn any_number_of_targets_and_rules() {
        let submit = read(
            "[[submit.target]]\nname = \"cape\"\nkind = \"cape\"\nurl = \"https://cape.example/\"\ntoken = \"abc\"\n\
             fields = [\"timeout=200\", \"options=a=b\"]\npage = \"https://cape.example/analysis/{}/\"\n\
             [[submit.target]]\nname = \"old\"\nkind = \"cuckoo\"\nurl = \"http://cuckoo:8090\"\ntoken = \"def\"\n\
             [[submit.target]]\nname = \"other\"\nkind = \"post\"\nurl = \"http://o\"\nheaders = [\"A: 1\", \"B: 2\"]\n\
             link = \"/url\"\ntask = \"/id\"\n\
             [[submit.target]]\nname = \"files\"\nkind = \"folder\"\npath = \"/\"\n\
             [[submit.target]]\nname = \"scan\"\nkind = \"command\"\ncommand = [\"/bin/scan\", \"--file={}\"]\ntimeout = \"10s\"\n\
             [[submit.rule]]\nname = \"exe\"\nto = [\"cape\", \"files\"]\nfilter = \"mime=*executable host=!*.example\"\n\
             first_seen = true\nverdict = [\"yara:*\"]\n\
             [[submit.rule]]\nname = \"all\"\nto = [\"scan\"]\nfilter = \"\"\nincomplete = true\n",
        );
        let names: Vec<String> = submit.names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cape", "old", "other", "files", "scan"]);
        let [cape, old, other, files, scan] = submit.targets.as_slice() else { panic!("{submit:?}") };
        let Kind::Cape(server) = &cape.kind else { panic!("{cape:?}") };
        assert_eq!(server.headers, pairs(&[("Authorization", "Token abc")]));
        assert_eq!(server.fields, pairs(&[("timeout", "200"), ("options", "a=b")]));
        let Kind::Cuckoo(server) = &old.kind else { panic!("{old:?}") };
        assert_eq!(server.headers, pairs(&[("Authorization", "Bearer def")]));
        let Kind::Post(server) = &other.kind else { panic!("{other:?}") };
        assert_eq!((server.field.as_str(), server.link.as_deref()), ("file", Some("/url")));
        assert_eq!(server.headers, pairs(&[("A", "1"), ("B", "2")]));
        assert!(matches!(files.kind, Kind::Folder { json: true, .. }));
        assert!(matches!(&scan.kind, Kind::Command { words } if words.len() == 2));
        assert_eq!(scan.timeout, Duration::from_secs(10));
        let [exe, all] = submit.policy.0.as_slice() else { panic!("{submit:?}") };
        assert_eq!((exe.name.as_str(), exe.to.len(), exe.first_seen, exe.incomplete), ("exe", 2, true, false));
        assert!(all.incomplete && !all.first_seen && all.verdicts.is_empty());
    }

    #[test]
    fn values_are_checked() {
        for bad in ["http://", "http:///x", "http://user@host/", "ftp://host/", "http://host/ x", "http://:80/"] {
            assert_eq!(url(bad), None, "{bad}");
        }
        for bad in ["", ":", "A:", ": b", "A b: c", "A: b\r\nc"] {
            assert_eq!(header(bad), None, "{bad}");
        }
        for bad in ["", "a", "=b", "a\"=b", "a=b\r\nc"] {
            assert_eq!(pair(bad), None, "{bad}");
        }
        assert_eq!((page("http://a/"), page("{}"), page("http://a/{}").is_some()), (None, None, true));
    }

    #[test]
    fn mistakes_are_sentences() {
        let folder = "[[submit.target]]\nname = \"f\"\nkind = \"folder\"\npath = \"/\"\n";
        let rule = "[[submit.rule]]\nname = \"r\"\nto = [\"f\"]\n";
        for (text, wanted) in [
            (
                "[submit]\nurl = \"sandbox.example\"",
                "2: submit.url: \"sandbox.example\" is not accepted; it takes an address that begins with http:// or https://, \
                 without a user's name",
            ),
            (
                "[submit]\nheader = \"Bearer abc\"",
                "2: submit.header: it takes a header's name, a colon and its value, as in \
                 Authorization: Bearer abc",
            ),
            (
                "[submit]\nfolder = \"/nowhere\"",
                "2: submit.folder: \"/nowhere\" is not accepted; it takes the path of a folder that is there",
            ),
            ("[submit]\nfield = \"f\"", "1: [submit] names no target; give it a [[submit.target]], a url or a folder"),
            ("[submit]\ntries = 0", "2: submit.tries: 0 is not accepted; it takes a number from 1 on"),
            ("[submit]\nurls = 0", "2: there is no key \"urls\" below [submit]; did you mean url?"),
            (
                "[[submit.target]]\nkind = \"folder\"",
                "1: submit.target.name is missing; it takes a name of 1 to 64 letters, digits and . _ -, which begins with a \
                 letter or a digit",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"virustotal\"",
                "3: submit.target.kind: \"virustotal\" is not accepted; it takes cape, cuckoo, post, folder or command",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"cape\"",
                "1: submit.target.url is missing; it takes an address that begins with http:// or https://, without a user's name",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"cape\"\nurl = \"http://a\"\ncommand = [\"x\"]",
                "1: command says nothing of a target of kind cape",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"post\"\nurl = \"http://a\"\ntoken = \"s3cret\"",
                "1: token says nothing of a target of kind post; give it headers = [\"Authorization: ...\"]",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"cape\"\nurl = \"http://a\"\nfields = [\"custom=s3cret\"]",
                "5: submit.target.fields: it takes a list in brackets, of a field's name, = and its value, as in timeout=200; \
                 custom is used for what tells tries apart",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"folder\"\npath = \"/\"\njson = 1",
                "5: submit.target.json: 1 is not accepted; it takes true or false",
            ),
            (
                "[[submit.target]]\nname = \"a\"\nkind = \"command\"\ncommand = []",
                "1: submit.target.command is missing; it takes a list in brackets, of a program and its arguments, {} for the \
                 file's path",
            ),
            (&format!("{folder}{folder}"), "5: there are two targets f; give each its own name"),
            (
                &format!("{folder}[[submit.rule]]\nname = \"r\"\nto = [\"g\"]"),
                "7: submit.rule.to: \"g\" is not accepted; it takes names of targets, and there are f",
            ),
            (
                "[[submit.rule]]\nname = \"r\"\nto = [\"g\"]",
                "3: submit.rule.to: \"g\" is not accepted; it takes names of targets, and there is none: give a [[submit.target]]",
            ),
            (
                &format!("{folder}{rule}filter = \"mim=x\""),
                "5: the filter of submit.rule r: there is no parameter \"mim\"; did you mean mime?",
            ),
            (
                &format!("{folder}{rule}verdict = [\"yara\"]"),
                "8: submit.rule.verdict: \"yara\" is not accepted; it takes names of rules, signatures or lists in which * stands for \
                 anything, alone or behind a scanner (yara, clamd, hash-list or *) and a colon, as in *eicar* or yara:*",
            ),
            (
                &format!("{folder}{rule}"),
                "5: submit.rule r has no test; give it a filter (\"\" for everything), a verdict, or first_seen = true",
            ),
            (
                &format!("{folder}{rule}filter = \"\"\n{rule}filter = \"\""),
                "9: there are two rules r; give each its own name",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), format!("streamdb.toml, line {wanted}"));
        }
    }
}
