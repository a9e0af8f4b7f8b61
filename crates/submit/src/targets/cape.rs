//! CAPE, by the second version of its API: `POST /apiv2/tasks/create/file/`.
//!
//! Each submission has its key as `custom`, which CAPE keeps with the task. So whether a try came through can be asked by the
//! content's SHA-256, and told from tasks of others for the same content. (CAPE unpacks archives; it knows which one a sample
//! came out of, so that they can be asked for too.)

use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, ids, page};
use super::http::Client;
use super::{Attempt, Deliver, Has, Later, Parcel, Sent};
use crate::job::Job;
use crate::record;
use crate::settings::Server;

/// A CAPE.
pub(super) struct Cape {
    client: Client,
    /// Of its web interface, without a slash at its end.
    base: String,
}

impl Cape {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        let base = server.url.trim_end_matches('/').to_owned();
        Self { client: Client::new(Server { field: "file".to_owned(), ..server }, timeout), base }
    }

    fn sent(&self, said: String, found: &[String]) -> Sent {
        let task = record::tasks(found.iter().map(String::as_str));
        // The page that is there from the beginning, and leads to the report.
        let status = format!("{}/submit/status/{{}}/", self.base);
        let template = self.client.server.page.as_deref().unwrap_or(&status);
        let link = task.split(',').next().filter(|id| !id.is_empty()).map(|id| page(template, id));
        Sent { said, link: link.unwrap_or_default(), task }
    }
}

impl Deliver for Cape {
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt {
        let url = format!("{}/apiv2/tasks/create/file/", self.base);
        let custom = parcel.job.key();
        let answer = match self.client.post(&url, parcel, &[("custom", &custom)], &[]) {
            Ok(answer) => answer,
            Err(later) => return Attempt::Later(later),
        };
        if !answer.is_success() {
            return answer.failed(parcel.job.in_doubt());
        }
        // CAPE says 200 to what it does not do, too: `error` is then true, and otherwise false or a list.
        let json = answer.json().unwrap_or_default();
        let tasks = json.pointer("/data/task_ids").map(ids).unwrap_or_default();
        if is_error(&json) || tasks.is_empty() {
            let why = answer.why();
            return Attempt::Later(Later { why, pause: answer.pause, target: false, doubt: true });
        }
        Attempt::Sent(self.sent(answer.said(), &tasks))
    }

    fn has(&self, job: &Job) -> Has {
        let url = format!("{}/apiv2/tasks/search/sha256/{}/", self.base, job.hash);
        let answer = match self.client.get(&url) {
            Ok(answer) => answer,
            Err(later) => return Has::Later(Later { doubt: true, ..later }),
        };
        match (answer.status.as_u16(), answer.json()) {
            (200, Some(json)) => match ours(&json, &job.key()) {
                Ours::Tasks(tasks) => Has::Yes(self.sent(found(&answer), &tasks)),
                Ours::None => Has::No,
                Ours::Unknown => Has::Unknown,
            },
            // Of a CAPE with tenants, of which none that the token may see has it.
            (404, Some(json)) if is_error(&json) => Has::No,
            // An operator can forbid the question alone.
            (200 | 403 | 404 | 405, _) => Has::Unknown,
            _ => Has::Later(answer.later()),
        }
    }
}

fn found(answer: &Answer) -> String {
    record::said(&format!("{}: found there after a try that was broken off", answer.status))
}

fn is_error(json: &Value) -> bool {
    json.get("error").and_then(Value::as_bool) == Some(true)
}

/// Which tasks of an answer to a search are ours.
#[derive(Debug, PartialEq, Eq)]
enum Ours {
    Tasks(Vec<String>),
    None,
    Unknown,
}

fn ours(json: &Value, key: &str) -> Ours {
    match json.get("data").and_then(Value::as_array) {
        // Older ones say in words that there is no such sample.
        None if is_error(json) => {
            let value = json.get("error_value").and_then(Value::as_str).unwrap_or_default();
            if value.to_ascii_lowercase().contains("not found") { Ours::None } else { Ours::Unknown }
        }
        None if json.get("data").is_some_and(Value::is_string) => Ours::None,
        None => Ours::Unknown,
        Some(tasks) => {
            let custom = |task: &&Value| task.get("custom").and_then(Value::as_str) == Some(key);
            let ids: Vec<String> =
                tasks.iter().filter(custom).filter_map(|task| task.get("id")).flat_map(ids).collect();
            match ids.as_slice() {
                [] if tasks.iter().any(|task| task.get("custom").is_none()) => Ours::Unknown,
                [] => Ours::None,
                _ => Ours::Tasks(ids),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_tasks_are_told_from_others() {
        let read = |text: &str| ours(&serde_json::from_str(text).unwrap(), "k");
        for (text, wanted) in [
            ("{\"error\": [], \"data\": []}", Ours::None),
            (
                "{\"error\": false, \"data\": [{\"id\": 3, \"custom\": \"k2\"}, {\"id\": 4, \"custom\": null}]}",
                Ours::None,
            ),
            (
                "{\"error\": false, \"data\": [{\"id\": 3, \"custom\": \"\"}, {\"id\": 4, \"custom\": \"k\"}]}",
                Ours::Tasks(vec!["4".to_owned()]),
            ),
            ("{\"error\": false, \"data\": [{\"id\": 3}]}", Ours::Unknown),
            ("{\"error\": true, \"error_value\": \"Task Search API is Disabled\"}", Ours::Unknown),
            ("{\"error\": true, \"error_value\": \"Sample not found in database\"}", Ours::None),
            ("{\"error\": false, \"data\": \"Sample not found in database\"}", Ours::None),
            ("[]", Ours::Unknown),
            ("{\"data\": {}}", Ours::Unknown),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }
}
