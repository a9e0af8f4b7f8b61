//! What may be asked for, described for programs: each parameter's meaning, and the values that it takes.

use serde_json::json;
use streamdb_query::{ALIASES, NOT_OF_JOINS, PARAMETERS};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};

use super::asked::{FORMAT, LIMIT, MOST};
use super::joins::{MOST as MOST_JOINS, PART};

/// The characters that are cut off at both ends of a value: Unicode's White_Space.
const BLANKS: &str = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

const LIST: &str = "Several with commas between them; ! in front for all others.";

/// Every parameter of a list, as OpenAPI has it.
pub(super) fn all() -> Vec<Parameter> {
    PARAMETERS.iter().copied().chain([FORMAT]).map(parameter).collect()
}

/// Every parameter of a list of joined contents.
pub(super) fn of_joins() -> Vec<Parameter> {
    let part = ParameterBuilder::new()
        .name(PART)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("Only what the object with this oid is a part of."))
        .schema(Some(pattern(r"^[0-9]{1,19}-[0-9]{1,19}-[0-9]{1,19}-[0-9]{1,19}$")))
        .example(Some(json!("18043-3966843079-22968-0")))
        .build();
    let ours = PARAMETERS.iter().copied().filter(|name| !NOT_OF_JOINS.contains(name));
    let terms = ours.map(|name| if name == "limit" { limit_of_joins() } else { parameter(name) });
    terms.chain([part]).collect()
}

fn limit_of_joins() -> Parameter {
    ParameterBuilder::new()
        .name("limit")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(format!("At most so many rows, and {LIMIT} when it is not given.")))
        .schema(Some(count(MOST_JOINS, LIMIT)))
        .build()
}

