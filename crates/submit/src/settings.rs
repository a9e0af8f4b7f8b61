//! Where to, and how often it is tried.

use std::path::PathBuf;
use std::time::Duration;

use ureq::http::Uri;

use crate::job::Target;

/// Where objects go, and what the queue may hold. With no target nothing is submitted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A server that takes files in a form.
    pub sandbox: Option<Sandbox>,
    /// A folder that takes files.
    pub folder: Option<PathBuf>,
    /// How often a target is tried.
    pub retry: Retry,
    /// Most bytes of the copies in the queue.
    pub room: u64,
}

/// A server that takes files in a form, as `<input type="file">` sends them (RFC 7578).
#[derive(Clone)]
pub struct Sandbox {
    /// `http://` or `https://`, with a host.
    pub url: String,
    /// The name of the form's field.
    pub field: String,
    /// One more header, such as `Authorization`: its name and value.
    pub header: Option<(String, String)>,
    /// How long one submission may take, from the connection to the answer.
    pub timeout: Duration,
}

impl Sandbox {
    /// Where it is, to be shown and logged: without a name and a password in the URL, and without its query, in which keys
    /// are passed too.
    pub fn place(&self) -> String {
        let Ok(uri) = self.url.parse::<Uri>() else { return "the configured URL".to_owned() };
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default());
        format!("{scheme}://{host}{port}{}", uri.path())
    }
}

/// Without the header's value and the URL's credentials, which are secrets.
impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header = self.header.as_ref().map(|(name, _)| name);
        let Self { field, timeout, .. } = self;
        f.debug_struct("Sandbox")
            .field("url", &self.place())
            .field("field", field)
            .field("header", &header)
            .field("timeout", timeout)
            .finish()
    }
}

/// How often a target is tried. Each pause is twice the one before, less a random part of up to a half, so that many
/// submissions that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries before a submission is given up; it is kept all the same.
    pub tries: u32,
    /// After the first try.
    pub pause: Duration,
    /// Longer ones there are not.
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

    /// The targets, in the order in which they are tried.
    pub fn targets(&self) -> Vec<Target> {
        let folder = self.folder.as_ref().map(|_| Target::Folder);
        let sandbox = self.sandbox.as_ref().map(|_| Target::Sandbox);
        folder.into_iter().chain(sandbox).collect()
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
            let sandbox = Sandbox {
                url: url.to_owned(),
                field: "filename".to_owned(),
                header: Some(("Authorization".to_owned(), "s3cret".to_owned())),
                timeout: Duration::from_secs(1),
            };
            assert_eq!(sandbox.place(), place);
            let debug = format!("{sandbox:?}");
            assert!(debug.contains(place) && !debug.contains("s3cret"), "{debug}");
        }
    }
}
