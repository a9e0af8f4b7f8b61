//! `streamdb run`: a sensor as one configuration file says.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Error, storing};
use crate::cli::{LogFlag, Run};
use crate::config::Config;
use crate::output::speak_json;
use crate::supervising::{Job, Reload, supervise};

pub(super) fn run(args: &Run, log: Option<LogFlag>) -> Result<ExitCode, Error> {
    let (data, jobs) = jobs(&args.config, log)?;
    // Made, and whole, before anybody reads it.
    drop(storing::open(&data)?);
    supervise(jobs, &mut || Ok(self::jobs(&args.config, log)?.1))
}

/// What there is to do, and in which data folder; and how it is told from now on, unless the flag says it.
fn jobs(path: &Path, log: Option<LogFlag>) -> Result<(PathBuf, Vec<Job>), Error> {
    let config = Config::load(Some(path))?;
    let missing = |what: &str| Error::Other(format!("{}: {what}", path.display()));
    let data = config.data.ok_or_else(|| missing("data is missing; give it the path of the data folder"))?;
    let flags = config.capture.ok_or_else(|| missing("there is no [capture]; give it one, with the interface"))?;
    let json = log.or(config.log) == Some(LogFlag::Json);
    speak_json(json);
    let style = if json { "--log=json" } else { "--log=text" };
    let job = |command: &'static str, reload: Reload, more: Vec<String>| {
        let mut arguments =
            vec![command.into(), style.into(), "--data".into(), data.clone().into(), "--config".into(), path.into()];
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
