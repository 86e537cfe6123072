//! Power only shrinks, whatever is done in whatever order: random chains of calls by somebody with a key, each in a
//! workspace of its own, through the front door. After each call that changes anything, every key that the actor has
//! the secret of may do nothing that the first one could not, or an admin has granted since; and keys of others have
//! got nothing that the actor hasn't. What a key can do is found out by asking for it.
//!
//! `STEAD_CHAINS` says how many chains (200), `STEAD_CHAINS_SEED` with which to begin; `cargo xtask chains` runs more.

use crate::dice::Dice;
use crate::harness::{DAY, Engine, OPERATOR, Reply, World};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use stead_server::clock::Clock;
use stead_server::http::Door;

const PERMISSIONS: [&str; 8] = [
    "service_account_write",
    "workspace_write",
    "workspace_members_invite",
    "group_members_manage",
    "workspace_read",
    "text_to_speech",
    "voices_read",
    "audit_log_read",
];
/// The first twice, because most goes through it.
const GROUP_PERMISSIONS: [&str; 7] = [
    "service_accounts_manage",
    "service_accounts_manage",
    "group_members_manage",
    "workspace_members_invite",
    "workspace_members_remove",
    "audit_log_read",
    "webhooks_manage",
];
const ROLES: [&str; 4] = ["viewer", "commenter", "editor", "admin"];
const RESOURCES: [&str; 3] = ["anna", "bert", "carl"];
/// Seconds after a chain's beginning at which is asked.
const INSTANTS: [i64; 3] = [1800, DAY, 5 * DAY];
const ADDRESSES: [&str; 2] = ["127.0.0.1", "10.1.2.3"];
const AMOUNTS: [i64; 5] = [1, 5, 10, 100, 10_000];
const BURSTS: [(i64, i64); 4] = [(1, 0), (5, 0), (10, 60), (30, 3600)];
const NAMES: [&str; 8] = ["*", "+", "a/b", "?", "..", ".,", "all", "default"];
/// What who manages may look at: nothing of it changes anything.
const PROBES: [(&str, &str); 5] = [
    ("GET", "/v1/service-accounts"),
    ("GET", "/v1/workspace/invites"),
    ("GET", "/v1/workspace/audit-logs?limit=1"),
    ("GET", "/v1/workspace/members"),
    ("PATCH", "/v1/workspace"),
];

/// Chains at once: what one waits for the disk, another computes.
const WORKERS: u64 = 4;
/// Calls of a chain, with the time that passes between them.
const STEPS: usize = 14;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("must be a whole number"))
}

/// Which of a list of questions are answered with yes, dimension by dimension; all of it together is what a key can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Can {
    instants: u32,
    addresses: u32,
    permissions: u32,
    credits: u32,
    at_once: u32,
    bursts: u32,
    roles: u32,
    probes: u32,
}

impl Can {
    fn parts(&self) -> [u32; 8] {
        let Self { instants, addresses, permissions, credits, at_once, bursts, roles, probes } = *self;
        [instants, addresses, permissions, credits, at_once, bursts, roles, probes]
    }

    fn is_usable(&self) -> bool {
        self.instants != 0 && self.addresses != 0
    }

    fn is_within(&self, other: &Self) -> bool {
        !self.is_usable() || self.parts().iter().zip(other.parts()).all(|(a, b)| a & !b == 0)
    }

    /// Of a key that the actor hasn't got the secret of: what it got must be the actor's to give; whatever of the key's
    /// own it got, all of the key's own must be.
    fn has_got_within(&self, before: &Self, may: &Self) -> bool {
        let own = |can: &Self| [can.instants, can.addresses, can.permissions, can.at_once, can.bursts];
        let got_own = self.is_usable() && own(self).iter().zip(own(before)).any(|(new, old)| new & !old != 0);
        let fits = own(self).iter().zip(own(may)).all(|(new, may)| new & !may == 0);
        let shared =
            (self.roles & !before.roles & !may.roles) == 0 && (self.credits & !before.credits & !may.credits) == 0;
        (!got_own || fits) && shared
    }

