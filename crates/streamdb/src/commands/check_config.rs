//! `streamdb check-config`: whether a configuration file is as it should be.

use super::Error;
use super::storing::print_line;
use crate::cli::CheckConfig;
use crate::config::Config;

pub(super) fn run(args: &CheckConfig) -> Result<(), Error> {
    let config = Config::load(Some(&args.config))?;
    // What it names is looked at, too: rules are compiled, and lists read.
    config.scan.map(streamdb_scan::Scanners::open).transpose()?;
    let lacks = match (config.data, config.capture) {
        (Some(_), Some(_)) => "",
        (None, Some(_)) => "; `streamdb run` needs data in it, too",
        (Some(_), None) => "; `streamdb run` needs [capture] in it, too",
        (None, None) => "; `streamdb run` needs data and [capture] in it, too",
    };
    print_line(&format!("{}: this is a configuration as it should be{lacks}", args.config.display()))
}
