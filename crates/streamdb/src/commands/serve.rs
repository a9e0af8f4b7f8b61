//! `streamdb serve`: streams and objects over HTTP.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use streamdb_http_api::Server;
use streamdb_scan::{Nobody, Scanners};
use streamdb_storage::Store;
use streamdb_submit::{Signal, Submissions};
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::cli::Serve;
use crate::config::Config;
use crate::output::complain;
use crate::scanning::Scanning;

/// How long the last submission may take when the server ends.
const LAST: Duration = Duration::from_secs(10);

/// How soon dropped buckets are let go of.
const LET_GO: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Serve) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    let listen = args.listen.unwrap_or(config.listen);
    let mut settings = config.http;
    let scanners = config.scan.map(Scanners::open).transpose()?;
    let store = Arc::new(Store::open(&args.data.folder)?);
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = started.map_err(|e| Error::Other(format!("could not start the threads of the server: {e}")))?;
    settings.submissions = config.submit.map(|submit| Submissions::open(&args.data.folder, submit)).transpose()?;
    let submissions = settings.submissions.clone();
    let scanning = Scanning::start(&args.data.folder, scanners, Box::new(Nobody))?;
    let served = runtime.block_on(async {
        let server = Server::bind_with(listen, settings).await?;
        complain(&format!("serving {} on http://{}/", args.data.folder.display(), server.address()));
        let sending = submissions.map(|submissions| Sending::begin(&submissions)).transpose()?;
        let letting_go = tokio::spawn(let_go(Arc::clone(&store)));
        server.run(store, stopped()).await;
        letting_go.abort();
        if let Some(sending) = sending {
            sending.end();
        }
        Ok(())
    });
    if let Some(scanning) = scanning {
        scanning.stop();
    }
    served
}

/// Buckets that retention dropped take their room as long as they are mapped here, so the store looks now and then which are
/// gone, also when nobody asks for anything.
async fn let_go(store: Arc<Store>) {
    loop {
        tokio::time::sleep(LET_GO).await;
        let store = Arc::clone(&store);
        let _ = tokio::task::spawn_blocking(move || store.bucket_ids()).await;
    }
}

/// The thread that sends what is submitted.
struct Sending {
    signal: Signal,
    ended: Receiver<()>,
}

impl Sending {
    fn begin(submissions: &Submissions) -> Result<Self, Error> {
        let (end, ended) = channel();
        let mut sender = submissions.sender();
        let started = thread::Builder::new().name("submissions".to_owned()).spawn(move || {
            sender.run(&mut complain);
            // Nobody may wait for it any more.
            let _ = end.send(());
        });
        started.map_err(|e| Error::Other(format!("could not start the thread that sends submissions: {e}")))?;
        Ok(Self { signal: submissions.signal().clone(), ended })
    }

    /// Begins no other submission. The one that is on its way may come to its end, for some time; after that it is sent once
    /// more when the server starts again.
    fn end(self) {
        self.signal.stop();
        let _ = self.ended.recv_timeout(LAST);
    }
}

/// Ready when the process is asked to end.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