    fn join(&mut self, other: &Self) {
        self.instants |= other.instants;
        self.addresses |= other.addresses;
        self.permissions |= other.permissions;
        self.credits |= other.credits;
        self.at_once |= other.at_once;
        self.bursts |= other.bursts;
        self.roles |= other.roles;
        self.probes |= other.probes;
    }
}

fn mask(yes: impl IntoIterator<Item = bool>) -> u32 {
    yes.into_iter().enumerate().fold(0, |mask, (place, yes)| mask | (u32::from(yes) << place))
}

/// A key whose secret the test knows.
#[derive(Clone, Debug)]
struct Known {
    owner: String,
    id: String,
    secret: String,
    is_held: bool,
}

struct Chain<'a> {
    world: &'a World,
    dice: Dice,
    admin: String,
    began: i64,
    keys: Vec<Known>,
    accounts: Vec<String>,
    groups: Vec<String>,
    emails: Vec<String>,
    actor: String,
    actor_is_admin: bool,
    log: String,
    steps: u64,
    accepted: u64,
}

impl<'a> Chain<'a> {
    fn now(&self) -> i64 {
        self.world.clock.now().seconds()
    }

    async fn call(&mut self, key: &str, method: &str, path: &str, body: Value) -> Reply {
        // Rate limits are looked at, and not in the way.
        self.world.clock.elapse(7200);
        let reply = self.world.call_as(key, method, path, body.clone()).await;
        let who = self.keys.iter().position(|known| known.secret == key);
        let who = who.map_or("admin".into(), |place| format!("key {place}"));
        writeln!(
            self.log,
            "{who}: {method} {path} {body} → {} {}",
            reply.status.as_u16(),
            &reply.text[..reply.text.len().min(300)]
        )
        .unwrap();
        assert!(reply.status.as_u16() < 500, "{}", self.log);
        reply
    }

    async fn admin(&mut self, method: &str, path: &str, body: Value) -> Value {
        let admin = self.admin.clone();
        let reply = self.call(&admin, method, path, body).await;
        assert_eq!(reply.status, 200, "{}", self.log);
        reply.body
    }

    fn name(&mut self) -> String {
        let number = self.dice.roll(1_000_000);
        format!("{}{number}", self.dice.one(&NAMES))
    }

    /// Terms of a key, greedy or not.
    fn terms(&mut self) -> Value {
        let mut terms = json!({});
        for field in 0..8 {
            if self.dice.once_in(2) {
                self.term(&mut terms, field);
            }
        }
        terms
    }

    fn term(&mut self, terms: &mut Value, field: usize) {
        let dice = &mut self.dice;
        let rates = |dice: &mut Dice| json!([{"name": "*", "limit": dice.one(&[1, 5, 20]), "window_seconds": dice.one(&[1, 60, 3600]), "per": dice.one(&["key", "lineage"])}]);
        match field {
            0 => {
                terms["permissions"] = if dice.once_in(3) {
                    "all".into()
                } else {
                    let mut some = dice.some(&PERMISSIONS);
                    if dice.roll(4) > 0 {
                        some.extend([
                            "service_account_write",
                            "workspace_write",
                            "workspace_members_invite",
                            "group_members_manage",
                        ]);
                        some.sort_unstable();
                        some.dedup();
                    }
                    json!(some)
                };
            }
            1 => terms["expires_at"] = (self.began + dice.one(&[3600, 2 * DAY, 9 * DAY])).into(),
            2 => {
                let nets = ["127.0.0.0/8", "127.0.0.1", "10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32", "0.0.0.0/0"];
                let mut some = dice.some(&nets);
                some.push("127.0.0.1");
                terms["allowed_ips"] = json!(some);
            }
            3 => terms["character_limit"] = dice.one(&AMOUNTS).into(),
            4 => terms["tts_concurrency_limit"] = dice.one(&AMOUNTS[..4]).into(),
            5 => terms["music_concurrency_limit"] = dice.one(&AMOUNTS[..4]).into(),
            6 => terms["dubbing_concurrency_limit"] = dice.one(&AMOUNTS[..4]).into(),
            _ => terms["rate_limits"] = rates(dice),
        }
    }

