//! The server beside a model of it: random walks over everything that gives and takes away, and every ordered pair of
//! causes for which a key is refused. After each step the decisions about a sample of keys, the lists and the answer of
//! the step itself must be those of [`reference`].
//!
//! `STEAD_MODEL` says how many walks of 100 steps (4), `STEAD_MODEL_SEED` with which to begin; `cargo xtask model` runs
//! more. A walk that differs is made shorter, as long as it differs, before it is told.

mod pairs;
mod reference;

use crate::dice::Dice;
use crate::harness::{DAY, Engine, OPERATOR, World, pepper};
use crate::on_both_stores;
use reference::{Ask, Grantee, Group, Model, Outcome, Principal, ROLES, Space, Why, month};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::{Duration, Instant};
use stead_server::clock::Clock;
use stead_server::feed::follow;
use stead_server::http::Door;
use stead_server::keys::idle;
use stead_server::verify::usage;
use tokio::sync::watch;

on_both_stores! {
    random_walks_go_as_the_model_says
}

const STEPS: usize = 100;
const PERMISSIONS: [&str; 3] = ["text_to_speech", "voices_read", "voices_write"];
const HERE: &str = "127.0.0.1";
const THERE: &str = "10.0.0.1";

/// What a walk is made of, each with how often it comes.
const KINDS: [(&str, usize); 46] = [
    ("create account", 4),
    ("create key", 8),
    ("set permissions", 3),
    ("set addresses", 3),
    ("set expiry", 3),
    ("clear expiry", 2),
    ("set credits", 3),
    ("disable key", 3),
    ("enable key", 4),
    ("revoke key", 1),
    ("rotate key", 4),
    ("retire key", 1),
    ("undo rotation", 3),
    ("disable account", 2),
    ("enable account", 3),
    ("delete account", 1),
    ("invite and accept", 2),
    ("mint key of one's own", 3),
    ("lock member", 2),
    ("unlock member", 2),
    ("remove member", 1),
    ("make member admin", 1),
    ("make admin member", 1),
    ("create group", 2),
    ("change group", 2),
    ("delete group", 1),
    ("join group", 5),
    ("leave group", 2),
    ("limit group", 2),
    ("register resource", 4),
    ("share resource", 6),
    ("unshare resource", 3),
    ("delete resource", 1),
    ("share by default", 2),
    ("limit member", 2),
    ("disable self", 2),
    ("third-party policy", 1),
    ("third-party word of key", 2),
    ("report exposed", 1),
    ("suspend workspace", 1),
    ("resume workspace", 3),
    ("idle keys", 2),
    ("retry", 2),
    ("charge", 8),
    ("clock", 6),
    ("restart", 1),
];

#[derive(Clone, Copy, Debug)]
struct Step {
    kind: usize,
    a: usize,
    b: usize,
    c: usize,
}

impl Step {
    fn roll(dice: &mut Dice) -> Self {
        let mut place = dice.roll(KINDS.iter().map(|(_, weight)| weight).sum());
        let kind = KINDS.iter().position(|(_, weight)| match place.checked_sub(*weight) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        });
        Self { kind: kind.unwrap(), a: dice.roll(1 << 16), b: dice.roll(1 << 16), c: dice.roll(1 << 16) }
    }
}

/// What differs, in words.
type Checked<T = ()> = Result<T, String>;

struct Walk {
    /// Two nodes on PostgreSQL.
    nodes: Vec<World>,
    engine: Engine,
    model: Model,
    hits: BTreeMap<&'static str, [u64; 2]>,
    log: Vec<String>,
    /// Ends the nodes' following of each other when it is dropped.
    following: Option<watch::Sender<bool>>,
    count: usize,
    questions: u64,
}

impl Walk {
    async fn begin(engine: Engine) -> Self {
        let nodes = vec![World::new(engine).await];
        let hits = KINDS.iter().map(|(name, _)| (*name, [0, 0])).collect();
        let mut walk = Self {
            nodes,
            following: None,
            engine,
            model: Model::default(),
            hits,
            log: Vec::new(),
            count: 0,
            questions: 0,
        };
        walk.pair_up().await;
        for space in 0..2 {
            let new = json!({"name": "w", "owner_email": format!("o{space}@example.com"), "seats": 1000});
            let made = walk.nodes[0].call_as(OPERATOR, "POST", "/v1/workspaces", new).await.ok();
            let text = |field: &str| made[field].as_str().unwrap().to_owned();
            let path = format!("/v1/workspaces/{}", text("workspace_id"));
            walk.model.spaces.push(Space { admin: text("api_key"), path, ..Space::default() });
            walk.model.groups.push(Group {
                id: "default".into(),
                space,
                is_default: true,
                is_gone: false,
                everything: false,
                manages: false,
                limit: None,
            });
        }
        walk
    }

    fn now(&self) -> i64 {
        self.nodes[0].clock.now().seconds()
    }

