//! `streamdb manual`: what packages have besides the program, made from the one declaration of the command line.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Error;
use crate::cli::{Cli, Manual};

pub(super) fn run(args: &Manual) -> Result<(), Error> {
    write(&args.folder).map_err(|source| Error::output(&args.folder, source))
}

/// `man/` has a page for the program and for each of its commands, `completions/` a file for each shell.
fn write(folder: &Path) -> io::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    std::fs::create_dir_all(&pages)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "streamdb", &completions)?;
    }
    Ok(())
}
