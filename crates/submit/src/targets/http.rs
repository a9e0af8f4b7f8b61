//! What servers have in common: forms with a file (`multipart/form-data`, RFC 7578), one file at a time, and the way to
//! their answers.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, Body, Error, SendBody};

use super::answer::{Answer, retry_after};
use super::connection::{Connects, Cut};
use super::{Later, Parcel};
use crate::queue::now;
use crate::record;
use crate::settings::Server;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// What is read of an answer.
const MAX_ANSWER: u64 = 256 << 10;

/// A client of a server.
pub(super) struct Client {
    agent: Agent,
    pub(super) server: Server,
    /// Whether the last request was not sent whole.
    cut: Cut,
}

impl Client {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // What is sent goes where the configuration says, not where an environment does.
            .proxy(None)
            .user_agent("streamdb")
            .build();
        let cut = Cut::default();
        let connects = ().chain(Connects(cut.clone())).chain(RustlsConnector::default());
        Self { agent: Agent::with_parts(config, connects, DefaultResolver::default()), server, cut }
    }

    /// Sends a file in a form, with the configured fields and these.
    pub(super) fn post(
        &self,
        url: &str,
        parcel: &mut Parcel<'_>,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Answer, Later> {
        let boundary = boundary().map_err(|error| Later { why: error.to_string(), ..Later::default() })?;
        let configured = self.server.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut head = String::new();
        for (name, value) in configured.chain(fields.iter().copied()) {
            head += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.server.field,
            parcel.job.file_name()
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let size = parcel.job.size;
        let length = head.len() as u64 + size + tail.len() as u64;
        let form = Cursor::new(head).chain((&mut parcel.content).take(size)).chain(Cursor::new(tail));
        let mut body = Form { form, left: length, cut: &self.cut };
        let mut request = self
            .agent
            .post(url)
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .header("content-length", length.to_string());
        let configured = self.server.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in configured.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        self.cut.set(false);
        self.read(url, request.send(SendBody::from_reader(&mut body)))
    }

    /// Asks for something.
    pub(super) fn get(&self, url: &str) -> Result<Answer, Later> {
        let mut request = self.agent.get(url);
        for (name, value) in &self.server.headers {
            request = request.header(name, value);
        }
        self.cut.set(false);
        self.read(url, request.call())
    }

    fn read(&self, url: &str, response: Result<Response<Body>, Error>) -> Result<Answer, Later> {
        let mut response = response.map_err(|error| {
            let doubt = !is_before_it_began(&error);
            // Should it repeat the URL, then not with what is secret in it.
            let place = self.server.place();
            let why = error.to_string().replace(url, &place).replace(&self.server.url, &place);
            // What broke off in the middle may be about this content: others are tried.
            Later { why: self.said(&why), pause: None, target: !doubt, doubt }
        })?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (location, pause) = (header("location"), header("retry-after"));
        let mut body = Vec::new();
        // An answer that breaks off is an answer: its status is what counts.
        let _ = response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut body);
        let pause = pause.and_then(|text| retry_after(&text, now()));
        let (status, place, cut) = (response.status(), self.server.place(), self.cut.is());
        Ok(Answer { status, body, location, pause, place, cut })
    }

    /// Why it came to nothing, and where: whoever reads it may have more than one sandbox.
    fn said(&self, why: &str) -> String {
        record::said(&format!("{}: {why}", self.server.place()))
    }
}

/// A form as it is sent.
struct Form<'f, R> {
    form: R,
    left: u64,
    cut: &'f Cut,
}

impl<R: Read> Read for Form<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match buffer.get_mut(..room) {
            // Nobody gets these bytes, which need not be read for that.
            Some(_) if self.cut.is() => room,
            Some(buffer) => self.form.read(buffer)?,
            None => 0,
        };
        if read == 0 && room > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the copy in the queue is shorter than it was"));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Whether nothing of a request can have come to the server.
fn is_before_it_began(error: &Error) -> bool {
    match error {
        Error::HostNotFound | Error::ConnectionFailed | Error::BadUri(_) | Error::InvalidProxyUrl => true,
        Error::Timeout(when) => matches!(when, ureq::Timeout::Resolve | ureq::Timeout::Connect),
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        ),
        _ => false,
    }
}

/// 128 random bits: no file contains them (RFC 2046 §5.1.1), not even one that was made to.
fn boundary() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("streamdb-{:032x}", u128::from_ne_bytes(random)))
}