    fn number(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// A call that must be answered as the model says.
    async fn call(&mut self, key: &str, method: &str, path: &str, body: Value, wanted: Outcome) -> Checked<Value> {
        let reply = self.nodes[0].call_as(key, method, path, body.clone()).await;
        let got = match reply.status.as_u16() {
            200 => "ok",
            422 if reply.body["detail"].is_array() => "422",
            _ => reply.body["detail"]["code"].as_str().unwrap_or("no code"),
        };
        self.log.push(format!("{method} {path} {body} → {got}"));
        let wanted = wanted.err().unwrap_or("ok");
        if got == wanted {
            Ok(reply.body)
        } else {
            Err(format!("{method} {path} {body}: {got}, not {wanted}: {}", reply.text))
        }
    }

    /// The same by a workspace's owner, who is refused while it is suspended.
    async fn manage(
        &mut self,
        space: usize,
        method: &str,
        path: &str,
        body: Value,
        wanted: impl FnOnce(&mut Model) -> Outcome,
    ) -> Checked<Value> {
        let wanted = match self.model.open(space) {
            Ok(()) => wanted(&mut self.model),
            closed => closed,
        };
        let admin = self.model.spaces[space].admin.clone();
        self.call(&admin, method, path, body, wanted).await
    }

    /// A call about a key, by whoever manages it.
    async fn on_key(
        &mut self,
        key: usize,
        method: &str,
        tail: &str,
        body: Value,
        wanted: impl FnOnce(&mut Model, i64) -> Outcome,
    ) -> Checked<Option<Value>> {
        let (now, owner) = (self.now(), self.model.keys[key].owner);
        let (caller, may) = self.model.managing(owner, now);
        let wanted = may.and_then(|()| wanted(&mut self.model, now));
        let path = format!(
            "/v1/service-accounts/{}/api-keys/{}{tail}",
            self.model.principals[owner].id, self.model.keys[key].id
        );
        self.call(&caller, method, &path, body, wanted).await.map(|body| wanted.ok().map(|()| body))
    }

    async fn create_account(&mut self, space: usize) -> Checked<Option<usize>> {
        let wanted = self.model.open(space).and(self.model.may_have_account(space));
        let name = json!({"name": format!("account {}", self.number())});
        let made =
            self.manage(space, "POST", "/v1/service-accounts", name, |model| model.may_have_account(space)).await?;
        if wanted.is_err() {
            return Ok(None);
        }
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        let (id, email) = (text("service_account_id"), text("email"));
        self.model.principals.push(Principal { id, email, space, ..Principal::default() });
        Ok(Some(self.model.principals.len() - 1))
    }

    /// A key without any bound; of a person, by their first one.
    async fn create_key(&mut self, owner: usize) -> Checked<Option<usize>> {
        let now = self.now();
        let (caller, may) = self.model.managing(owner, now);
        let wanted = may.and(self.model.may_have_key(owner));
        let path = format!("/v1/service-accounts/{}/api-keys", self.model.principals[owner].id);
        let made = self.call(&caller, "POST", &path, json!({"name": "k", "permissions": "all"}), wanted).await?;
        Ok(wanted.ok().map(|()| {
            let text = |field: &str| made[field].as_str().unwrap().to_owned();
            self.model.new_key(owner, text("key_id"), text("api_key"), now)
        }))
    }

    async fn invite(&mut self, space: usize, is_admin: bool) -> Checked<Option<usize>> {
        let wanted = self.model.open(space);
        let email = format!("p{}@example.com", self.number());
        let seat = if is_admin { "workspace_admin" } else { "workspace_member" };
        let invite = json!({"email": email, "seat_type": seat});
        let made = self.manage(space, "POST", "/v1/workspace/invites/add", invite, |_| Ok(())).await?;
        if wanted.is_err() {
            return Ok(None);
        }
        let token = made["invite_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let now = self.now();
        let joined = self.call("", "POST", "/v1/workspace/invites/accept", json!({ "token": token }), Ok(())).await?;
        let text = |field: &str| joined[field].as_str().unwrap().to_owned();
        let person = self.model.principals.len();
        self.model.principals.push(Principal {
            id: text("user_id"),
            email,
            space,
            is_person: true,
            is_admin,
            ..Principal::default()
        });
        let key = self.model.new_key(person, text("key_id"), text("api_key"), now);
        self.model.principals[person].first_key = Some(key);
        Ok(Some(person))
    }

    async fn create_group(&mut self, space: usize, everything: bool, manages: bool) -> Checked<Option<usize>> {
        let wanted = self.model.open(space);
        let body = json!({"name": format!("group {}", self.number()), "permissions": gives(everything, manages)});
        let made = self.manage(space, "POST", "/v1/workspace/groups", body, |_| Ok(())).await?;
        Ok(wanted.ok().map(|()| {
            let id = made["id"].as_str().unwrap().to_owned();
            self.model.groups.push(Group {
                id,
                space,
                is_default: false,
                is_gone: false,
                everything,
                manages,
                limit: None,
            });
            self.model.groups.len() - 1
        }))
    }

    async fn register(&mut self, space: usize, id: String, creator: Option<usize>) -> Checked<Option<usize>> {
        let creator_id = creator.map(|creator| self.model.principals[creator].id.clone());
        let body = json!({"resource_type": "voice", "resource_id": id, "creator_user_id": creator_id});
        let is_taken = |model: &Model| match creator {
            Some(creator) => model.may_register(space, &id, creator),
            None => Ok(()),
        };
        let wanted = self.model.open(space).and(is_taken(&self.model));
        self.manage(space, "POST", "/v1/workspace/resources", body, |model| is_taken(model)).await?;
        Ok(wanted.ok().and(creator).map(|creator| self.model.register(space, id, creator)))
    }

    async fn share(&mut self, thing: usize, with: Grantee, role: Option<usize>) -> Checked<Value> {
        let path = format!(
            "/v1/workspace/resources/{}/{}",
            self.model.things[thing].id,
            if role.is_some() { "share" } else { "unshare" }
        );
        let mut body = json!({"resource_type": "voice"});
        if let Some(role) = role {
            body["role"] = ROLES[role].into();
        }
        match with {
            Grantee::Principal(principal) => body["user_email"] = self.model.principals[principal].email.clone().into(),
            Grantee::Group(group) => body["group_id"] = self.model.groups[group].id.clone().into(),
        }
        self.manage(self.model.things[thing].space, "POST", &path, body, |model| model.share(thing, with, role)).await
    }

    async fn join(&mut self, group: usize, principal: usize, joins: bool) -> Checked<Value> {
        let tail = if joins { "" } else { "/remove" };
        let path = format!("/v1/workspace/groups/{}/members{tail}", self.model.groups[group].id);
        let body = json!({"email": self.model.principals[principal].email});
        self.manage(self.model.groups[group].space, "POST", &path, body, |model| model.join(group, principal, joins))
            .await
    }

    async fn stop(&mut self, principal: usize, stops: bool) -> Checked<Value> {
        let Principal { id, email, space, is_person, .. } = self.model.principals[principal].clone();
        if is_person {
            let body = json!({"email": email, "is_locked": stops});
            return self
                .manage(space, "POST", "/v1/workspace/members", body, |model| model.lock(principal, stops))
                .await;
        }
        let path = format!("/v1/service-accounts/{id}");
        self.manage(space, "PATCH", &path, json!({"is_enabled": !stops}), |model| model.stop_account(principal, stops))
            .await
    }

    async fn end(&mut self, principal: usize) -> Checked<Value> {
        let Principal { id, email, space, is_person, .. } = self.model.principals[principal].clone();
        let (path, body) = if is_person {
            ("/v1/workspace/members".into(), json!({ "email": email }))
        } else {
            (format!("/v1/service-accounts/{id}"), Value::Null)
        };
        self.manage(space, "DELETE", &path, body, |model| model.end(principal)).await
    }

    async fn suspend(&mut self, space: usize, suspends: bool) -> Checked<Value> {
        let path = self.model.spaces[space].path.clone();
        self.model.spaces[space].is_suspended = suspends;
        self.call(OPERATOR, "PATCH", &path, json!({ "is_disabled": suspends }), Ok(())).await
    }

    async fn set_permissions(&mut self, key: usize, to: Option<BTreeSet<&'static str>>) -> Checked {
        let body = json!({"permissions": to.as_ref().map_or(json!("all"), |names| json!(names))});
        let change = |model: &mut Model, _| model.live_key(key).map(|()| model.keys[key].permissions = to);
        self.on_key(key, "PATCH", "", body, change).await.map(drop)
    }

    async fn set_addresses(&mut self, key: usize, to: Option<BTreeSet<&'static str>>) -> Checked {
        let body = json!({"allowed_ips": to.as_ref().map_or(json!("clear"), |all| json!(all))});
        let change = |model: &mut Model, _| model.live_key(key).map(|()| model.keys[key].addresses = to);
        self.on_key(key, "PATCH", "", body, change).await.map(drop)
    }

    async fn set_expiry(&mut self, key: usize, to: Option<i64>) -> Checked {
        let body = json!({"expires_at": to.map_or(json!("clear"), Value::from)});
        self.on_key(key, "PATCH", "", body, |model, _| model.set_expiry(key, to)).await.map(drop)
    }

    async fn enable(&mut self, key: usize) -> Checked {
        let owner = &self.model.principals[self.model.keys[key].owner];
        let is_admin = !owner.is_person || owner.is_admin;
        self.on_key(key, "PATCH", "", json!({"is_enabled": true}), |model, now| model.enable(key, now, is_admin))
            .await
            .map(drop)
    }

    async fn rotate(&mut self, key: usize, grace: i64) -> Checked {
        let body = json!({"grace_period_seconds": grace});
        let now = self.now();
        let made = self.on_key(key, "POST", "/rotate", body, |model, now| model.may_rotate(key, now)).await?;
        if let Some(made) = made {
            let text = |field: &str| made[field].as_str().unwrap().to_owned();
            self.model.rotated(key, text("key_id"), text("api_key"), now, grace);
        }
        Ok(())
    }

    async fn disable_self(&mut self, key: usize) -> Checked {
        let (secret, wanted) =
            (self.model.keys[key].secret.clone(), self.model.disable_self(key, self.nodes[0].clock.now().seconds()));
        self.call(&secret, "POST", "/v1/workspaces/api-keys/disable?api_key_name=self", Value::Null, wanted)
            .await
            .map(drop)
    }

    async fn report(&mut self, key: usize) -> Checked {
        let (secret, now) = (self.model.keys[key].secret.clone(), self.now());
        self.model.report(key, now);
        self.call("", "POST", "/v1/api-keys/report", json!({ "api_key": secret }), Ok(())).await.map(drop)
    }

    async fn idle_days(&mut self, space: usize, days: Option<i64>) -> Checked {
        let body = json!({"policies": {"disable_idle_after_days": days.map_or(json!("clear"), Value::from)}});
        let change = |model: &mut Model| {
            model.spaces[space].idle_days = days;
            Ok(())
        };
        self.manage(space, "PATCH", "/v1/workspace", body, change).await.map(drop)
    }

    async fn run_idle(&mut self) -> Checked {
        for node in &self.nodes {
            usage::flush_uses(&node.app, true).await.map_err(|failure| format!("{failure:?}"))?;
        }
        idle::disable_idle(&self.nodes[0].app).await.map_err(|failure| format!("{failure:?}"))?;
        let now = self.now();
        self.model.idle(now);
        self.log.push("idle keys are disabled".into());
        Ok(())
    }

    /// Asks about a key what costs credits.
    async fn charge(&mut self, key: usize, cost: i64) -> Checked {
        let now = self.now();
        let ask = Ask { address: Some(HERE), cost, ..Ask::default() };
        let wanted = self.model.decide(key, &ask, now);
        let got = self.ask(0, &[(key, ask)]).await?.remove(0);
        self.log.push(format!("key {key} is charged {cost} → {got}"));
        self.model.answered(key, &ask, &got, now);
        if wanted.contains(&got.as_str()) {
            Ok(())
        } else {
            Err(format!("key {key} charged {cost}: {got}, not {wanted:?}"))
        }
    }

    /// What a node answers to questions about keys of whatever workspace.
    async fn ask(&mut self, node: usize, asks: &[(usize, Ask)]) -> Checked<Vec<String>> {
        let request = |(key, ask): &(usize, Ask)| {
            let key = &self.model.keys[*key];
            let mut body = json!({"api_key": key.secret, "ip": ask.address, "cost": ask.cost});
            if let Some(permission) = ask.permission {
                body["permissions"] = json!([permission]);
            }
            if let Some((thing, role)) = ask.thing {
                body["resource"] =
                    json!({"resource_type": "voice", "resource_id": self.model.things[thing].id, "role": ROLES[role]});
            }
            body
        };
        let body = json!({"requests": asks.iter().map(request).collect::<Vec<_>>()}).to_string();
        let request =
            World::request("POST", "/v1/api-keys/verify-batch", "", &[("content-type", "application/json")], body);
        let reply = self.nodes[node].send_by(Door::Verification, request).await;
        self.questions += asks.len() as u64;
        let results = reply.body["results"].as_array().ok_or_else(|| reply.text.clone())?;
        Ok(results.iter().map(|told| told["code"].as_str().unwrap_or("none").to_owned()).collect())
    }

    /// The questions about a key that find every dimension out.
    fn questions(&self, key: usize, seed: usize) -> Vec<Ask> {
        let bare = Ask { address: Some(HERE), ..Ask::default() };
        let mut asks = vec![Ask::default(), bare, Ask { address: Some(THERE), ..bare }];
        asks.extend(PERMISSIONS.map(|permission| Ask { permission: Some(permission), ..bare }));
        let all = &self.model.things;
        let things = (0..all.len()).filter(|thing| all[*thing].space == self.model.keys[key].space);
        asks.extend(things.rev().take(4).map(|thing| Ask { thing: Some((thing, (thing + seed) % 4)), ..bare }));
        asks
    }

    /// Whether every node decides as the model does.
    async fn check(&mut self, keys: &[usize], seed: usize) -> Checked {
        let asks: Vec<_> =
            keys.iter().flat_map(|key| self.questions(*key, seed).into_iter().map(|ask| (*key, ask))).collect();
        if asks.is_empty() {
            return Ok(());
        }
        for node in 0..self.nodes.len() {
            let began = Instant::now();
            loop {
                match self.check_node(node, &asks).await {
                    // Another node hears of it a little later.
                    Err(_) if node > 0 && began.elapsed() < Duration::from_secs(10) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    done => break done?,
                }
            }
        }
        Ok(())
    }

    async fn check_node(&mut self, node: usize, asks: &[(usize, Ask)]) -> Checked {
        let now = self.now();
        let answers = self.ask(node, asks).await?;
        for ((key, ask), got) in asks.iter().zip(answers) {
            let wanted = self.model.decide(*key, ask, now);
            self.model.answered(*key, ask, &got, now);
            if !wanted.contains(&got.as_str()) {
                let whose = &self.model.principals[self.model.keys[*key].owner];
                let key_of = &self.model.keys[*key];
                return Err(format!(
                    "node {node} about key {key}, {ask:?}: {got}, not {wanted:?}\n{key_of:?}\n{whose:?}"
                ));
            }
        }
        Ok(())
    }

    /// Whether one of the lists is as the model has it.
    async fn check_lists(&mut self, which: usize) -> Checked {
        let space = which % 2;
        let owner = self
            .model
            .principals
            .iter()
            .rposition(|all| all.space == space && !all.is_gone && all.id.len() > which % 3);
        let wanted_or_closed = self.model.open(space);
        let is_open = wanted_or_closed.is_ok();
        let differs = |what: &str, got: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            Err(format!("{what}: {got:?}, not {wanted:?}"))
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match which / 2 % 5 {
            0 => {
                let got = self.manage(space, "GET", "/v1/service-accounts", Value::Null, |_| Ok(())).await?;
                let got: Vec<_> = got["service-accounts"].as_array().map_or(Vec::new(), |all| {
                    all.iter().map(|one| (text(&one["service_account_user_id"]), one["is_disabled"] == true)).collect()
                });
                let wanted = self.model.accounts(space);
                if is_open && got != wanted { differs("accounts", &got, &wanted) } else { Ok(()) }
            }
            1 | 2 => {
                let Some(owner) = owner.filter(|owner| !self.model.principals[*owner].is_person) else { return Ok(()) };
                let path = format!("/v1/service-accounts/{}/api-keys", self.model.principals[owner].id);
                let got = self.manage(space, "GET", &path, Value::Null, |_| Ok(())).await?;
                let got: Vec<_> = got["api_keys"].as_array().map_or(Vec::new(), |all| {
                    all.iter().map(|one| (text(&one["key_id"]), one["is_disabled"] == true)).collect()
                });
                let wanted = self.model.keys_of(owner);
                if is_open && got != wanted { differs("keys", &got, &wanted) } else { Ok(()) }
            }
            3 => {
                let got = self.manage(space, "GET", "/v1/workspace/groups", Value::Null, |_| Ok(())).await?;
                let all = self
                    .model
                    .groups
                    .iter()
                    .enumerate()
                    .filter(|(_, group)| group.space == space && !group.is_gone && !group.is_default);
                let members = |group| {
                    let all =
                        self.model.principals.iter().filter(move |one| !one.is_gone && one.groups.contains(&group));
                    all.map(|one| one.id.clone()).collect::<BTreeSet<_>>()
                };
                let wanted: BTreeMap<_, _> = all.map(|(place, group)| (group.id.clone(), members(place))).collect();
                let got: BTreeMap<_, _> = got.as_object().map_or(BTreeMap::new(), |all| {
                    let members =
                        |one: &Value| one["members"].as_array().unwrap_or(&Vec::new()).iter().map(text).collect();
                    all.iter().filter(|(id, _)| *id != "default").map(|(id, one)| (id.clone(), members(one))).collect()
                });
                if is_open && got != wanted { differs("groups", &got, &wanted) } else { Ok(()) }
            }
            _ => {
                let Some(owner) = owner else { return Ok(()) };
                let path = format!("/v1/workspace/members/{}/access?limit=200", self.model.principals[owner].id);
                let got = self.manage(space, "GET", &path, Value::Null, |_| Ok(())).await?;
                let got: BTreeMap<_, _> = got["resources"].as_array().map_or(BTreeMap::new(), |all| {
                    all.iter().map(|one| (text(&one["resource_id"]), text(&one["role"]))).collect()
                });
                let mut wanted = self.model.touchable(owner);
                wanted.retain(|_, _| is_open);
                if is_open && got != wanted { differs("what can be touched", &got, &wanted) } else { Ok(()) }
            }
        }
    }

    async fn restart(&mut self, kills: bool) -> Checked {
        if kills {
            // What was used is told within seconds; what is leased stays open.
            for node in &self.nodes {
                usage::flush_uses(&node.app, true).await.map_err(|failure| format!("{failure:?}"))?;
            }
            self.model.killed();
        }
        if let Some(following) = self.following.take() {
            following.send(true).ok();
        }
        self.nodes.truncate(1);
        let world = self.nodes.pop().unwrap();
        let world = if kills { world.killed(pepper()).await } else { world.restarted(pepper()).await };
        self.log.push(if kills { "killed" } else { "restarted" }.into());
        self.nodes.push(world);
        self.pair_up().await;
        Ok(())
    }

    /// On PostgreSQL, a second node; each follows the other.
    async fn pair_up(&mut self) {
        if self.engine == Engine::Sqlite {
            return;
        }
        let second = self.nodes[0].another(pepper()).await;
        self.nodes.push(second);
        let (stop, stopped) = watch::channel(false);
        for node in &self.nodes {
            tokio::spawn(follow::follow(node.app.clone(), stopped.clone()));
        }
        self.following = Some(stop);
    }

    /// A step of a walk. What it is about is chosen among what there is; without anything nothing happens.
    async fn apply(&mut self, step: Step) -> Checked {
        let Step { kind, a, b, c } = step;
        let name = KINDS[kind].0;
        let space = usize::from(a % 5 == 0);
        let key = pick(self.model.keys.iter().enumerate().map(|(place, _)| place).rev().take(12), b);
        let bounded = key.filter(|key| !self.model.principals.iter().any(|all| all.first_key == Some(*key)));
        let of = |keep: &dyn Fn(&Principal) -> bool, n: usize| {
            pick((0..self.model.principals.len()).filter(|all| keep(&self.model.principals[*all])).rev().take(6), n)
        };
        let (account, person) = (of(&|all| !all.is_person, b), of(&|all| all.is_person, b));
        let anybody = of(&|all| all.space == space, b);
        let group = pick(
            (0..self.model.groups.len()).filter(|group| self.model.groups[*group].space == space).rev().take(5),
            c,
        );
        let thing = pick(
            (0..self.model.things.len()).filter(|thing| self.model.things[*thing].space == space).rev().take(5),
            a / 5,
        );
        let with = match c % 3 {
            0 => group.map(Grantee::Group),
            _ => anybody.map(Grantee::Principal),
        };
        let now = self.now();
        let before = self.log.len();
        match name {
            "create account" => drop(self.create_account(space).await?),
            "create key" => {
                if let Some(account) = account {
                    self.create_key(account).await?;
                }
            }
            "mint key of one's own" => {
                if let Some(person) = person {
                    self.create_key(person).await?;
                }
            }
            "set permissions" => {
                if let Some(key) = bounded {
                    let some = PERMISSIONS.into_iter().enumerate().filter(|(place, _)| c >> place & 1 == 1);
                    let some = (c % 16 < 14).then(|| some.map(|(_, name)| name).collect());
                    self.set_permissions(key, some).await?;
                }
            }
            "set addresses" => {
                if let Some(key) = bounded {
                    let some = [None, Some([HERE].into()), Some([THERE].into()), Some([HERE, THERE].into())];
                    self.set_addresses(key, some[c % 4].clone()).await?;
                }
            }
            "set expiry" => {
                if let Some(key) = bounded {
                    self.set_expiry(key, Some(now - now % 600 + 900 + 600 * (c % 20) as i64)).await?;
                }
            }
            "clear expiry" => {
                if let Some(key) = bounded {
                    self.set_expiry(key, None).await?;
                }
            }
            "set credits" => {
                if let Some(key) = bounded {
                    let to = [None, Some(0), Some(20), Some(40)][c % 4];
                    let body = json!({"character_limit": to.map_or(json!("clear"), Value::from)});
                    let change = |model: &mut Model, _| model.live_key(key).map(|()| model.keys[key].cap = to);
                    self.on_key(key, "PATCH", "", body, change).await?;
                }
            }
            "disable key" => {
                if let Some(key) = key {
                    self.on_key(key, "POST", "/disable", Value::Null, |model, _| model.disable(key, Why::Admin))
                        .await?;
                }
            }
            "enable key" => {
                if let Some(key) = key {
                    self.enable(key).await?;
                }
            }
            "revoke key" => {
                if let Some(key) = bounded {
                    self.on_key(key, "DELETE", "", Value::Null, |model, _| model.revoke(key)).await?;
                }
            }
            "rotate key" | "retire key" => {
                if let Some(key) = bounded {
                    self.rotate(key, if name == "retire key" { 0 } else { [900, 87_300][c % 2] }).await?;
                }
            }
            "undo rotation" => {
                if let Some(key) = key {
                    self.on_key(key, "POST", "/rotate/undo", Value::Null, |model, now| model.undo(key, now)).await?;
                }
            }
            "disable account" | "enable account" => {
                if let Some(account) = account {
                    self.stop(account, name == "disable account").await?;
                }
            }
            "delete account" => {
                if let Some(account) = account {
                    self.end(account).await?;
                }
            }
            "invite and accept" => drop(self.invite(space, c % 4 == 0).await?),
            "lock member" | "unlock member" => {
                if let Some(person) = person {
                    self.stop(person, name == "lock member").await?;
                }
            }
            "remove member" => {
                if let Some(person) = person {
                    self.end(person).await?;
                }
            }
            "make member admin" | "make admin member" => {
                if let Some(person) = person {
                    let is_admin = name == "make member admin";
                    let Principal { email, space, .. } = self.model.principals[person].clone();
                    let seat = if is_admin { "workspace_admin" } else { "workspace_member" };
                    let body = json!({"email": email, "workspace_seat_type": seat});
                    self.manage(space, "POST", "/v1/workspace/members", body, |model| model.seat(person, is_admin))
                        .await?;
                }
            }
            "create group" => drop(self.create_group(space, c % 4 == 0, c % 3 == 0).await?),
            "change group" => {
                if let Some(group) = group {
                    let (everything, manages) = (c % 5 == 0, c % 2 == 0);
                    let path = format!("/v1/workspace/groups/{}", self.model.groups[group].id);
                    let change = |model: &mut Model| {
                        model.live_group(group)?;
                        (model.groups[group].everything, model.groups[group].manages) = (everything, manages);
                        Ok(())
                    };
                    self.manage(space, "PATCH", &path, json!({"permissions": gives(everything, manages)}), change)
                        .await?;
                }
            }
            "delete group" => {
                if let Some(group) = group {
                    let path = format!("/v1/workspace/groups/{}", self.model.groups[group].id);
                    self.manage(space, "DELETE", &path, Value::Null, |model| model.delete_group(group)).await?;
                }
            }
            "join group" | "leave group" => {
                if let (Some(group), Some(principal)) = (group, anybody) {
                    self.join(group, principal, name == "join group").await?;
                }
            }
            "limit group" => {
                if let Some(group) = group {
                    let limit = [None, Some(0), Some(1_000_000_000)][b % 3];
                    let path = format!("/v1/workspace/groups/{}", self.model.groups[group].id);
                    let body = json!({"group_usage_limit": limit.map_or(json!("unlimited"), Value::from)});
                    let change =
                        |model: &mut Model| model.live_group(group).map(|()| model.groups[group].limit = limit);
                    self.manage(space, "PATCH", &path, body, change).await?;
                }
            }
            "register resource" => {
                // Now and then an id that is taken, or was.
                let id = if c % 3 == 0 { thing.map(|thing| self.model.things[thing].id.clone()) } else { None };
                let id = id.unwrap_or_else(|| format!("r{}", self.number()));
                if let Some(creator) = anybody {
                    self.register(space, id, Some(creator)).await?;
                }
            }
            "share resource" | "unshare resource" => {
                if let (Some(thing), Some(with)) = (thing, with) {
                    self.share(thing, with, (name == "share resource").then_some(c % 4)).await?;
                }
            }
            "delete resource" => {
                if let Some(thing) = thing {
                    let path = format!("/v1/workspace/resources/{}?resource_type=voice", self.model.things[thing].id);
                    self.manage(space, "DELETE", &path, Value::Null, |model| model.delete_thing(thing)).await?;
                }
            }
            "share by default" => {
                if let (Some(account), Some(group)) = (account, group)
                    && self.model.principals[account].space == space
                {
                    let with = [(group, [0, 2, 3][b % 3])];
                    let body = json!({"default_sharing_groups": [{"group_id": self.model.groups[group].id, "permission_level": ROLES[with[0].1]}]});
                    let path = format!("/v1/service-accounts/{}", self.model.principals[account].id);
                    self.manage(space, "PATCH", &path, body, |model| model.share_by_default(account, &with)).await?;
                }
            }
            "limit member" => {
                if let Some(principal) = anybody {
                    let limit = [None, Some(0), Some(1_000_000_000)][c % 3];
                    let path = format!("/v1/workspace/members/{}/usage-limit", self.model.principals[principal].id);
                    self.manage(space, "PUT", &path, json!({ "usage_limit": limit }), |model| {
                        model.limit(principal, limit)
                    })
                    .await?;
                }
            }
            "disable self" => {
                if let Some(key) = key {
                    self.disable_self(key).await?;
                }
            }
            "third-party policy" => {
                let word = [None, Some(true), Some(false)][c % 3];
                let body = json!({"third_party_disable_allowed": word});
                let change = |model: &mut Model| {
                    model.spaces[space].by_holder = word;
                    Ok(())
                };
                self.manage(space, "POST", "/v1/workspaces/api-keys/third-party-disabling", body, change).await?;
            }
            "third-party word of key" => {
                if let Some(key) = key {
                    let word = [None, Some(true), Some(false)][c % 3];
                    let body = json!({"third_party_disable_allowed": word.map_or(json!("clear"), Value::from)});
                    let change = |model: &mut Model, _| model.live_key(key).map(|()| model.keys[key].by_holder = word);
                    self.on_key(key, "PATCH", "", body, change).await?;
                }
            }
            "report exposed" => {
                if let Some(key) = bounded {
                    self.report(key).await?;
                }
            }
            "suspend workspace" | "resume workspace" => drop(self.suspend(space, name == "suspend workspace").await?),
            "idle keys" => {
                self.idle_days(space, [None, Some(1), Some(3)][c % 3]).await?;
                self.run_idle().await?;
            }
            "retry" => self.retry(space).await?,
            "charge" => {
                if let Some(key) = key {
                    self.charge(key, [1, 7, 15][c % 3]).await?;
                }
            }
            "clock" => {
                let seconds = match c % 12 {
                    0 => 31 * DAY,
                    1 | 2 => 2 * DAY,
                    // Back, as a clock is set; not into another month.
                    3 | 4 if month(now - 1200) == month(now) => -1200,
                    more => 600 * more as i64,
                };
                self.nodes[0].clock.advance(seconds);
                self.log.push(format!("the clock goes on by {seconds} s"));
            }
            _ => self.restart(c % 2 == 0).await?,
        }
        if let Some(new) = self.log.get(before..).and_then(<[String]>::last) {
            let counts = self.hits.get_mut(name).unwrap();
            counts[usize::from(!new.ends_with("→ ok") && new.contains("/v1/"))] += 1;
        }
        let sample: Vec<_> = (0..self.model.keys.len()).rev().take(6).chain(key).collect();
        self.check(&sample, c).await?;
        self.check_lists(b).await
    }

    /// The same call twice makes one thing; the second answer tells the first outcome.
    async fn retry(&mut self, space: usize) -> Checked {
        if self.model.open(space).is_err() || self.model.may_have_account(space).is_err() {
            return Ok(());
        }
        let number = self.number();
        let retry = format!("retry-{number}");
        let headers = [("content-type", "application/json"), ("idempotency-key", retry.as_str())];
        let admin = self.model.spaces[space].admin.clone();
        let again =
            || World::request("POST", "/v1/service-accounts", &admin, &headers, json!({"name": "retried"}).to_string());
        let (first, second) = (self.nodes[0].send(again()).await, self.nodes.last().unwrap().send(again()).await);
        self.log.push(format!("an account made twice with {retry}"));
        if first.status != 200 || first.body != second.body {
            return Err(format!("a retry: {}, then {}", first.text, second.text));
        }
        let text = |field: &str| first.body[field].as_str().unwrap().to_owned();
        let (id, email) = (text("service_account_id"), text("email"));
        self.model.principals.push(Principal { id, email, space, ..Principal::default() });
        Ok(())
    }
}

fn gives(everything: bool, manages: bool) -> Value {
    let all = [(everything, "all_resources_access"), (manages, "service_accounts_manage")];
    all.into_iter().filter(|(gives, _)| *gives).map(|(_, name)| name).collect()
}

fn pick(of: impl Iterator<Item = usize>, n: usize) -> Option<usize> {
    let all: Vec<_> = of.collect();
    (!all.is_empty()).then(|| all[n % all.len()])
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("must be a whole number"))
}

/// Walks the steps; the walk, or where it differed and how.
async fn walk(engine: Engine, steps: &[Step]) -> Result<Walk, (usize, String)> {
    let mut walk = Walk::begin(engine).await;
    for (place, step) in steps.iter().enumerate() {
        if let Err(differs) = walk.apply(*step).await {
            let last = walk.log.iter().rev().take(60).rev().cloned().collect::<Vec<_>>().join("\n");
            return Err((place, format!("{last}\n{differs}")));
        }
    }
    Ok(walk)
}

/// Drops steps as long as what is left differs from the model, in halves, quarters and so on.
async fn shortened(engine: Engine, mut steps: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            match walk(engine, &fewer).await {
                Err((place, differs)) => {
                    fewer.truncate(place + 1);
                    (steps, why) = (fewer, differs);
                }
                Ok(_) => from += size,
            }
        }
        size /= 2;
    }
    (steps, why)
}