/// The parameter in a path that names a content.
pub(super) fn digest() -> Parameter {
    ParameterBuilder::new()
        .name("sha256")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("SHA-256 of the content, or of the bytes as they were sent: 64 hexadecimal digits."))
        .schema(Some(text().pattern(Some("^[0-9a-fA-F]{64}$")).build()))
        .example(Some(json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")))
        .build()
}

fn parameter(name: &str) -> Parameter {
    let Described { says, takes, example } = described(name).unwrap_or_default();
    let alias = ALIASES.iter().find(|(_, meant)| *meant == name);
    let alias = alias.map_or(String::new(), |(alias, _)| format!(" May be written {alias}, too."));
    let example = match takes.schema_type {
        _ if example.is_empty() => None,
        utoipa::openapi::schema::SchemaType::Type(Type::Integer) => example.parse::<u64>().ok().map(|n| json!(n)),
        _ => Some(json!(example)),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(format!("{says}{alias}")))
        .schema(Some(takes))
        .example(example)
        .build()
}

/// A parameter's meaning, its values, and one of them.
#[derive(Default)]
struct Described {
    says: String,
    takes: Object,
    example: &'static str,
}

/// `None` for what is no parameter.
fn described(name: &str) -> Option<Described> {
    let (says, takes, example) = match name {
        "srcip" => (listed("Address or network of the side that opened the connection."), addresses(), "10.0.0.5"),
        "dstip" => (listed("Address or network of the other side."), addresses(), "203.0.113.0/24"),
        "ip" => (listed("Address or network of either side."), addresses(), "fd00::/8"),
        "srcport" => (listed("Port of the side that opened the connection."), numbers(65_535), "49211"),
        "dstport" => (listed("Port of the other side."), numbers(65_535), "80,443"),
        "port" => (listed("Port of either side."), numbers(65_535), "!53"),
        "start" => (moment("Streams that began then or later"), moments(), "2012-03-02 07:50:00"),
        "end" => (moment("Streams that began then or earlier; not before start"), moments(), "now"),
        "direction" => ("c: bytes to the client; s: bytes to the server.".to_owned(), words(&["c", "s"]), "c"),
        "reason" => (
            listed("Why the stream ended: c FIN, r RST, t SYN timeout, e exiting, l size cutoff, i time cutoff; or open."),
            list("([crteli]|open)"),
            "c,r",
        ),
        "protocol" => (
            listed("tcp, udp, or a protocol's number."),
            list(&format!("(tcp|udp|0*{})", up_to(255))),
            "tcp",
        ),
        "community_id" => (
            listed("Community id of the connection, version 1."),
            list("1:[A-Za-z0-9+/=]{28}"),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        ),
        "kind" => (
            listed("What an object is to its connection: request or response (messages of HTTP), file (what lies inside another object), part (one of a body that has several), or stream (all else)."),
            list("(request|response|part|file|stream)"),
            "response",
        ),
        "method" => (listed("The request's method."), methods(), "POST"),
        "host" => (listed("Whom the request was for; * stands for anything."), names(), "*.example.com"),
        "uri" => (
            "What the request target begins with, or, with * for anything, what it is; ! in front for all others."
                .to_owned(),
            one_name(),
            "/download/",
        ),
        "status" => (listed("The status code of a response, or of the response to a request."), list("[+]?0*[0-9]{1,3}"), "200"),
        "mime" => (listed("The MIME type by content; * stands for anything."), names(), "application/pdf"),
        "filetype" => (
            "A regular expression over the line that says what an object is, upper and lower case alike; ! in front for all others. It takes linear time: no look-around, no back-references.".to_owned(),
            expression(&format!("^[{BLANKS}]*([^!{BLANKS}]|![\\s\\S]*[^{BLANKS}])")),
            "executable",
        ),
        "fact" => (
            "A regular expression over what more is known of an object, a line `name: value` for each fact, as in `^imphash: f34d` or `^macros:`; ^ and $ are the ends of a line, otherwise as filetype.".to_owned(),
            expression(&format!("^[{BLANKS}]*([^!{BLANKS}]|![\\s\\S]*[^{BLANKS}])")),
            "^signed: no",
        ),
        "verdict" => (
            listed("What scanners found in an object's content: the name of a rule, a signature or a list, in which * stands for anything, alone or behind the scanner (yara, clamd, hash-list or *) and a colon, as in yara:*; a scanner's name alone is refused. * is any verdict, !* those without one, also where nobody has looked."),
            verdicts(),
            "*eicar*",
        ),
        "name" => (listed("The name that its sender gave an object; * stands for anything."), names(), "*.exe"),
        "md5" => (listed("MD5 of an object's content, or of its bytes as sent."), digests(32), "d41d8cd98f00b204e9800998ecf8427e"),
        "sha1" => (listed("SHA-1 likewise."), digests(40), "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        "sha256" => (
            listed("SHA-256 likewise."),
            digests(64),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        "length" => ("Bytes of a stream: a number or a range, from the smaller to the larger.".to_owned(), sizes(), "1K-64K"),
        "mismatch" => (
            "1: only objects whose declared type contradicts what they are; 0: only others.".to_owned(),
            words(&["0", "1"]),
            "0",
        ),
        "size" => ("Bytes of an object's content: a number or a range, from the smaller to the larger.".to_owned(), sizes(), "1K-64K"),
        "incomplete" => (
            "1: only objects that are not complete; 0: only those that are.".to_owned(),
            words(&["0", "1"]),
            "0",
        ),
        "pcre" => (
            "A regular expression over bytes: only objects whose head and content have it. It takes linear time: no look-around, no back-references.".to_owned(),
            expression(""),
            "This program cannot be run",
        ),
        "offset" => (
            "Skips so many of the first page; beside after nothing. To go through a long list, after is faster, and certain \
             while more is captured."
                .to_owned(),
            count(u64::MAX, 0),
            "100",
        ),
        "limit" => (
            format!(
                "At most so many rows. As JSON at most {MOST}, and {LIMIT} when it is not given; line by line any number, and \
                 {MOST} when it is not given."
            ),
            count(u64::MAX, LIMIT),
            "1000",
        ),
        "sort" => ("0: the oldest first; 1: the newest first.".to_owned(), words(&["0", "1"]), "1"),
        "after" => (
            "Goes on after this position: the next of the answer before, with the same search and order.".to_owned(),
            positions(),
            "1330674711250000000.18043.3.c.0.0",
        ),
        FORMAT => (
            "json, or ndjson for a row a line as rows are found; without it as the Accept header says.".to_owned(),
            words(&["json", "ndjson"]),
            "ndjson",
        ),
        _ => return None,
    };
    Some(Described { says, takes, example })
}

fn listed(says: &str) -> String {
    format!("{says} {LIST}")
}

fn moment(says: &str) -> String {
    format!("{says}: {}. Without an offset it is in the server's time zone.", streamdb_query::MOMENT_ACCEPTED)
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn pattern(pattern: &str) -> Object {
    text().pattern(Some(pattern)).build()
}

fn words(words: &[&str]) -> Object {
    text().enum_values(Some(words.iter().copied())).build()
}

/// A list of what cannot begin with an exclamation mark by itself.
fn list(item: &str) -> Object {
    pattern(&format!("^!?{item}(,{item})*$"))
}

fn numbers(most: u64) -> Object {
    list(&format!("0*{}", up_to(most)))
}

fn digests(digits: usize) -> Object {
    list(&format!("[0-9a-fA-F]{{{digits}}}"))
}

fn addresses() -> Object {
    let octet = up_to(255);
    let v4 = format!(r"{octet}(\.{octet}){{3}}");
    // RFC 4291 §2.2: eight groups, or fewer and :: for the others.
    let group = "[0-9a-fA-F]{1,4}";
    let cut = (1..=6).map(|before| format!("({group}:){{{before}}}(:{group}){{1,{}}}", 7 - before));
    let v6 = [format!("({group}:){{7}}{group}"), format!("({group}:){{1,7}}:"), format!(":((:{group}){{1,7}}|:)")];
    let v6: Vec<String> = v6.into_iter().chain(cut).collect();
    list(&format!("({v4}(/0*{})?|({})(/0*{})?)", up_to(32), v6.join("|"), up_to(128)))
}

/// Visible ASCII, and so no comma in it.
fn methods() -> Object {
    pattern(r"^(![!-+\--~]+|[\x22-+\--~][!-+\--~]*)(,[!-+\--~]+)*$")
}

fn names() -> Object {
    let item = format!("[^,]*[^,{BLANKS}][^,]*");
    pattern(&format!("^[{BLANKS}]*(!{item}|[^!,{BLANKS}][^,]*)(,{item})*$"))
}

fn verdicts() -> Object {
    let of_scanner = format!(r"(yara|clamd|hash-list|\*):[^,]*[^,{BLANKS}][^,]*");
    let item = format!("([{BLANKS}]*{of_scanner}|[^,:]*[^,:{BLANKS}][^,:]*)");
    pattern(&format!("^[{BLANKS}]*(!{item}|{of_scanner}|[^!,:{BLANKS}][^,:]*)(,{item})*$"))
}

fn one_name() -> Object {
    pattern(&format!(r"^[{BLANKS}]*(![\s\S]*[^{BLANKS}][\s\S]*|[^!{BLANKS}][\s\S]*)$"))
}

fn expression(pattern: &str) -> Object {
    let expression = text().format(Some(SchemaFormat::Custom("regex".to_owned())));
    expression.pattern(Some(pattern).filter(|pattern| !pattern.is_empty())).build()
}

fn sizes() -> Object {
    let size = "([0-9]{1,19}|[0-9]{1,10}[kKmMgG])";
    pattern(&format!("^({size}(-{size}?)?|-{size})$"))
}

fn count(most: u64, usual: u64) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0u64))
        .maximum(Some(most))
        .default(Some(json!(usual)))
        .build()
}

