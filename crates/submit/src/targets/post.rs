//! Any server that takes a file in a form.
//!
//! It cannot be asked whether it has a content. So each try of a submission carries the same `Idempotency-Key`, by which a
//! server can tell a second try from a second submission.

use std::time::Duration;

use super::answer::{Answer, ids, page};
use super::http::Client;
use super::{Attempt, Deliver, Has, Parcel, Sent};
use crate::job::Job;
use crate::record;
use crate::settings::Server;

/// A server.
pub(super) struct Post {
    client: Client,
}

impl Post {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        Self { client: Client::new(server, timeout) }
    }

    /// What an answer says of the task that it began.
    fn sent(&self, answer: &Answer) -> Sent {
        let server = &self.client.server;
        let json = answer.json().unwrap_or_default();
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|pointer| json.pointer(pointer));
        let found = at(&server.task).map(ids).unwrap_or_default();
        let task = record::tasks(found.iter().map(String::as_str));
        let first = task.split(',').next().filter(|id| !id.is_empty());
        let named = at(&server.link).map(ids).unwrap_or_default().into_iter().next();
        let paged = || first.zip(server.page.as_deref()).map(|(id, template)| page(template, id));
        let link = named.or_else(paged).or_else(|| answer.location.clone()).unwrap_or_default();
        // RFC 9110 §10.2.2: it may be relative, here to the server.
        let whole = match link.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
            Some(_) => server.on_it(&link).unwrap_or_default(),
            None => link,
        };
        Sent { said: answer.said(), link: record::link(&whole), task }
    }
}

impl Deliver for Post {
    fn deliver(&self, parcel: &mut Parcel<'_>) -> Attempt {
        let url = self.client.server.url.clone();
        // A string of RFC 8941, as draft-ietf-httpapi-idempotency-key-header has it.
        let key = format!("\"{}\"", parcel.job.key());
        match self.client.post(&url, parcel, &[], &[("idempotency-key", &key)]) {
            Ok(answer) if answer.is_success() => Attempt::Sent(self.sent(&answer)),
            Ok(answer) => answer.failed(parcel.job.in_doubt()),
            Err(later) => Attempt::Later(later),
        }
    }

    fn has(&self, _job: &Job) -> Has {
        Has::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::StatusCode;

    #[test]
    fn results_are_where_the_answer_says() {
        let pointer = |text: &str| Some(text.to_owned());
        let read = |link: Option<&str>, task: Option<&str>, page: Option<&str>, location: Option<&str>, body: &str| {
            let server = Server {
                url: "http://s:1/upload?key=x".to_owned(),
                link: link.and_then(pointer),
                task: task.and_then(pointer),
                page: page.and_then(pointer),
                ..Server::default()
            };
            let answer = Answer {
                status: StatusCode::OK,
                body: body.as_bytes().to_vec(),
                location: location.map(str::to_owned),
                pause: None,
                place: String::new(),
                cut: false,
            };
            let Sent { link, task, .. } = Post::new(server, Duration::from_secs(1)).sent(&answer);
            (link, task)
        };
        let of = |link: &str, task: &str| (link.to_owned(), task.to_owned());
        let body = "{\"a\": {\"url\": \"https://r/7\"}, \"id\": 7, \"bad\": \"javascript:alert(1)\"}";
        assert_eq!(read(Some("/a/url"), Some("/id"), None, None, body), of("https://r/7", "7"));
        assert_eq!(read(None, Some("/id"), Some("http://web/{}/x"), Some("/l"), body), of("http://web/7/x", "7"));
        assert_eq!(read(None, None, None, Some("/l?a=b"), body), of("http://s:1/l?a=b", ""));
        assert_eq!(read(None, None, None, Some("https://r/8"), "no JSON"), of("https://r/8", ""));
        assert_eq!(read(Some("/bad"), None, None, None, body), of("", ""));
        assert_eq!(read(Some("/nowhere"), Some("/a"), None, Some("//r/9"), body), of("", ""));
    }
}