async fn random_walks_go_as_the_model_says(engine: Engine) {
    let (walks, seed) = (number("STEAD_MODEL", 4), number("STEAD_MODEL_SEED", 0));
    let (mut hits, mut questions): (BTreeMap<&str, [u64; 2]>, u64) = (BTreeMap::new(), 0);
    for n in seed..seed + walks {
        let mut dice = Dice(n);
        let steps: Vec<_> = (0..STEPS).map(|_| Step::roll(&mut dice)).collect();
        match walk(engine, &steps).await {
            Ok(done) => {
                questions += done.questions;
                for (name, [ok, refused]) in done.hits {
                    let all = hits.entry(name).or_default();
                    *all = [all[0] + ok, all[1] + refused];
                }
            }
            Err((place, why)) => {
                let (steps, why) = shortened(engine, steps[..=place].to_vec(), why).await;
                let names: Vec<_> = steps.iter().map(|step| (KINDS[step.kind].0, step.a, step.b, step.c)).collect();
                panic!("walk {n} differs at step {place}; shortened to {names:?}:\n{why}");
            }
        }
    }
    let never: Vec<_> = hits.iter().filter(|(_, [ok, _])| *ok == 0).map(|(name, _)| *name).collect();
    let told = format!(
        "{walks} walks of {STEPS} steps on {engine:?}: {} of {} kinds of step done, {questions} questions, no difference; never: {never:?}",
        hits.len() - never.len(),
        KINDS.len(),
    );
    writeln!(std::io::stderr(), "{told}\n{hits:?}").ok();
    assert!(never.is_empty() || walks < 20, "{told}");
}
