//! The `streamdb` command: flags, threads, and what ties the other crates together. The only crate that knows them all.

mod capturing;
mod cli;
mod commands;
mod config;
pub mod cutoff;
mod deriving;
mod handing;
mod ingesting;
mod mistake;
mod output;
mod progress;
mod retaining;
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
    supervising::end_with_supervisor();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
