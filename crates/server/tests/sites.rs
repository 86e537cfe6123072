//! Workspaces with one of everything in them, and what the store holds of each.

use crate::authorization::Things;
use crate::harness::{Engine, Key, World};
use serde_json::{Value, json};
use std::io::Write as _;
use stead_api::id::WorkspaceId;
use stead_server::http::routes::Route;
use stead_server::members::SeatType;
use stead_server::store::{Error, FromValue, Tx, Value as Stored};

/// Straight to standard error, because the test runner swallows what a passing test prints.
pub(crate) fn report(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A workspace, and who may do everything in it.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) admin: String,
    pub(crate) workspace: WorkspaceId,
    made: usize,
    /// Letters that begin every name made here.
    tag: &'static str,
}

impl Site {
    pub(crate) async fn new(world: &World, admin: &str, tag: &'static str) -> Self {
        let own = world.call_as(admin, "GET", "/v1/workspace", Value::Null).await.ok();
        let workspace = own["workspace_id"].as_str().unwrap().into();
        Self { admin: admin.to_owned(), workspace, made: 0, tag }
    }

    async fn make(&self, world: &World, path: &str, body: Value) -> Value {
        world.call_as(&self.admin, "POST", path, body).await.ok()
    }

    /// Adds a person with a key.
    pub(crate) async fn person(&self, world: &mut World, email: &str, seat: SeatType) -> (String, String) {
        let before = std::mem::replace(&mut world.workspace, self.workspace.clone());
        let (id, secret) = world.person(email, seat).await;
        world.workspace = before;
        (id.to_string(), secret)
    }

    /// An account with a key that may do nothing.
    pub(crate) async fn key(&self, world: &World, name: &str) -> Key {
        let made = self.make(world, "/v1/service-accounts", json!({ "name": name })).await;
        let account = made["service_account_id"].as_str().unwrap();
        let body = json!({"name": name, "permissions": [], "tts_concurrency_limit": 1000});
        Key::of(account, &self.make(world, &format!("/v1/service-accounts/{account}/api-keys"), body).await)
    }

    /// What is refused of a key, and so can be asked about.
    pub(crate) async fn decision(&self, world: &World, key: &Key) -> String {
        let ask = json!({"api_key": key.secret, "permissions": ["workspace_read"]});
        self.make(world, "/v1/api-keys/verify", ask).await["decision_id"].as_str().unwrap().to_owned()
    }

    async fn lease(&self, world: &World, key: &Key) -> String {
        let ask = json!({"api_key": key.secret, "concurrency": "tts", "lease_seconds": 3600});
        self.make(world, "/v1/api-keys/verify", ask).await["lease_id"].as_str().unwrap().to_owned()
    }

    /// New things: all of them, or those that a route is about.
    pub(crate) async fn things(&mut self, world: &mut World, route: Option<&Route>) -> Things {
        self.made += 1;
        let name = format!("{}{:06}", self.tag, self.made);
        let wanted = |part: &str| route.is_none_or(|route| route.path.contains(part));
        let is = |id: &str| route.is_none_or(|route| route.id == id);
        let mut things = Things { workspace: self.workspace.to_string(), ..Things::nothing() };
        let asks = wanted("verify") || wanted("{lease_id}") || wanted("{decision_id}");
        if asks || wanted("{service_account_user_id}") || wanted("{api_key_id}") || wanted("{user_id}") {
            things.key = self.key(world, &name).await;
            things.user.clone_from(&things.key.account);
        }
        if wanted("{group_id}") {
            let made = self.make(world, "/v1/workspace/groups", json!({ "name": name })).await;
            made["id"].as_str().unwrap().clone_into(&mut things.group);
        }
        if wanted("{resource_id}") {
            let voice = json!({"resource_type": "voice", "resource_id": name});
            self.make(world, "/v1/workspace/resources", voice).await;
            things.resource.clone_from(&name);
        }
        if wanted("{webhook_id}") {
            let settings = json!({"auth_type": "hmac", "name": name, "webhook_url": "https://example.com/"});
            let made = self.make(world, "/v1/workspace/webhooks", json!({ "settings": settings })).await;
            made["webhook_id"].as_str().unwrap().clone_into(&mut things.webhook);
            let test = format!("/v1/workspace/webhooks/{}/test", things.webhook);
            let tested = self.make(world, &test, Value::Null).await;
            tested["event_id"].as_str().unwrap().clone_into(&mut things.event);
        }
        if wanted("{decision_id}") {
            things.decision = self.decision(world, &things.key).await;
        }
        if wanted("{lease_id}") {
            things.lease = self.lease(world, &things.key).await;
        }
        if is("add_group_member") || is("remove_group_member") || is("update_member") || is("remove_member") {
            things.person = format!("{name}@example.com");
            things.email.clone_from(&things.person);
            self.person(world, &things.person, SeatType::WorkspaceLiteMember).await;
        }
        if is("delete_invite") {
            things.invited = format!("i{name}@example.com");
            self.make(world, "/v1/workspace/invites/add", json!({"email": things.invited})).await;
        }
        things
    }
}

/// A row's columns as texts.
struct Column(String);

impl FromValue for Column {
    fn from_value(value: &Stored) -> Option<Self> {
        Some(Self(match value {
            Stored::Text(text) => text.clone(),
            Stored::Bytes(bytes) => format!("bytes {bytes:02x?}"),
            other => format!("{other:?}"),
        }))
    }
}

/// Every row that the store holds of a workspace, or of all: the table's name, then the columns.
pub(crate) async fn rows(world: &World, engine: Engine, workspace: Option<&WorkspaceId>) -> Vec<Vec<String>> {
    let (tables, owned) = match engine {
        Engine::Sqlite => (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'workspace_id'",
        ),
        Engine::Postgres => (
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()",
            "SELECT CAST(table_name AS TEXT) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND CAST(column_name AS TEXT) = 'workspace_id'",
        ),
    };
    let workspace = workspace.map(ToString::to_string);
    let read = move |tx: &mut Tx<'_>| {
        let owned: Vec<String> = tx.all(owned, &[], |row| row.get(0))?;
        assert!(owned.len() > 15, "{owned:?}");
        let tables: Vec<String> = tx.all(tables, &[], |row| row.get(0))?;
        let mut all = Vec::new();
        for table in tables {
            let mut sql = format!("SELECT * FROM {table}");
            let mut args = Vec::new();
            if let Some(workspace) = &workspace {
                if table != "workspaces" && !owned.contains(&table) {
                    continue;
                }
                let column = if table == "workspaces" { "id" } else { "workspace_id" };
                sql.push_str(" WHERE ");
                sql.push_str(column);
                sql.push_str(" = $1");
                args.push(workspace.as_str().into());
            }
            let read = tx.all(sql.leak(), &args, |row| {
                let columns = (0..).map_while(|place| row.get::<Column>(place).ok()).map(|column| column.0);
                Ok(std::iter::once(table.clone()).chain(columns).collect::<Vec<_>>())
            })?;
            all.extend(read);
        }
        all.sort();
        Ok::<_, Error>(all)
    };
    world.app.store.read(read).await.unwrap()
}

/// Numbers that look random and are the same each time (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}
