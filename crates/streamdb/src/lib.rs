//! The `streamdb` command: flags, threads, and what ties the other crates together. The only crate that knows them all.

mod account;
mod capturing;
mod cli;
mod commands;
mod config;
pub mod cutoff;
mod deriving;
mod handing;
mod ingesting;
mod lag;
mod limiting;
mod log;
mod mistake;
mod output;
mod progress;
mod reporting;
mod retaining;
mod rights;
mod scanning;
mod settings;
pub mod sharing;
mod spool;
mod spooling;
mod stop;
mod supervising;
mod units;
pub mod worker;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line; what goes wrong is one sentence on standard error and exit code 1, or 2 when the command line itself
/// is not understood.
pub fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are not mistakes, and come as clap lays them out.
        Err(error) if mistake::is_none(&error) => error.exit(),
        Err(error) => {
            output::complain(&mistake::sentence(&error));
            return ExitCode::from(mistake::CODE);
        }
    };
    speak(&cli);
    supervising::end_with_supervisor();
    let code = match commands::run(cli) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::give_up(&error.to_string());
            ExitCode::FAILURE
        }
    };
    output::say_the_rest();
    code
}

/// Says on standard error who this is, as the flags have it.
fn speak(cli: &cli::Cli) {
    let process = mistake::command(std::env::args().skip(1)).unwrap_or_default();
    let is_one_of_several = supervising::is_supervised();
    let forever = is_one_of_several || matches!(cli.command, cli::Command::Run(_));
    let json = cli.log == Some(cli::LogFlag::Json);
    output::speak(log::Speaker { process, is_one_of_several }, json, forever);
    if matches!(cli.command, cli::Command::Run(_)) {
        // Of those that run for long all others give up rights first.
        output::may_wait();
    }
}
