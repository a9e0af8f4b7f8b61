//! The `streamdb` command: flags, threads, and what ties the other crates together. The only crate that knows them all.

mod cli;
mod commands;
mod config;
pub mod cutoff;
mod deriving;
mod ingesting;
mod output;
mod progress;
mod retaining;
mod settings;
mod spool;
mod spooling;
mod stop;
mod units;
pub mod worker;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line; what goes wrong is one sentence on standard error and exit code 1.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
