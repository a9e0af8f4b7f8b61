//! `streamdb run`: a sensor as one configuration file says.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use streamdb_http_api::Server;

use super::{Error, storing};
use crate::account::Account;
use crate::cli::{LogFlag, Run};
use crate::config::Config;
use crate::output::speak_json;
use crate::rights;
use crate::supervising::{Job, Reload, supervise};

pub(super) fn run(args: &Run, log: Option<LogFlag>) -> Result<ExitCode, Error> {
    let Sensor { data, user, confine, json, mut listen, jobs } = sensor(&args.config, log)?;
    speak_json(json);
    // Made, and whole, before anybody reads it; and theirs who go on with it.
    let begin = || {
        drop(storing::open(&data)?);
        Ok(Account::open(&data))
    };
    let account = match user.as_deref().map(rights::user).transpose()? {
        Some(user) => {
            storing::make_for(&data, &user)?;
            rights::as_user(&user, begin)?
        }
        None => {
            rights::not_as_root(&data)?;
            begin()?
        }
    };
    // What a process would refuse at its start is refused before one that runs is ended for it.
    let check = [OsString::from("check-config"), args.config.clone().into()];
    supervise(jobs, account, &check, &mut || {
        let next = sensor(&args.config, log)?;
        let others = [("data", next.data != data), ("user", next.user != user), ("confine", next.confine != confine)];
        // Some of the processes would go on as before, and some not.
        if let Some((key, _)) = others.iter().find(|(_, is_another)| *is_another) {
            return Err(Error::Other(format!(
                "{}: {key} is another one than at the start, which needs a restart",
                args.config.display()
            )));
        }
        // On the port of now the one that serves listens, until it ends for another address.
        if next.listen.port() != listen.port() {
            can_listen(next.listen, user.as_deref())?;
        } else if next.listen != listen {
            Server::has_address(next.listen)?;
        }
        listen = next.listen;
        speak_json(next.json);
        Ok(next.jobs)
    })
}

/// Whether the process that serves, which will be this user's, can listen there.
fn can_listen(listen: SocketAddr, user: Option<&str>) -> Result<(), Error> {
    let try_it = || Server::can_listen(listen).map_err(Error::from);
    match user.map(rights::user).transpose()? {
        Some(user) => rights::as_user(&user, try_it),
        None => try_it(),
    }
}

/// What there is to do, in which data folder, and as which user.
struct Sensor {
    data: PathBuf,
    user: Option<String>,
    confine: bool,
    /// Whether what goes on is told in JSON.
    json: bool,
    listen: SocketAddr,
    jobs: Vec<Job>,
}

/// What the file says; in which style it is told what goes on the flag may say.
fn sensor(path: &Path, log: Option<LogFlag>) -> Result<Sensor, Error> {
    let config = Config::load(Some(path))?;
    let missing = |what: &str| Error::Other(format!("{}: {what}", path.display()));
    let data = config.data.ok_or_else(|| missing("data is missing; give it the path of the data folder"))?;
    let flags = config.capture.ok_or_else(|| missing("there is no [capture]; give it one, with the interface"))?;
    let json = log.or(config.log) == Some(LogFlag::Json);
    let style = if json { "--log=json" } else { "--log=text" };
    let mut rights = Vec::new();
    if let Some(name) = &config.user {
        rights.push(format!("--user={name}"));
    }
    let confine = config.confine != Some(false);
    if confine {
        rights.push("--confine".to_owned());
    }
    let job = |command: &'static str, reload: Reload, fixed: Vec<String>, more: &[OsString]| {
        let mut arguments: Vec<OsString> = vec![command.into(), style.into(), "--data".into(), data.clone().into()];
        arguments.extend(rights.iter().map(Into::into));
        arguments.extend_from_slice(more);
        Job { name: command, arguments, reload, fixed }
    };
    let configured: [OsString; 2] = ["--config".into(), path.into()];
    let with = |more: &[&str]| [&configured[..], &more.iter().map(Into::into).collect::<Vec<OsString>>()].concat();
    let capturing: Vec<&str> = flags.0.iter().map(String::as_str).chain(["--no-derive"]).collect();
    let mut jobs = vec![
        job("capture", Reload::Hangup, flags.fixed().cloned().collect(), &with(&capturing)),
        // Without a configuration it finds objects, and speaks with nobody.
        job("derive", Reload::Again, Vec::new(), &[]),
        job("serve", Reload::Again, Vec::new(), &with(&["--no-scan"])),
    ];
    if config.scan.is_some() || config.submit.is_some() {
        jobs.push(job("scan", Reload::Again, Vec::new(), &with(&[])));
    }
    Ok(Sensor { data, user: config.user, confine, json, listen: config.listen, jobs })
}
