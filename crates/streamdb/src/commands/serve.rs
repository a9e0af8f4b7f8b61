//! `streamdb serve`: streams and objects over HTTP.

use std::sync::Arc;

use streamdb_http_api::Server;
use streamdb_storage::Store;
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::cli::Serve;
use crate::config::Config;
use crate::output::complain;

pub(super) fn run(args: &Serve) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref())?;
    let listen = args.listen.unwrap_or(config.listen);
    let store = Arc::new(Store::open(&args.data.folder)?);
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = started.map_err(|e| Error::Other(format!("could not start the threads of the server: {e}")))?;
    runtime.block_on(async {
        let server = Server::bind_with(listen, config.http).await?;
        complain(&format!("serving {} on http://{}/", args.data.folder.display(), server.address()));
        server.run(store, stopped()).await?;
        Ok(())
    })
}

/// Ready when the process is asked to end.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
