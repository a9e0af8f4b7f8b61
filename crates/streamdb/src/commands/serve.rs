//! `streamdb serve`: streams and objects over HTTP.

use std::sync::Arc;
use std::time::Duration;

use streamdb_http_api::Server;
use streamdb_scan::Scanners;
use streamdb_storage::{Store, Suspects};
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::cli::Serve;
use crate::config::Config;
use crate::handing::{Handing, needs, submissions};
use crate::limiting::{Limit, Watchdog, bound_memory};
use crate::output::{complain, inform};
use crate::rights::{self, Needs, Network};
use crate::supervising::{alive, ready};

/// How long what is still taken apart may take, when all answers were broken off.
const LEFT: Duration = Duration::from_millis(500);
/// How soon dropped buckets are let go of.
const LET_GO: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Serve) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    let listen = args.listen.unwrap_or(config.listen);
    let mut settings = config.http;
    let scanners = config.scan.filter(|_| !args.no_scan).map(Scanners::open).transpose()?;
    bound_memory(args.max_memory)?;
    rights::lower(&args.giving_up)?;
    let store = Arc::new(Store::open(&args.data.folder)?);
    let (suspects, kept) = Suspects::of_server(&store);
    let folder = &args.data.folder;
    let needs = if args.no_scan {
        Needs {
            reads: vec![folder.clone()],
            writes: vec![folder.join("queue")],
            network: Network::All,
            ..Needs::default()
        }
    } else {
        needs(folder, config.submit.as_ref())
    };
    settings.submissions = submissions(folder, config.submit)?;
    let submissions = settings.submissions.clone();
    rights::confine(&args.giving_up, &needs)?;
    let limit = Limit { most: Duration::from_secs(args.max_seconds.into()), waits: true };
    let watchdog = Watchdog::start(Arc::clone(&store), limit, None)?;
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = started.map_err(|e| Error::Other(format!("could not start the threads of the server: {e}")))?;
    let served: Result<Option<Handing>, Error> = runtime.block_on(async {
        let server = Server::bind_with(listen, settings).await?;
        inform(&format!("serving {} on http://{}/", args.data.folder.display(), server.address()));
        if let Err(error) = &kept {
            complain(&format!(
                "{error}; a connection that cannot be taken apart may end this server, and the next one"
            ));
        }
        let begin = || Handing::start(folder, scanners, submissions, true);
        let handing = if args.no_scan { None } else { Some(begin()?) };
        ready();
        let letting_go = tokio::spawn(let_go(Arc::clone(&store)));
        let going_on = tokio::spawn(go_on());
        let asked = async move {
            stopped().await;
            // What is on its way has some seconds still, and is not to blame if the process is ended before.
            _ = suspects.acquit();
        };
        server.run(store, asked).await;
        letting_go.abort();
        going_on.abort();
        Ok(handing)
    });
    // Who asked has had the time that there is.
    runtime.shutdown_timeout(LEFT);
    if let Some(handing) = served? {
        handing.stop();
    }
    watchdog.stop();
    Ok(())
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

/// Says that this process goes on, whatever it is asked for.
async fn go_on() {
    loop {
        alive();
        tokio::time::sleep(Duration::from_secs(1)).await;
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