    async fn begin(world: &'a World, seed: u64) -> Self {
        let dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let began = world.clock.now().seconds();
        let mut chain = Self {
            world,
            dice,
            admin: String::new(),
            began,
            keys: Vec::new(),
            accounts: Vec::new(),
            groups: Vec::new(),
            emails: Vec::new(),
            actor: String::new(),
            actor_is_admin: false,
            log: format!("chain {seed}\n"),
            steps: 0,
            accepted: 0,
        };
        let new = json!({"name": chain.name(), "owner_email": format!("o{seed}@example.com"), "seats": 20});
        chain.admin =
            world.call_as(OPERATOR, "POST", "/v1/workspaces", new).await.ok()["api_key"].as_str().unwrap().into();
        for _ in 0..3 {
            let (name, mut permissions) = (chain.name(), chain.dice.some(&GROUP_PERMISSIONS));
            permissions.dedup();
            let mut group = json!({"name": name, "permissions": permissions});
            if chain.dice.once_in(6) {
                group["permissions"].as_array_mut().unwrap().push("all_resources_access".into());
            }
            if chain.dice.once_in(4) {
                group["group_usage_limit"] = chain.dice.one(&AMOUNTS).into();
            }
            let made = chain.admin("POST", "/v1/workspace/groups", group).await;
            chain.groups.push(made["id"].as_str().unwrap().into());
        }
        chain.groups.push("default".into());
        for _ in 0..2 {
            let name = chain.name();
            let made = chain.admin("POST", "/v1/service-accounts", json!({"name": name})).await;
            let (id, email) =
                (made["service_account_id"].as_str().unwrap().to_owned(), made["email"].as_str().unwrap().to_owned());
            chain.join_some(&email).await;
            let mut terms = chain.terms();
            terms["name"] = chain.name().into();
            let made = chain.admin("POST", &format!("/v1/service-accounts/{id}/api-keys"), terms).await;
            chain.know(&id, &made, false);
            if chain.dice.once_in(4) {
                chain.admin("PATCH", &format!("/v1/service-accounts/{id}"), json!({"is_enabled": false})).await;
            }
            let path = format!("/v1/service-accounts/{id}/api-keys/{}", chain.keys.last().unwrap().id);
            match chain.dice.roll(4) {
                0 => drop(chain.admin("POST", &format!("{path}/disable"), Value::Null).await),
                1 => {
                    let made = chain.admin("POST", &format!("{path}/rotate"), json!({})).await;
                    chain.know(&id, &made, false);
                }
                _ => {}
            }
            chain.accounts.push(id);
            chain.emails.push(email);
        }
        chain.make_actor(seed).await;
        for id in RESOURCES {
            let mut new = json!({"resource_type": "voice", "resource_id": id});
            if chain.dice.once_in(8) {
                new["creator_user_id"] = chain.actor.clone().into();
            }
            chain.admin("POST", "/v1/workspace/resources", new).await;
            for _ in 0..=chain.dice.roll(4) {
                let share = chain.share_of(id);
                let admin = chain.admin.clone();
                chain.call(&admin, "POST", &format!("/v1/workspace/resources/{id}/share"), share).await;
            }
        }
        if chain.dice.once_in(4) {
            let policies = json!({"policies": {
                "default_expiry_seconds": if chain.dice.once_in(2) { json!(DAY) } else { Value::Null },
                "max_expiry_seconds": if chain.dice.once_in(2) { json!(3 * DAY) } else { Value::Null },
                "expiry_required": chain.dice.one(&["none", "all", "user_keys"]),
                "allowed_permissions": if chain.dice.once_in(3) { json!(PERMISSIONS[..6]) } else { Value::Null },
                "allowed_ips_required": chain.dice.once_in(4),
            }});
            chain.admin("PATCH", "/v1/workspace", policies).await;
        }
        chain
    }

