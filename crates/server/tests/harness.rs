//! A server in a test: a database of its own, a clock that the test moves, and the real router.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_server::app::{self, App};
use stead_server::clock::{Clock, SystemEntropy};
use stead_server::config::Config;
use stead_server::error::Failure;
use stead_server::feed::mutation::{self, Made, Mutation};
use stead_server::http::Door;
use stead_server::http::actor::Peer;
use stead_server::http::router::router;
use stead_server::members::{self, Caller, SeatType};
use stead_server::store::{Location, Tx};
use stead_server::workspaces::{self, NewWorkspace};
use stead_server::{groups, keys};
use stead_verify::pepper::Ring;
use tempfile::TempDir;
use tower::ServiceExt;

/// Runs a test once on each store.
#[macro_export]
macro_rules! on_both_stores {
    ($($name:ident)*) => { $(
        mod $name {
            use $crate::harness::Engine;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name(Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$name(Engine::Postgres).await;
            }
        }
    )* };
}

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// When tests begin: 2026-11-22 12:00:00 UTC.
pub const START: Timestamp = Timestamp::from_seconds(1_795_348_800);
/// The operator's credential of every server in a test.
pub const OPERATOR: &str = "stead_operator_0123456789abcdefghijABCDEFGHIJ01234567";
/// A second of every day: what `now` is called in bodies.
pub const DAY: i64 = 86_400;

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicI64>, Arc<AtomicU64>);

impl ManualClock {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl ManualClock {
    /// Moves the time since the start, which the wall clock has nothing to do with.
    pub fn elapse(&self, seconds: u64) {
        self.1.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        // Each reading is a microsecond later, so that what is made later is older.
        Timestamp(self.0.fetch_add(1, Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.1.load(Ordering::SeqCst))
    }
}

/// A server and what is needed to talk to it.
pub struct World {
    pub app: Arc<App>,
    pub clock: ManualClock,
    /// The owner's key of the first workspace.
    pub admin: String,
    pub workspace: WorkspaceId,
    pub location: Location,
    router: Router,
    settings: Vec<(&'static str, String)>,
    dir: Arc<TempDir>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// The body of a success.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.body
    }

    /// The code of an error of shape A.
    pub fn code(&self) -> &str {
        self.body["detail"]["code"].as_str().unwrap_or_else(|| panic!("no code: {}", self.text))
    }

    /// Asserts an error of shape A.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.text);
    }

    /// The fields that an error of shape C blames, as `body.name`.
    pub fn blamed(&self) -> Vec<String> {
        assert_eq!(self.status.as_u16(), 422, "{}", self.text);
        let places = self.body["detail"].as_array().unwrap_or_else(|| panic!("not shape C: {}", self.text));
        let part = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
        places
            .iter()
            .map(|place| place["loc"].as_array().unwrap().iter().map(part).collect::<Vec<_>>().join("."))
            .collect()
    }
}

pub fn pepper() -> Ring {
    Ring::new([(1, [42; 32])]).unwrap()
}

impl World {
    pub async fn new(engine: Engine) -> Self {
        Self::with(engine, &[]).await
    }

