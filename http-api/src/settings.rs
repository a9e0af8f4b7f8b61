//! What an operator decides about the server.

use streamdb_query::Zone;
use streamdb_submit::Submissions;

use crate::auth::Token;
use crate::cors::Origin;
use crate::hosts::HostName;

/// What an operator decides about the server. The default is for one user on one machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names of this server besides its address and `localhost`.
    pub names: Vec<HostName>,
    /// Origins whose pages may read what is here.
    pub origins: Vec<Origin>,
    /// Who may do what. With none, everybody may do everything, and only loopback addresses are listened on.
    pub tokens: Vec<Token>,
    /// The zone in which times are shown and read.
    pub zone: Zone,
    /// Where objects are submitted; with nothing, they are not.
    pub submissions: Option<Submissions>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { names: Vec::new(), origins: Vec::new(), tokens: Vec::new(), zone: Zone::UTC, submissions: None }
    }
}
