//! `streamdb token`: a new token, shown once, and the lines of the configuration that know it.

use std::io::Write;

use streamdb_http_api::{Role, Roles, Secret};

use super::Error;
use crate::cli::Token;
use crate::output::{Output, complain};

pub(super) fn run(args: &Token) -> Result<(), Error> {
    let secret = Secret::new().map_err(|e| Error::Other(format!("the system gives no random numbers: {e}")))?;
    let given: Roles = args.role.iter().copied().collect();
    let roles: Vec<String> =
        Role::ALL.iter().filter(|role| given.has(**role)).map(|role| format!("{:?}", role.word())).collect();
    let mut out = Output::open(None)?;
    let error = out.error();
    let (name, hash, roles) = (&args.name, secret.hash(), roles.join(", "));
    let written = write!(out, "[[http.tokens]]\nname = \"{name}\"\nhash = \"{hash}\"\nroles = [{roles}]\n");
    written.and_then(|()| out.flush()).map_err(error)?;
    // Not with the lines above: those may be appended to the file as they come, and the token is not to be in it.
    complain(&format!("the token of {name}, shown this once: {}", secret.text()));
    Ok(())
}
