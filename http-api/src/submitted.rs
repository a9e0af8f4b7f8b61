//! What became of contents that were submitted, as pages and JSON show it.

use serde::Serialize;
use streamdb_submit::{ContentHash, Job, State, Submissions};
use utoipa::ToSchema;

/// A content on its way to a target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Submitted {
    /// What the operator calls the target.
    pub(crate) target: String,
    /// `waits`, `sent` or `failed`.
    state: &'static str,
    /// When it was taken into the queue; once it is sent or given up, when that was. RFC 3339, UTC, nanoseconds.
    #[schema(format = DateTime)]
    pub(crate) at: String,
    /// The object that it was submitted as.
    oid: String,
    /// The rule that chose it; absent where a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Where the result is or will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// What the target calls it, ids with commas between several.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    /// What the target said, or why it was not sent yet.
    pub(crate) said: String,
}

impl Submitted {
    fn of(job: Job) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (state, at, said, link, task) = match job.state {
            State::Waits { why, .. } => ("waits", job.queued, why, String::new(), String::new()),
            State::Sent { at, said, link, task } => ("sent", at, said, link, task),
            State::Failed { at, why, .. } => ("failed", at, why, String::new(), String::new()),
        };
        Self {
            target: job.target.to_string(),
            state,
            at: at.to_string(),
            oid: job.oid.to_string(),
            rule: some(job.rule),
            link: some(link),
            task: some(task),
            said,
        }
    }

    /// The address of the result's page; `http` or `https`, and empty where there is none.
    pub(crate) fn link(&self) -> &str {
        self.link.as_deref().unwrap_or_default()
    }

    /// What to say where there is no link.
    pub(crate) fn words(&self) -> String {
        match (self.state, self.said.as_str()) {
            ("waits", "") => "it waits".to_owned(),
            ("waits", why) => format!("it waits, {why}"),
            ("failed", why) => format!("given up, {why}"),
            (_, said) => said.to_owned(),
        }
    }
}

/// What became of each of these contents, in their order. Nothing where nothing is submitted, or where the queue cannot be
/// read: what was captured is shown all the same.
pub(crate) fn of(submissions: Option<&Submissions>, hashes: &[[u8; 32]]) -> Vec<Vec<Submitted>> {
    let contents: Vec<ContentHash> = hashes.iter().map(|hash| ContentHash(*hash)).collect();
    let jobs = submissions.and_then(|submissions| submissions.of(&contents).ok());
    let jobs = jobs.unwrap_or_else(|| vec![Vec::new(); hashes.len()]);
    jobs.into_iter().map(|jobs| jobs.into_iter().map(Submitted::of).collect()).collect()
}
