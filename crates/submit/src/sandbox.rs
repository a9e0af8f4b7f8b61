//! The server that takes files in a form: `multipart/form-data` (RFC 7578), one file at a time.

use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use crate::job::Job;
use crate::record;
use crate::sender::Attempt;
use crate::settings::Sandbox;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// What is read of an answer.
const MAX_ANSWER: u64 = 4 << 10;

/// A client of the server.
pub(crate) struct Client {
    agent: Agent,
    sandbox: Sandbox,
}

impl Client {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(sandbox.timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // What is sent goes where the configuration says, not where an environment does.
            .proxy(None)
            .user_agent("streamdb")
            .build();
        Self { agent: config.new_agent(), sandbox }
    }

    /// Sends one file.
    pub(crate) fn send(&self, job: &Job, content: File) -> Attempt {
        let boundary = match boundary() {
            Ok(boundary) => boundary,
            Err(error) => return Attempt::Later { why: error.to_string(), pause: None, unreachable: false },
        };
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.sandbox.field,
            job.file_name()
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = head.len() as u64 + job.size + tail.len() as u64;
        let mut body = Cursor::new(head).chain(content.take(job.size)).chain(Cursor::new(tail));
        let mut request = self
            .agent
            .post(&self.sandbox.url)
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .header("content-length", length.to_string());
        if let Some((name, value)) = &self.sandbox.header {
            request = request.header(name, value);
        }
        let mut response = match request.send(SendBody::from_reader(&mut body)) {
            Ok(response) => response,
            Err(error) => {
                // Should it repeat the URL, then not with what is secret in it.
                let error = error.to_string().replace(&self.sandbox.url, &self.sandbox.place());
                return Attempt::Later { why: self.said(&error), pause: None, unreachable: true };
            }
        };
        let status = response.status();
        let pause = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut said = Vec::new();
        // An answer that breaks off is an answer: its status is what counts.
        let _ = response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut said);
        let answer = format!("{status}: {}", String::from_utf8_lossy(&said));
        let why = self.said(&answer);
        match status.as_u16() {
            200..300 => Attempt::Sent { said: record::said(&answer) },
            // What is wrong with these is the file; it will be the next time too.
            400 | 409 | 413 | 415 | 422 => Attempt::Refused { why },
            _ => Attempt::Later { why, pause: pause.map(Duration::from_secs), unreachable: false },
        }
    }

    /// Why it came to nothing, and where: whoever reads it may have more than one sandbox.
    fn said(&self, why: &str) -> String {
        record::said(&format!("{}: {why}", self.sandbox.place()))
    }
}

/// 128 random bits: no file contains them (RFC 2046 §5.1.1), not even one that was made to.
fn boundary() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("streamdb-{:032x}", u128::from_ne_bytes(random)))
}
