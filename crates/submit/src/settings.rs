//! Where to, by which rules, and how often it is tried.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Uri;

use crate::rule::Policy;

/// Where contents go, and what the queue may hold. With no target nothing is submitted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Each has another name.
    pub targets: Vec<Target>,
    /// What goes by itself.
    pub policy: Policy,
    /// How often a target is tried.
    pub retry: Retry,
    /// Most bytes of the copies in the queue.
    pub room: u64,
}

/// What the operator calls a target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// What [`parse`](Self::parse) takes.
    pub const ACCEPTED: &'static str =
        "a name of 1 to 64 letters, digits and . _ -, which begins with a letter or a digit";

    /// Reads a name. It becomes part of the names of files.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        (plain && begins && text.len() <= 64).then(|| Self(text.into()))
    }

    /// What `[submit] url` is called.
    pub fn sandbox() -> Self {
        Self("sandbox".into())
    }

    /// What `[submit] folder` is called.
    pub fn folder() -> Self {
        Self("folder".into())
    }

    /// What comes before every name.
    pub(crate) fn first() -> Self {
        Self("".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody who takes contents.
#[derive(Clone, Debug)]
pub struct Target {
    /// What the operator calls it.
    pub name: TargetName,
    /// What it is.
    pub kind: Kind,
    /// How long one try may take, from its beginning to the answer.
    pub timeout: Duration,
}

/// What a target is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// CAPE, by the second version of its API; the URL is that of its web interface.
    Cape(Server),
    /// Cuckoo, by its API; the URL is that of the API.
    Cuckoo(Server),
    /// Any server that takes a file in a form.
    Post(Server),
    /// A folder that takes files.
    Folder {
        /// It has to be there.
        path: PathBuf,
        /// Whether a file of JSON lies beside each.
        json: bool,
    },
    /// A program that is run for each.
    Command {
        /// The program and its arguments; `{}` in one stands for the file's path, which is the last argument if none has it.
        words: Vec<String>,
    },
}

/// A server that takes files in a form, as `<input type="file">` sends them (RFC 7578).
#[derive(Clone, Default)]
pub struct Server {
    /// `http://` or `https://`, with a host.
    pub url: String,
    /// The name of the form's field with the file.
    pub field: String,
    /// Other fields of the form: their names and values.
    pub fields: Vec<(String, String)>,
    /// More headers, such as `Authorization`: their names and values.
    pub headers: Vec<(String, String)>,
    /// The address of a task's page, with `{}` for the task's id.
    pub page: Option<String>,
    /// Where in an answer of JSON the address of the result is (RFC 6901).
    pub link: Option<String>,
    /// Where in it the task's id is.
    pub task: Option<String>,
}

impl Server {
    /// Where it is, to be shown and logged: without a name and a password in the URL, and without its query, in which keys
    /// are passed too.
    pub fn place(&self) -> String {
        let Ok(uri) = self.url.parse::<Uri>() else { return "the configured URL".to_owned() };
        let (scheme, authority) = authority(&uri);
        format!("{scheme}://{authority}{}", uri.path())
    }

    /// An absolute path on the same server.
    pub(crate) fn on_it(&self, path: &str) -> Option<String> {
        let uri = self.url.parse::<Uri>().ok()?;
        let (scheme, authority) = authority(&uri);
        Some(format!("{scheme}://{authority}{path}"))
    }
}

/// Scheme, and host and port without a user's name.
fn authority(uri: &Uri) -> (&str, String) {
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    (uri.scheme_str().unwrap_or("http"), format!("{}{port}", uri.host().unwrap_or_default()))
}

/// Without the values of headers and fields and the URL's credentials, which are secrets.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Server")
            .field("url", &self.place())
            .field("field", &self.field)
            .field("fields", &names(&self.fields))
            .field("headers", &names(&self.headers))
            .finish_non_exhaustive()
    }
}

/// How often a target is tried. Each pause is twice the one before, less a random part of up to a half, so that many
/// submissions that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries before a submission is given up; it is kept all the same.
    pub tries: u32,
    /// After the first try; and how long a target that can be asked has to finish with a try that was broken off.
    pub pause: Duration,
    /// Longer ones there are not, but where the target asks for one.
    pub longest_pause: Duration,
}

impl Default for Retry {
    /// Some 20 hours.
    fn default() -> Self {
        Self { tries: 30, pause: Duration::from_secs(10), longest_pause: Duration::from_secs(3600) }
    }
}

impl Settings {
    /// What the queue may hold by default.
    pub const ROOM: u64 = 4 << 30;

    /// The names of the targets, in the order of the configuration.
    pub fn names(&self) -> Vec<TargetName> {
        self.targets.iter().map(|target| target.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_tells_no_secret() {
        for (url, place) in [
            ("https://sandbox.example/api/tasks", "https://sandbox.example/api/tasks"),
            ("http://me:s3cret@10.0.0.9:8090/api?key=s3cret#s3cret", "http://10.0.0.9:8090/api"),
            ("https://s3cret@[fd00::9]:1", "https://[fd00::9]:1/"),
            ("not a URL with s3cret", "the configured URL"),
        ] {
            let secret = |name: &str| vec![(name.to_owned(), "s3cret".to_owned())];
            let (headers, fields) = (secret("Authorization"), secret("key"));
            let server = Server { url: url.to_owned(), headers, fields, ..Server::default() };
            assert_eq!(server.place(), place);
            let debug = format!("{server:?}");
            assert!(debug.contains(place) && debug.contains("Authorization") && !debug.contains("s3cret"), "{debug}");
        }
    }

    #[test]
    fn names_are_parts_of_file_names() {
        for good in ["sandbox", "cape-2.example", "A_1", &"x".repeat(64)] {
            assert_eq!(TargetName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".x", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert_eq!(TargetName::parse(bad), None, "{bad:?}");
        }
    }
}
