//! `streamdb check-config`: whether a configuration file is as it should be.

use std::path::{Path, PathBuf};

use streamdb_capture::{LinkState, link_state};
use streamdb_http_api::Server;
use streamdb_scan::Scanners;
use streamdb_storage::{DiskVolume, WriteFolder};

use super::Error;
use super::storing::print_line;
use crate::capturing::spool_folder::Folders;
use crate::cli::CheckConfig;
use crate::config::Config;
use crate::output::complain;
use crate::rights;

pub(super) fn run(args: &CheckConfig) -> Result<(), Error> {
    let config = Config::load(Some(&args.config))?;
    agrees(&args.config, &config)?;
    let lacks = match (&config.data, &config.capture) {
        (Some(_), Some(_)) => "",
        (None, Some(_)) => "; `streamdb run` needs data in it, too",
        (Some(_), None) => "; `streamdb run` needs [capture] in it, too",
        (None, None) => "; `streamdb run` needs data and [capture] in it, too",
    };
    print_line(&format!("{}: this is a configuration as it should be{lacks}", args.config.display()))?;
    // It may be meant for another machine, or for later.
    lacks_here(&config).iter().for_each(|what| complain(&format!("on this machine, now: {what}")));
    Ok(())
}

/// Whether what it says goes together, and what it names can be used: rules are compiled, and lists read.
///
/// # Errors
/// When a process would refuse it.
fn agrees(path: &Path, config: &Config) -> Result<(), Error> {
    config.scan.clone().map(Scanners::open).transpose()?;
    Server::may_listen(config.listen, &config.http)
        .map_err(|error| Error::Other(format!("{}: http.listen: {error}", path.display())))
}

/// What `streamdb run` would miss on this machine.
fn lacks_here(config: &Config) -> Vec<String> {
    let user = config.user.as_deref().and_then(|name| rights::user(name).err()).map(|error| error.to_string());
    let folder = config.data.as_deref().filter(|folder| folder.exists());
    // Who may not look into it cannot say what it is.
    let folder = folder.and_then(|folder| match WriteFolder::may_be(folder, &DiskVolume) {
        Err(error @ streamdb_storage::Error::ForeignFolder(_)) => Some(error.to_string()),
        _ => None,
    });
    let interfaces = config.capture.iter().flat_map(|capture| capture.interfaces());
    let interfaces = interfaces.filter_map(|name| match link_state(name)? {
        LinkState::Up => None,
        LinkState::Down => Some(format!("{name}: this interface is down")),
        LinkState::Absent => Some(format!("{name}: there is no such network interface")),
    });
    let spool: Vec<PathBuf> = config.capture.iter().flat_map(|capture| capture.spool()).map(PathBuf::from).collect();
    let spool = Folders::mistakes(&spool, config.data.as_deref()).into_iter().map(|error| error.to_string());
    user.into_iter().chain(folder).chain(interfaces).chain(spool).collect()
}