    /// A server with settings.
    pub async fn with(engine: Engine, settings: &[(&'static str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let location = match engine {
            Engine::Sqlite => Location::Sqlite { file: dir.path().join("stead.db"), durable: true },
            Engine::Postgres => {
                let url = std::env::var("STEAD_TEST_POSTGRES");
                let url = url.expect("STEAD_TEST_POSTGRES is not set: run `cargo xtask test`, which starts PostgreSQL");
                let schema = format!("t{:016x}", RandomState::new().hash_one(dir.path()));
                Location::Postgres { url, schema: Some(schema) }
            }
        };
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::open(location, ManualClock(Arc::new(AtomicI64::new(START.0)), Arc::default()), settings, dir, pepper())
            .await
    }

    async fn open(
        location: Location,
        clock: ManualClock,
        settings: Vec<(&'static str, String)>,
        dir: Arc<TempDir>,
        ring: Ring,
    ) -> Self {
        let environment = settings.iter().cloned().collect::<HashMap<_, _>>();
        let mut config = Config::from_sources(&HashMap::new(), &environment, "").unwrap();
        config.database = location.clone();
        config.operator_api_key.get_or_insert_with(|| Secret::new(OPERATOR));
        let (app, first) = app::build(&config, ring, Box::new(clock.clone()), Box::new(SystemEntropy)).await.unwrap();
        let (admin, workspace) = match first {
            Some(first) => {
                (first.admin_api_key.map(|secret| secret.expose().to_owned()).unwrap_or_default(), first.workspace_id)
            }
            None => (String::new(), "".into()),
        };
        Self { router: router(app.clone(), Door::Public), app, clock, admin, workspace, location, settings, dir }
    }

    /// Another node on the same store, or (once this one is dropped, for SQLite) the same after a restart.
    pub async fn another(&self, ring: Ring) -> Self {
        let mut other =
            Self::open(self.location.clone(), self.clock.clone(), self.settings.clone(), self.dir.clone(), ring).await;
        other.admin.clone_from(&self.admin);
        other.workspace = self.workspace.clone();
        other
    }

    /// The same server after a restart; writes what was merged in memory first, as a clean stop does.
    pub async fn restarted(self, ring: Ring) -> Self {
        stead_server::verify::usage::close(&self.app).await.unwrap();
        self.killed(ring).await
    }

    /// The same server after it was killed in the middle.
    pub async fn killed(self, ring: Ring) -> Self {
        let (location, clock, settings, dir) =
            (self.location.clone(), self.clock.clone(), self.settings.clone(), self.dir.clone());
        let (admin, workspace) = (self.admin.clone(), self.workspace.clone());
        drop(self);
        let mut world = Self::open(location, clock, settings, dir, ring).await;
        (world.admin, world.workspace) = (admin, workspace);
        world
    }

    /// Why the server can't start again with these peppers.
    pub async fn fails_to_restart(self, ring: Ring) -> Failure {
        let mut config = Config::from_sources(&HashMap::new(), &HashMap::new(), "").unwrap();
        config.database = self.location.clone();
        let clock = Box::new(self.clock.clone());
        let dir = self.dir.clone();
        drop(self);
        let failed = app::build(&config, ring, clock, Box::new(SystemEntropy)).await.err().expect("it starts");
        drop(dir);
        failed
    }

    /// Sends a request to one of the listeners.
    pub async fn send_by(&self, door: Door, request: Request<Body>) -> Reply {
        let (public, other) = (self.router.clone(), router(self.app.clone(), door));
        Self::reply(if door == Door::Public { public } else { other }.oneshot(request).await.unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        self.send_by(Door::Public, request).await
    }

    async fn reply(response: Response) -> Reply {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            text,
        }
    }

    /// A request from an address, with a key (none if empty), headers and a body of whatever kind.
    pub fn request(
        method: &str,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("xi-api-key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer(Some(IpAddr::from([127, 0, 0, 1]))));
        request
    }

    /// A call with a key and, unless it is null, a JSON body.
    pub async fn call_as(&self, key: &str, method: &str, path: &str, body: Value) -> Reply {
        let json = [("content-type", "application/json")];
        let request = match body {
            Value::Null => Self::request(method, path, key, &[], Body::empty()),
            body => Self::request(method, path, key, &json, body.to_string()),
        };
        self.send(request).await
    }

    /// A call with the owner's key.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call_as(&self.admin, method, path, body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, Value::Null).await.ok()
    }

    /// Makes a service account and returns its id.
    pub async fn account(&self, name: &str) -> String {
        let made = self.call("POST", "/v1/service-accounts", json!({ "name": name })).await.ok();
        made["service_account_id"].as_str().unwrap().to_owned()
    }

    /// Makes a key.
    pub async fn key(&self, account: &str, body: Value) -> Key {
        let made = self.call("POST", &format!("/v1/service-accounts/{account}/api-keys"), body).await.ok();
        Key::of(account, &made)
    }

    /// Makes an account with one unrestricted key.
    pub async fn account_with_key(&self) -> Key {
        let account = self.account("ci").await;
        self.key(&account, json!({ "name": "deploy", "permissions": "all" })).await
    }

    /// Asks about a key.
    pub async fn verify_with(&self, mut ask: Value, secret: &str) -> Value {
        ask["api_key"] = secret.into();
        self.call("POST", "/v1/api-keys/verify", ask).await.ok()
    }

    /// The code of the decision about a key.
    pub async fn verify(&self, secret: &str) -> String {
        self.verify_with(json!({}), secret).await["code"].as_str().unwrap().to_owned()
    }

    /// Does something as the server itself.
    pub async fn as_system<T>(&self, work: impl Fn(&mut Mutation<'_, '_>) -> T + Send + 'static) -> T
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        let id = self.workspace.clone();
        let open = move |_: &App, tx: &mut Tx<'_>| workspaces::lock(tx, &id).map(Some);
        let operation = move |m: &mut Mutation<'_, '_>| Ok(Made::from(work(m)));
        mutation::write(&self.app, self.workspace.clone(), Caller::system(), None, open, operation)
            .await
            .unwrap()
            .unwrap()
            .value
    }

    /// Adds a person with a key; returns the person and the key's secret.
    pub async fn person(&self, email: &str, seat: SeatType) -> (PrincipalId, String) {
        let email = email.to_owned();
        self.as_system(move |m| {
            let id = members::add(m, &email, "", seat, false).unwrap();
            let secret = keys::create_for_owner(m, &id, None).unwrap().unwrap();
            (id, secret.expose().to_owned())
        })
        .await
    }

    /// Makes a group with members.
    pub async fn group(&self, permissions: &'static [&'static str], members: Vec<PrincipalId>) -> GroupId {
        self.as_system(move |m| {
            let group = groups::create(m, "a group", permissions).unwrap();
            for member in &members {
                groups::add_member(m, &group, member).unwrap();
            }
            group
        })
        .await
    }

    /// A second workspace's owner key.
    pub async fn foreign_admin(&self) -> String {
        let new = NewWorkspace {
            name: "theirs".into(),
            seats: 5,
            billing: (1, "UTC".into()),
            owner_email: "o@example.com".into(),
            admin_api_key: None,
        };
        let made = workspaces::create(&self.app, new, false).await.unwrap().unwrap();
        made.admin_api_key.unwrap().expose().to_owned()
    }

    /// Runs a statement behind the server's back.
    pub async fn tamper(&self, sql: &'static str) {
        let done = self.app.store.write(move |tx: &mut Tx<'_>| tx.run(sql, &[]).map(drop), |()| {}).await;
        assert!(matches!(done, stead_server::store::Written::Committed(())), "{done:?}");
    }

    /// How many rows a query counts.
    pub async fn count(&self, sql: &'static str) -> i64 {
        self.app.store.read(move |tx: &mut Tx<'_>| tx.one(sql, &[], |row| row.get(0))).await.unwrap()
    }
}

/// A key that a test made.
#[derive(Clone, Debug)]
pub struct Key {
    pub account: String,
    pub id: String,
    pub secret: String,
}

impl Key {
    pub fn of(account: &str, made: &Value) -> Self {
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {made}")).to_owned();
        Self { account: account.to_owned(), id: text("key_id"), secret: text("api_key") }
    }

    pub fn path(&self) -> String {
        format!("/v1/service-accounts/{}/api-keys/{}", self.account, self.id)
    }
}
