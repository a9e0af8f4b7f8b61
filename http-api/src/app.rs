//! The routes, and what they share.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use streamdb_derive::Store;
use streamdb_query::Zone;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::answer::refuse;
use crate::{front, guard, hosts, streamdb};

/// How many requests may work on the store at the same time; others wait.
const AT_A_TIME: usize = 16;

/// What the routes share.
#[derive(Clone)]
pub struct App {
    store: Arc<Store>,
    listen: IpAddr,
    zone: Zone,
    turns: Arc<Semaphore>,
}

impl App {
    /// Over this store, for requests that come to this address.
    pub fn new(store: Arc<Store>, listen: IpAddr) -> Self {
        Self { store, listen, zone: Zone::UTC, turns: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// The zone in which dates are read and shown.
    pub(crate) const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(crate) const fn listen(&self) -> IpAddr {
        self.listen
    }

    /// Starts work on the store, on a thread where it may block, when it is its turn.
    pub(crate) async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> T + Send + 'static,
    ) -> Result<tokio::task::JoinHandle<T>, Response> {
        let turn: Result<OwnedSemaphorePermit, _> = Arc::clone(&self.turns).acquire_owned().await;
        let Ok(turn) = turn else {
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "The server is going down."));
        };
        let store = Arc::clone(&self.store);
        Ok(spawn_blocking(move || {
            let answer = work(&store);
            drop(turn);
            answer
        }))
    }
}

/// The routes. Only `GET` and `HEAD` are answered.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(front::front))
        .route("/style.css", get(front::style))
        .route("/streamdb", get(streamdb::answer))
        .route("/streamdb/", get(streamdb::answer))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "There is no such page here; / says what there is.") })
        .layer(from_fn_with_state(app.clone(), hosts::check))
        .layer(from_fn(guard::harmless))
        .with_state(app)
}
