//! Cuckoo, by its API: `POST /tasks/create/file`.
//!
//! Each submission has a name of its own as `owner`, by which Cuckoo 2 lists tasks: so whether a try came through can be asked.

use std::time::Duration;

use serde_json::Value;

use super::answer::{ids, page};
use super::http::Client;
use super::{Attempt, Deliver, Has, Later, Parcel, Sent};
use crate::job::Job;
use crate::record;
use crate::settings::Server;

/// A Cuckoo.
pub(super) struct Cuckoo {
    client: Client,
    /// Of its API, without a slash at its end.
    base: String,
}

impl Cuckoo {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        let base = server.url.trim_end_matches('/').to_owned();
        Self { client: Client::new(Server { field: "file".to_owned(), ..server }, timeout), base }
    }

    fn sent(&self, said: String, found: &[String]) -> Sent {
        let task = record::tasks(found.iter().map(String::as_str));
        // The web interface is another server, which the API does not name.
        let view = format!("{}/tasks/view/{{}}", self.base);
        let template = self.client.server.page.as_deref().unwrap_or(&view);
        let link = task.split(',').next().filter(|id| !id.is_empty()).map(|id| page(template, id));
        Sent { said, link: link.unwrap_or_default(), task }
    }
}

impl Deliver for Cuckoo {
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt {
        let url = format!("{}/tasks/create/file", self.base);
        let owner = parcel.job.short_key();
        let answer = match self.client.post(&url, parcel, &[("owner", &owner)], &[]) {
            Ok(answer) => answer,
            Err(later) => return Attempt::Later(later),
        };
        if !answer.is_success() {
            return answer.failed(parcel.job.in_doubt());
        }
        let json = answer.json().unwrap_or_default();
        let task = json.get("task_id").or_else(|| json.get("task_ids")).map(ids).unwrap_or_default();
        if task.is_empty() {
            // `null` where it did not take the file.
            let why = answer.why();
            return Attempt::Later(Later { why, pause: answer.pause, target: false, doubt: true });
        }
        Attempt::Sent(self.sent(answer.said(), &task))
    }

    fn has(&self, job: &Job) -> Has {
        let owner = job.short_key();
        let url = format!("{}/tasks/list/100?owner={owner}", self.base);
        let answer = match self.client.get(&url) {
            Ok(answer) => answer,
            Err(later) => return Has::Later(Later { doubt: true, ..later }),
        };
        let json = answer.json().unwrap_or_default();
        match (answer.status.as_u16(), json.get("tasks").and_then(Value::as_array)) {
            (200, Some(tasks)) => {
                let is_ours = |task: &&Value| task.get("owner").and_then(Value::as_str) == Some(&owner);
                let found: Vec<String> =
                    tasks.iter().filter(is_ours).filter_map(|task| task.get("id")).flat_map(ids).collect();
                match (found.is_empty(), tasks.is_empty()) {
                    (false, _) => {
                        let said = format!("{}: found there after a try that was broken off", answer.status);
                        Has::Yes(self.sent(record::said(&said), &found))
                    }
                    (true, true) => Has::No,
                    // One that does not know owners lists everybody's.
                    (true, false) => Has::Unknown,
                }
            }
            (200 | 403 | 404 | 405, _) => Has::Unknown,
            _ => Has::Later(answer.later()),
        }
    }
}