    async fn join_some(&mut self, email: &str) {
        for group in self.groups.clone() {
            if group != "default" && self.dice.roll(5) < 3 {
                self.admin("POST", &format!("/v1/workspace/groups/{group}/members"), json!({"email": email})).await;
            }
        }
    }

    fn know(&mut self, owner: &str, made: &Value, is_held: bool) {
        let text = |field: &str| made[field].as_str().unwrap_or_else(|| panic!("no {field} in {made}")).to_owned();
        self.keys.push(Known { owner: owner.into(), id: text("key_id"), secret: text("api_key"), is_held });
    }

    /// A person or a service account with a key of random power: the last of the keys known.
    async fn make_actor(&mut self, seed: u64) {
        let mut terms = self.terms();
        terms["name"] = self.name().into();
        let (email, key) = if self.dice.once_in(3) {
            let made = self.admin("POST", "/v1/service-accounts", json!({"name": "actor"})).await;
            (
                made["email"].as_str().unwrap().to_owned(),
                (made["service_account_id"].as_str().unwrap().to_owned(), self.admin.clone()),
            )
        } else {
            // Makes the key while an admin, and is then less.
            let email = format!("a{seed}@example.com");
            let invite = json!({"email": email, "seat_type": "workspace_admin"});
            let link = self.admin("POST", "/v1/workspace/invites/add", invite).await;
            let token = link["invite_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let joined = self.call("", "POST", "/v1/workspace/invites/accept", json!({"token": token})).await.ok();
            (email, (joined["user_id"].as_str().unwrap().to_owned(), joined["api_key"].as_str().unwrap().to_owned()))
        };
        let (id, maker) = key;
        let made = self.call(&maker, "POST", &format!("/v1/service-accounts/{id}/api-keys"), terms).await.ok();
        self.know(&id, &made, true);
        if maker != self.admin {
            let seat = self.dice.one(&[
                "workspace_member",
                "workspace_member",
                "workspace_member",
                "workspace_lite_member",
                "workspace_admin",
            ]);
            self.actor_is_admin = seat == "workspace_admin";
            self.admin("POST", "/v1/workspace/members", json!({"email": email, "workspace_seat_type": seat})).await;
        }
        self.join_some(&email).await;
        if self.dice.once_in(5) {
            let limit = self.dice.one(&AMOUNTS);
            self.admin("PUT", &format!("/v1/workspace/members/{id}/usage-limit"), json!({"usage_limit": limit})).await;
        }
        self.actor.clone_from(&id);
        self.accounts.push(id);
        self.emails.push(email);
    }

    fn share_of(&mut self, _id: &str) -> Value {
        let mut share = json!({"resource_type": "voice", "role": self.dice.one(&ROLES)});
        match self.dice.roll(3) {
            0 => share["group_id"] = self.dice.one(&self.groups).into(),
            1 => share["user_email"] = self.dice.one(&self.emails).into(),
            _ => share["workspace_api_key_id"] = self.dice.one(&self.keys).id.into(),
        }
        share
    }

    /// Asks about every key, at an instant, several questions: whether each gets as far as the limits.
    async fn ask(&self, at: i64, asks: &[(usize, Value)]) -> Vec<(bool, Value)> {
        let requests: Vec<_> = asks
            .iter()
            .map(|(key, ask)| {
                let mut ask = ask.clone();
                ask["api_key"] = self.keys[*key].secret.clone().into();
                ask
            })
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        let ahead = at - self.now();
        self.world.clock.advance(ahead);
        for some in requests.chunks(500) {
            let body = json!({ "requests": some }).to_string();
            let request =
                World::request("POST", "/v1/api-keys/verify-batch", "", &[("content-type", "application/json")], body);
            let told = self.world.send_by(Door::Verification, request).await.ok();
            answers.extend(told["results"].as_array().unwrap().clone());
        }
        self.world.clock.advance(-ahead);
        let passes = |code: &Value| ["VALID", "RATE_LIMITED", "USAGE_EXCEEDED"].iter().any(|pass| code == pass);
        answers.into_iter().map(|answer| (passes(&answer["code"]), answer)).collect()
    }

    /// What each key can do, found out by brute force. Whether a permission or a role is held doesn't depend on instant
    /// and address, so these are asked for where the key works at all.
    /// Probes cost most, and are for the keys from a place on.
    async fn powers(&self, probe_from: usize) -> Vec<Can> {
        let mut cans = vec![Can::default(); self.keys.len()];
        let mut works: HashMap<usize, (i64, &str)> = HashMap::new();
        let now = self.now();
        let bare: Vec<_> =
            (0..self.keys.len()).flat_map(|key| ADDRESSES.map(|ip| (key, json!({ "ip": ip })))).collect();
        for (place, instant) in INSTANTS.into_iter().enumerate() {
            let at = self.began + instant;
            if at <= now {
                continue;
            }
            for (((key, _), (passes, answer)), address) in
                bare.iter().zip(self.ask(at, &bare).await).zip((0..ADDRESSES.len()).cycle())
            {
                let can = &mut cans[*key];
                if passes {
                    can.instants |= 1 << place;
                    can.addresses |= 1 << address;
                    works.entry(*key).or_insert((at, ADDRESSES[address]));
                }
                let left = answer["remaining"].as_i64();
                can.credits |= mask(AMOUNTS.map(|amount| passes && left.is_none_or(|left| amount <= left)));
            }
        }
        let detail = |(key, (at, ip)): (&usize, &(i64, &str))| {
            let permissions = PERMISSIONS.map(|permission| json!({"ip": ip, "permissions": [permission]}));
            let role =
                |id, role| json!({"ip": ip, "resource": {"resource_type": "voice", "resource_id": id, "role": role}});
            let roles = RESOURCES.into_iter().flat_map(|id| ROLES.map(|of| role(id, of)));
            (*at, permissions.into_iter().chain(roles).map(|ask| (*key, ask)).collect::<Vec<_>>())
        };
        let mut by_instant: HashMap<i64, Vec<(usize, Value)>> = HashMap::new();
        for (at, asks) in works.iter().map(detail) {
            by_instant.entry(at).or_default().extend(asks);
        }
        for (at, asks) in by_instant {
            let answers = self.ask(at, &asks).await;
            for (group, key) in answers.chunks(PERMISSIONS.len() + 12).zip(asks.chunks(PERMISSIONS.len() + 12)) {
                let can = &mut cans[key[0].0];
                let (permissions, roles) = group.split_at(PERMISSIONS.len());
                can.permissions = mask(permissions.iter().map(|(passes, _)| *passes));
                can.roles = mask(roles.iter().map(|(passes, _)| *passes));
            }
        }
        let listed = self.world.call_as(&self.admin, "GET", "/v1/api-keys?limit=200", Value::Null).await.ok();
        for row in listed["api_keys"].as_array().unwrap() {
            let Some(key) = self.keys.iter().position(|known| row["key_id"] == known.id.as_str()) else { continue };
            let up_to = |limit: &Value| {
                let limit = limit.as_i64();
                AMOUNTS[..4].iter().map(move |amount| limit.is_none_or(|limit| *amount <= limit))
            };
            let limits = &row["platform_limits"];
            cans[key].at_once = mask(
                ["concurrency", "dubbing_concurrency", "music_concurrency"]
                    .iter()
                    .flat_map(|kind| up_to(&limits[kind]["limit"])),
            );
            let rates = row["rate_limits"].as_array().cloned().unwrap_or_default();
            cans[key].bursts = mask([1, 2].into_iter().flat_map(|keys| BURSTS.map(|burst| (keys, burst))).map(
                |(keys, (uses, seconds))| {
                    rates.iter().all(|rate| {
                        let buckets = if rate["per"] == "key" { keys } else { 1 };
                        let window = rate["window_seconds"].as_i64().unwrap();
                        uses * keys * window <= buckets * rate["limit"].as_i64().unwrap() * (window + seconds)
                    })
                },
            ));
        }
        for (key, can) in self.keys.iter().zip(&mut cans).skip(probe_from).filter(|(key, _)| key.is_held) {
            let mut yes = Vec::new();
            for (method, path) in PROBES {
                let body = if method == "GET" { Value::Null } else { json!({}) };
                self.world.clock.elapse(7200);
                yes.push(self.world.call_as(&key.secret, method, path, body).await.status == 200);
            }
            can.probes = mask(yes);
        }
        cans
    }

    /// One call of the actor; whether it was let through.
    async fn step(&mut self) -> bool {
        let held: Vec<_> = self.keys.iter().filter(|key| key.is_held).cloned().collect();
        let caller = if self.dice.once_in(2) { held[0].clone() } else { self.dice.one(&held) };
        let (key, account) = (self.dice.one(&self.keys), self.dice.one(&self.accounts));
        let key_path = format!("/v1/service-accounts/{}/api-keys/{}", key.owner, key.id);
        let resource = self.dice.one(&RESOURCES);
        let name = self.name();
        let (method, path, body) = match self.dice.roll(26) {
            0..=3 => {
                let mut terms = self.terms();
                // Mostly near the caller's own terms: the same permissions by default.
                if self.dice.once_in(2) {
                    terms.as_object_mut().unwrap().remove("permissions");
                }
                terms["name"] = name.into();
                ("POST", format!("/v1/service-accounts/{account}/api-keys"), terms)
            }
            4..=6 => {
                let mut change = json!({});
                for _ in 0..=self.dice.roll(2) {
                    let field = self.dice.roll(8);
                    self.term(&mut change, field);
                    if self.dice.once_in(3) && field > 0 {
                        for value in change.as_object_mut().unwrap().values_mut() {
                            *value = "clear".into();
                        }
                    }
                }
                if change["permissions"] == "clear" {
                    change["permissions"] = "all".into();
                }
                if self.dice.once_in(4) {
                    change["is_enabled"] = self.dice.once_in(2).into();
                }
                ("PATCH", key_path, change)
            }
            7 => ("PATCH", key_path, json!({"is_enabled": true})),
            8 | 9 => (
                "POST",
                format!("{key_path}/rotate"),
                json!({"grace_period_seconds": self.dice.one(&[0, 3600, 3 * DAY])}),
            ),
            10 => ("POST", format!("{key_path}/rotate/undo"), Value::Null),
            11 => ("PATCH", format!("/v1/service-accounts/{account}"), json!({"is_enabled": self.dice.roll(4) > 0})),
            12 => ("POST", "/v1/service-accounts".into(), json!({"name": name})),
            13 | 14 => {
                let seat = self.dice.one(&[
                    "workspace_member",
                    "workspace_member",
                    "workspace_lite_member",
                    "workspace_admin",
                ]);
                let mut invite = json!({"email": format!("g{}@example.com", self.dice.0), "seat_type": seat});
                match self.dice.roll(3) {
                    0 => invite["group_ids"] = json!(self.dice.some(&self.groups)),
                    1 => invite["group_ids"] = json!([self.dice.one(&self.groups)]),
                    _ => {}
                }
                if self.dice.once_in(3) {
                    invite["usage_limit"] = self.dice.one(&AMOUNTS).into();
                }
                ("POST", "/v1/workspace/invites/add".into(), invite)
            }
            15 | 16 => {
                let (group, email) = (self.dice.one(&self.groups), self.dice.one(&self.emails));
                let path = format!("/v1/workspace/groups/{group}/members");
                ("POST", if self.dice.once_in(3) { format!("{path}/remove") } else { path }, json!({ "email": email }))
            }
            17 | 18 => {
                let share = self.share_of(resource);
                ("POST", format!("/v1/workspace/resources/{resource}/share"), share)
            }
            19 => {
                let mut share = self.share_of(resource);
                share.as_object_mut().unwrap().remove("role");
                ("POST", format!("/v1/workspace/resources/{resource}/unshare"), share)
            }
            20 => {
                let mut new = json!({"resource_type": "voice", "resource_id": resource});
                if self.dice.once_in(2) {
                    new["creator_user_id"] = account.into();
                }
                ("POST", "/v1/workspace/resources".into(), new)
            }
            21 => ("DELETE", format!("/v1/workspace/resources/{resource}?resource_type=voice"), Value::Null),
            22 => {
                let groups = self.dice.some(&self.groups);
                let all: Vec<_> = groups
                    .iter()
                    .map(|group| json!({"group_id": group, "permission_level": self.dice.one(&ROLES)}))
                    .collect();
                ("PATCH", format!("/v1/service-accounts/{account}"), json!({ "default_sharing_groups": all }))
            }
            23 => {
                let change = json!({
                    "email": self.dice.one(&self.emails), "is_locked": false,
                    "workspace_seat_type": self.dice.one(&["workspace_admin", "workspace_member"]),
                });
                ("POST", "/v1/workspace/members".into(), change)
            }
            24 => match self.dice.roll(3) {
                0 => ("PUT", format!("/v1/workspace/members/{account}/usage-limit"), json!({})),
                1 => {
                    let (group, mut more) = (self.dice.one(&self.groups), self.dice.some(&GROUP_PERMISSIONS));
                    more.dedup();
                    (
                        "PATCH",
                        format!("/v1/workspace/groups/{group}"),
                        json!({"permissions": more, "group_usage_limit": "unlimited"}),
                    )
                }
                _ => (
                    "PATCH",
                    "/v1/workspace".into(),
                    json!({"policies": {"allowed_permissions": "clear", "max_expiry_seconds": "clear"}}),
                ),
            },
            _ => match self.dice.roll(3) {
                0 => ("POST", format!("{key_path}/disable"), Value::Null),
                1 => {
                    self.world.clock.advance(self.dice.one(&[2400, 30 * 3600]));
                    return false;
                }
                _ => ("DELETE", key_path, Value::Null),
            },
        };
        let reply = self.call(&caller.secret, method, &path, body).await;
        self.steps += 1;
        if reply.status != 200 {
            return false;
        }
        self.accepted += 1;
        let made = reply.body;
        if made["api_key"].is_string() {
            let owner = made["service_account_user_id"].as_str().unwrap_or(&key.owner).to_owned();
            self.know(&owner, &made, true);
        } else if let Some(email) = made["email"].as_str() {
            if let Some(id) = made["service_account_id"].as_str()
                && !self.accounts.iter().any(|known| known == id)
            {
                self.accounts.push(id.into());
                self.emails.push(email.into());
            }
        } else if let Some(link) = made["invite_url"].as_str() {
            let token = link.rsplit('/').next().unwrap().to_owned();
            let joined = self.call("", "POST", "/v1/workspace/invites/accept", json!({ "token": token })).await.ok();
            self.emails.push(joined["email"].as_str().unwrap().into());
            if joined["api_key"].is_string() {
                let owner = joined["user_id"].as_str().unwrap().to_owned();
                self.know(&owner, &joined, true);
                self.accounts.push(owner);
            }
        }
        true
    }

    /// Something that an admin gives, which may be to the actor.
    async fn grant(&mut self) {
        let admin = self.admin.clone();
        let resource = self.dice.one(&RESOURCES);
        let (method, path, body) = match self.dice.roll(3) {
            0 => {
                let share = self.share_of(resource);
                ("POST", format!("/v1/workspace/resources/{resource}/share"), share)
            }
            1 => {
                let (group, email) = (self.dice.one(&self.groups), self.dice.one(&self.emails));
                ("POST", format!("/v1/workspace/groups/{group}/members"), json!({ "email": email }))
            }
            _ => {
                let key = self.dice.one(&self.keys);
                let mut change = json!({});
                let field = self.dice.roll(8);
                self.term(&mut change, field);
                ("PATCH", format!("/v1/service-accounts/{}/api-keys/{}", key.owner, key.id), change)
            }
        };
        self.call(&admin, method, &path, body).await;
    }
}

/// Runs a chain: the calls, and those that were let through; or what went beyond.
async fn run(world: &World, seed: u64) -> Result<(u64, u64), String> {
    let mut chain = Chain::begin(world, seed).await;
    let mut before = chain.powers(0).await;
    let first = chain.keys.iter().position(|key| key.is_held).unwrap();
    let mut may = before[first];
    if chain.actor_is_admin {
        // Who may set the limits that keys share is bound by the key's own alone.
        let listed = world.call_as(&chain.admin, "GET", "/v1/api-keys?limit=200", Value::Null).await.ok();
        let row = listed["api_keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["key_id"] == chain.keys[first].id.as_str())
            .unwrap();
        let limit = row["character_limit"].as_i64();
        may.credits = mask(AMOUNTS.map(|amount| limit.is_none_or(|limit| amount <= limit)));
    }
    let has_grants = chain.dice.once_in(3);
    for step in 0..STEPS {
        if has_grants && chain.dice.once_in(6) {
            chain.grant().await;
            before = chain.powers(0).await;
            for (key, can) in chain.keys.iter().zip(&before) {
                if key.is_held {
                    may.join(can);
                }
            }
        }
        let known = chain.keys.len();
        if !chain.step().await {
            continue;
        }
        let after = chain.powers(if step >= STEPS - 2 { 0 } else { known }).await;
        let nothing = Can::default();
        for (place, (key, can)) in chain.keys.iter().zip(&after).enumerate() {
            let fits = if key.is_held {
                can.is_within(&may)
            } else {
                can.has_got_within(before.get(place).unwrap_or(&nothing), &may)
            };
            if !fits {
                return Err(format!(
                    "{}key {place} {key:?}\n{can:?} goes beyond\n{may:?}; before\n{:?}",
                    chain.log,
                    before.get(place)
                ));
            }
        }
        before = after;
    }
    world.clock.advance(60);
    Ok((chain.steps, chain.accepted))
}

/// Every so many chains of a range, each in a world's own time; the calls, and those that were let through.
async fn some_chains(engine: Engine, from: u64, to: u64, every: usize) -> Result<(u64, u64), String> {
    let (mut world, mut steps, mut accepted) = (World::new(engine).await, 0, 0);
    for (place, seed) in (from..to).step_by(every).enumerate() {
        // Not too much in one store: what is slow is not what is looked for.
        if place % 200 == 199 {
            world = World::new(engine).await;
        }
        let (more, through) = run(&world, seed).await?;
        (steps, accepted) = (steps + more, accepted + through);
        if (place + 1) % 500 == 0 {
            writeln!(
                std::io::stderr(),
                "{} chains by one of {every}: {accepted} of {steps} calls let through",
                place + 1
            )
            .ok();
        }
    }
    Ok((steps, accepted))
}

async fn chains(engine: Engine, count: u64) {
    let seed = number("STEAD_CHAINS_SEED", 0);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(some_chains(engine, seed + worker, seed + count, usize::try_from(WORKERS).unwrap()));
    }
    let (mut steps, mut accepted) = (0, 0);
    // What goes beyond ends the others.
    while let Some(done) = workers.join_next().await {
        match done.unwrap() {
            Ok((more, through)) => (steps, accepted) = (steps + more, accepted + through),
            Err(beyond) => panic!("{beyond}"),
        }
    }
    let told =
        format!("{count} chains on {engine:?}: {steps} calls, {accepted} let through, none gave more than there was");
    writeln!(std::io::stderr(), "{told}").ok();
    assert!(accepted > count, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chain_of_calls_gives_more_than_there_was_on_sqlite() {
    chains(Engine::Sqlite, number("STEAD_CHAINS", 200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chain_of_calls_gives_more_than_there_was_on_postgres() {
    chains(Engine::Postgres, (number("STEAD_CHAINS", 200) / 10).max(4)).await;
}
