//! `streamdb run`: a sensor as one configuration file says.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Error, storing};
use crate::account::Account;
use crate::cli::Run;
use crate::config::Config;
use crate::supervising::{Job, Reload, supervise};

pub(super) fn run(args: &Run) -> Result<ExitCode, Error> {
    let (data, jobs) = jobs(&args.config)?;
    // Made, and whole, before anybody reads it.
    drop(storing::open(&data)?);
    supervise(jobs, Account::open(&data), &mut || Ok(self::jobs(&args.config)?.1))
}

/// What there is to do, and in which data folder.
fn jobs(path: &Path) -> Result<(PathBuf, Vec<Job>), Error> {
    let config = Config::load(Some(path))?;
    let missing = |what: &str| Error::Other(format!("{}: {what}", path.display()));
    let data = config.data.ok_or_else(|| missing("data is missing; give it the path of the data folder"))?;
    let flags = config.capture.ok_or_else(|| missing("there is no [capture]; give it one, with the interface"))?;
    let job = |command: &'static str, reload: Reload, more: Vec<String>| {
        let mut arguments = vec![command.into(), "--data".into(), data.clone().into(), "--config".into(), path.into()];
        arguments.extend(more.into_iter().map(Into::into));
        Job { name: command, arguments, reload }
    };
    let capturing = [flags.0, vec!["--no-derive".to_owned()]].concat();
    let jobs = vec![
        job("capture", Reload::Hangup, capturing),
        job("derive", Reload::Again, Vec::new()),
        job("serve", Reload::Again, Vec::new()),
    ];
    Ok((data, jobs))
}
