//! A command line that is not understood, as one sentence.

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::cli::Cli;

/// What the program ends with then.
pub(crate) const CODE: u8 = 2;

/// Whether it is no mistake: help or the version was asked for, or nothing at all.
pub(crate) fn is_none(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// What is wrong, what would be accepted, and where to read more.
pub(crate) fn sentence(error: &clap::Error) -> String {
    joined(&error.render().to_string(), &help(std::env::args().skip(1)))
}

/// The command among the arguments.
pub(crate) fn command(mut arguments: impl Iterator<Item = String>) -> Option<String> {
    let cli = Cli::command();
    arguments.find(|argument| cli.find_subcommand(argument).is_some())
}

/// The command whose help tells more.
fn help(arguments: impl Iterator<Item = String>) -> String {
    command(arguments).map_or_else(|| "streamdb --help".to_owned(), |command| format!("streamdb {command} --help"))
}

/// clap lays an error out over several lines: what is wrong, then what is missing, accepted or similar, then the usage.
fn joined(text: &str, help: &str) -> String {
    let mut sentence = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        if line.is_empty() {
            continue;
        }
        match line.strip_prefix("tip: ") {
            _ if sentence.is_empty() => sentence.push_str(line.strip_prefix("error: ").unwrap_or(line)),
            Some(tip) => sentence.push_str(&format!("; {tip}")),
            None if line.starts_with('[') => sentence.push_str(&format!(" {line}")),
            None if sentence.ends_with(':') => sentence.push_str(&format!(" {line}")),
            None => sentence.push_str(&format!(", {line}")),
        }
    }
    format!("{sentence}; `{help}` has more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// What is said of a command line.
    fn said(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from([&["streamdb"], arguments].concat()).unwrap_err();
        assert!(!is_none(&error), "{error}");
        joined(&error.render().to_string(), "HELP")
    }

    #[test]
    fn mistakes_are_one_sentence() {
        for (arguments, wanted) in [
            (&["streams"][..], "the following required arguments were not provided: --data <DIR>; `HELP` has more"),
            (
                &["hold", "--data", "d"],
                "the following required arguments were not provided: \
                 <OID|--sha256 <HEX>|--ip <ADDR>|--list|--release <N>>; `HELP` has more",
            ),
            (
                &["ingest", "--data", "d", "--compression", "ful", "f"],
                "invalid value 'ful' for '--compression <COMPRESSION>' [possible values: fast, full]; a similar value exists: \
                 'full'; `HELP` has more",
            ),
            (&["ingst"], "unrecognized subcommand 'ingst'; a similar subcommand exists: 'ingest'; `HELP` has more"),
            (
                &["ingest"],
                "the following required arguments were not provided: --data <DIR>, <FILE>...; `HELP` has more",
            ),
        ] {
            assert_eq!(said(arguments), wanted);
        }
    }

    #[test]
    fn the_help_of_the_command_is_named() {
        let of = |arguments: &[&str]| help(arguments.iter().map(|&argument| argument.to_owned()));
        assert_eq!(of(&["streams", "--dat"]), "streamdb streams --help");
        assert_eq!(of(&["ingst"]), "streamdb --help");
    }

    #[test]
    fn help_is_no_mistake() {
        for arguments in
            [&["streamdb", "--help"][..], &["streamdb", "--version"], &["streamdb"], &["streamdb", "get", "-h"]]
        {
            assert!(is_none(&Cli::try_parse_from(arguments).unwrap_err()));
        }
    }
}