/// A time in nanoseconds, a bucket, the connection's number in it, the direction, an offset and an index.
fn positions() -> Object {
    let time = "-?([0-9]{1,18}|[1-8][0-9]{18})";
    let long = "(1[0-7][0-9]{18}|[0-9]{1,19})";
    pattern(&format!(r"^{time}\.{long}\.0*{}\.[cs]\.{long}\.{long}$", up_to(u32::MAX.into())))
}

/// The forms of a moment that are the same in every year; 29 February, for one, is none of them.
fn moments() -> Object {
    let year = "(1[789][0-9]{2}|2[01][0-9]{2}|22[0-5][0-9])";
    let day = "((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
    let clock = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?";
    let offset = r"(Z|[+\-](0[0-9]|1[0-4]):[0-5][0-9])";
    let epoch = r"([0-9]{1,9}|[1-8][0-9]{9})(\.[0-9]{1,9})?";
    let ago =
        "[0-9]{1,2} (second|minute|hour|day|week|month|year)s? ago|[0-9]{1,2}[wdhms] ago|[0-9]{1,2}h [0-9]{1,2}m ago";
    let weekday = "mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?";
    pattern(&format!(
        "^({epoch}|{year}-{day}([ T]{clock}{offset}?)?|now|today|yesterday|{ago}|last (hour|day|week|month|year|{weekday}))$"
    ))
}

