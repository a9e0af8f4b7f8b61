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
use streamdb_submit::Submissions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::answer::refuse;
use crate::auth::{self, Auth};
use crate::metrics::Requests;
use crate::settings::Settings;
use crate::{cors, front, guard, health, hosts, metrics, status, streamdb, submit, v1};

/// How many searches may work on the store at the same time; others wait.
const AT_A_TIME: usize = 16;
/// How many downloads may be under way. They have turns of their own: each lasts as long as its client takes, and no number
/// of slow ones keeps a search waiting.
const DOWNLOADS: usize = 128;
/// How many lists may be under way that are sent as rows are found. They take as long as their clients, and work as hard as
/// searches.
const LISTS: usize = 32;
/// How many may look at how it goes, which takes little; so no search keeps that waiting.
const GLANCES: usize = 4;

/// What the routes share.
#[derive(Clone)]
pub struct App {
    store: Arc<Store>,
    listen: IpAddr,
    settings: Arc<Settings>,
    auth: Arc<Auth>,
    turns: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    glances: Arc<Semaphore>,
    requests: Arc<Requests>,
}

impl App {
    /// Over this store, for requests that come to this address.
    pub fn new(store: Arc<Store>, listen: IpAddr) -> Self {
        Self {
            store,
            listen,
            settings: Arc::default(),
            auth: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            lists: Arc::new(Semaphore::new(LISTS)),
            glances: Arc::new(Semaphore::new(GLANCES)),
            requests: Arc::default(),
        }
    }

    /// The same with these settings.
    pub fn with(self, settings: Settings) -> Self {
        Self { settings: Arc::new(settings), ..self }
    }

    /// What the operator decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where objects are submitted, if anywhere.
    pub fn submissions(&self) -> Option<&Submissions> {
        self.settings.submissions.as_ref()
    }

    /// The zone in which dates are read and shown.
    pub(crate) fn zone(&self) -> &Zone {
        &self.settings.zone
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(crate) const fn listen(&self) -> IpAddr {
        self.listen
    }

    /// Starts work on the store, on a thread where it may block, when it is its turn.
    pub(crate) async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Response> {
        self.start_in(&self.turns, work).await
    }

    /// Starts a download likewise.
    pub(crate) async fn start_download(
        &self,
        work: impl FnOnce(&Arc<Store>) + Send + 'static,
    ) -> Result<JoinHandle<()>, Response> {
        self.start_in(&self.downloads, work).await
    }

    /// Starts a list likewise, whose rows are sent as they are found.
    pub(crate) async fn start_lines(
        &self,
        work: impl FnOnce(&Arc<Store>) + Send + 'static,
    ) -> Result<JoinHandle<()>, Response> {
        self.start_in(&self.lists, work).await
    }

    /// Starts a look at how it goes.
    pub(crate) async fn start_glance<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Response> {
        self.start_in(&self.glances, work).await
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    async fn start_in<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce(&Arc<Store>) -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Response> {
        let turn: Result<OwnedSemaphorePermit, _> = Arc::clone(turns).acquire_owned().await;
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

/// The routes. From the outside in, a request passes: the headers that every answer has, what errors look like, its host,
/// whether other origins may read, whether it may change anything (under `/api/v1` nothing can), and who asks.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(front::front))
        .route("/style.css", get(front::style))
        .route("/streamdb", get(streamdb::answer))
        .route("/streamdb/", get(streamdb::answer))
        .route("/metrics", get(metrics::answer))
        .route("/status", get(status::answer))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "There is no such page here; / says what there is.") })
        .merge(submit::routes())
        .layer(from_fn_with_state(app.clone(), auth::check))
        .merge(auth::routes())
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .layer(from_fn_with_state(app.clone(), auth::same_origin))
        .merge(v1::routes().layer(from_fn_with_state(app.clone(), auth::check)))
        .layer(from_fn_with_state(app.clone(), cors::check))
        .layer(from_fn_with_state(app.clone(), hosts::check))
        .layer(from_fn(v1::dress))
        .layer(from_fn(guard::harmless))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}