/// Decimal numbers up to this one, without zeros in front.
fn up_to(most: u64) -> String {
    let most = most.to_string();
    let digits = |n: usize| match n {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        n => format!("[0-9]{{{n}}}"),
    };
    // Those with fewer digits.
    let shorter = (1..most.len()).map(|n| if n == 1 { digits(1) } else { format!("[1-9]{}", digits(n - 1)) });
    let mut forms: Vec<String> = shorter.collect();
    for (at, digit) in most.char_indices() {
        // Those that are the same until here, and smaller from here on; at the last digit, that one too.
        let (before, left) = (most.get(..at).unwrap_or_default(), most.len() - at - 1);
        let least = if at == 0 && left > 0 { '1' } else { '0' };
        let last = if left == 0 { Some(digit) } else { (least..digit).next_back() };
        match last {
            Some(last) if last == least => forms.push(format!("{before}{last}{}", digits(left))),
            Some(last) => forms.push(format!("{before}[{least}-{last}]{}", digits(left))),
            None => {}
        }
    }
    format!("({})", forms.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use proptest::test_runner::{Config, TestRunner};
    use regex::Regex;
    use streamdb_query::Filter;

    fn pattern_of(name: &str) -> Option<String> {
        described(name).unwrap().takes.pattern
    }

    #[test]
    fn no_parameter_is_forgotten() {
        for name in PARAMETERS.iter().copied().chain([FORMAT]) {
            let described = described(name).unwrap_or_else(|| panic!("{name} is not described"));
            assert!(described.says.len() > 20 && !described.example.is_empty(), "{name}");
        }
        let names: Vec<String> = all().into_iter().map(|parameter| parameter.name).collect();
        assert!(PARAMETERS.iter().all(|name| names.iter().filter(|other| other == name).count() == 1));
        assert!(described("colour").is_none());
    }

    #[test]
    fn the_examples_are_taken() {
        for name in PARAMETERS {
            let example = described(name).unwrap().example;
            assert_eq!(Filter::parse([(name, example)]).err(), None, "{name}={example}");
            if let Some(pattern) = pattern_of(name) {
                assert!(Regex::new(&pattern).unwrap().is_match(example), "{name}: {pattern}");
            }
        }
    }

    /// What a schema lets through is taken; sizes apart, which also have an order that no pattern knows.
    #[test]
    fn what_fits_a_pattern_is_taken() {
        for name in PARAMETERS.iter().copied().filter(|name| !["size", "length", "filetype", "fact"].contains(name)) {
            let Some(pattern) = pattern_of(name) else { continue };
            let inner = pattern.trim_start_matches('^').trim_end_matches('$');
            TestRunner::new(Config::with_cases(300))
                .run(&string_regex(inner).unwrap(), |value| {
                    prop_assert!(Filter::parse([(name, &value)]).is_ok(), "{}={:?}", name, value);
                    Ok(())
                })
                .unwrap();
        }
    }

    /// What a schema does not let through is not taken, as far as people and mischief come.
    #[test]
    fn what_fits_no_pattern_is_not_taken() {
        let some = [
            "",
            " ",
            "!",
            "!!",
            " !",
            ",",
            "a,",
            ",a",
            "!,",
            "a, ,b",
            "-",
            "-1",
            "+1",
            "0",
            "00",
            "1.5",
            "1e3",
            "256",
            "65536",
            "99999",
            "10.0.0.256",
            "10.0.0",
            "10.0.0.5/33",
            "10.0.0.05",
            "::1",
            "::1/129",
            ":::",
            "1:2:3:4:5:6:7",
            "1::2::3",
            "1:2:3:4:5:6:7:8:9",
            "fe80::1%eth0",
            "x",
            "c,s",
            "!c",
            "tcp",
            "icmp",
            "open",
            "null",
            "true",
            "[]",
            "{}",
            "2012-13-01",
            "2012-02-30",
            "2012-03-02T25:00:00Z",
            "soon",
            "last",
            "ago",
            "5-",
            "-5",
            "1K-",
            "K",
            "1.2.3.c.0",
            "1.2.3.x.0.0",
            "1:x",
            "abcdef",
            "\0",
            "\u{feff}",
            "é",
            "\n",
            "\t\t",
            "\u{85}",
            "\u{3000}",
            "\u{1c}",
        ];
        for name in PARAMETERS {
            let Some(pattern) = pattern_of(name) else { continue };
            let pattern = Regex::new(&pattern).unwrap();
            for value in some.iter().filter(|value| !pattern.is_match(value)) {
                assert!(
                    Filter::parse([(name, value)]).is_err(),
                    "{name}={value:?} is taken, and does not fit {pattern}"
                );
            }
        }
    }

    #[test]
    fn numbers_up_to_a_bound() {
        for most in [0, 7, 9, 10, 32, 99, 100, 128, 255, 300, 999] {
            let pattern = Regex::new(&format!("^{}$", up_to(most))).unwrap();
            for n in 0..2000u64 {
                assert_eq!(pattern.is_match(&n.to_string()), n <= most, "{n} {pattern}");
            }
            assert!(!pattern.is_match("00"));
        }
        let ports = Regex::new(&format!("^{}$", up_to(65_535))).unwrap();
        assert_eq!((0..100_000u64).filter(|n| ports.is_match(&n.to_string())).count(), 65_536);
    }
}
