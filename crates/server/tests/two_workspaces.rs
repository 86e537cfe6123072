//! Two workspaces: whatever one does, with the other's ids wherever an id can stand, the other's rows and answers stay
//! byte for byte what they were. And each statement that changes or deletes rows is bound to one workspace.
//!
//! `STEAD_OPERATIONS` says how many operations each of the two does (400).

use crate::authorization::{Things, example};
use crate::harness::{Engine, Key, World};
use crate::on_both_stores;
use crate::sites::{Random, Site, report, rows};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use stead_server::http::routes::{ABSENT, Route, routes};
use stead_server::members::{Access, SeatType};

on_both_stores! {
    what_one_workspace_does_changes_nothing_in_another
}

/// A workspace that works, and what the other knows of it.
struct Side {
    site: Site,
    things: Things,
    /// Those who ask, the owner first.
    secrets: Vec<String>,
    owner: String,
    cursors: Vec<String>,
}

impl Side {
    async fn new(world: &mut World, mut site: Site, domain: &str) -> Self {
        let things = site.things(world, None).await;
        let admin = site.admin.clone();
        let mut secrets = vec![admin.clone()];
        let all = "service_accounts_manage";
        for (name, seat) in [("manager", SeatType::WorkspaceMember), ("member", SeatType::WorkspaceLiteMember)] {
            let (_, secret) = site.person(world, &format!("{name}@{domain}"), seat).await;
            if name == "manager" {
                let body = json!({"name": "managers", "permissions": [all, "group_members_manage", "webhooks_manage"]});
                let group = world.call_as(&admin, "POST", "/v1/workspace/groups", body).await.ok();
                let path = format!("/v1/workspace/groups/{}/members", group["id"].as_str().unwrap());
                let email = format!("{name}@{domain}");
                world.call_as(&admin, "POST", &path, json!({"email": email})).await.ok();
            }
            secrets.push(secret);
        }
        let account = site.key(world, "asks").await;
        let path = format!("/v1/service-accounts/{}/api-keys", account.account);
        let made = world.call_as(&admin, "POST", &path, json!({"name": "all", "permissions": "all"})).await.ok();
        secrets.push(Key::of(&account.account, &made).secret);
        let mut cursors = Vec::new();
        for list in ["/v1/api-keys", "/v1/workspace/audit-logs", "/v1/workspace/resources"] {
            let page = world.call_as(&admin, "GET", &format!("{list}?limit=1"), Value::Null).await.ok();
            cursors.extend(page["next_cursor"].as_str().map(str::to_owned));
        }
        assert!(cursors.len() >= 2, "{cursors:?}");
        let owner = world.call_as(&admin, "GET", "/v1/user", Value::Null).await.ok();
        let owner = owner["user_id"].as_str().unwrap().to_owned();
        Self { site, things, secrets, owner, cursors }
    }

    /// What this workspace is answered: by every route that only reads.
    async fn answers(&self, world: &World) -> BTreeMap<String, (u16, Vec<String>, String)> {
        let mut answers = BTreeMap::new();
        for route in routes() {
            // A question of a proxy is counted as one about the key.
            if route.method != "GET" || matches!(route.access, Access::Anyone | Access::Operator | Access::Subject) {
                continue;
            }
            for (who, secret) in self.secrets.iter().enumerate() {
                let (path, body) = example(&route, &self.things).unwrap();
                let reply = world.call_as(secret, route.method.as_str(), &path, body).await;
                let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
                let headers = reply
                    .headers
                    .iter()
                    .filter(|(name, _)| !name.as_str().ends_with("-id") && *name != "content-length");
                let headers = headers.map(|header| format!("{header:?}")).collect();
                let mut text = reply.text.replace(&id, "ID");
                if route.id == "list_decisions" {
                    // Refusals of these very readings are among them.
                    text = format!("{}", text.contains(&self.things.decision));
                }
                if let Some(detail) = reply.body["detail"]["decision"]["decision_id"].as_str() {
                    text = text.replace(detail, "DECISION");
                }
                answers.insert(format!("{} {path} by {who}", route.method), (reply.status.as_u16(), headers, text));
            }
        }
        answers
    }
}

/// One thing or another of each kind: this workspace's own, the other's, or nothing.
fn mixed(random: &mut Random, own: &Things, other: &Things) -> Things {
    let nothing = Things::nothing();
    let mut one = |of: fn(&Things) -> &String| {
        let from = match random.below(10) {
            0..5 => own,
            5..9 => other,
            _ => &nothing,
        };
        of(from).clone()
    };
    Things {
        key: Key { account: one(|t| &t.key.account), id: one(|t| &t.key.id), secret: one(|t| &t.key.secret) },
        group: one(|t| &t.group),
        resource: one(|t| &t.resource),
        workspace: one(|t| &t.workspace),
        webhook: one(|t| &t.webhook),
        event: one(|t| &t.event),
        decision: one(|t| &t.decision),
        lease: one(|t| &t.lease),
        user: one(|t| &t.user),
        email: one(|t| &t.email),
        person: one(|t| &t.person),
        invited: one(|t| &t.invited),
    }
}

/// Puts the other's names into a body, where a careless reader would look for them.
fn steal(random: &mut Random, body: &mut Value, other: &Side) {
    if body.is_null() {
        *body = Value::Object(Map::new());
    }
    let Value::Object(fields) = body else { return };
    let t = &other.things;
    let stolen = [
        ("workspace_id", json!(t.workspace)),
        ("user_id", json!(other.owner)),
        ("creator_user_id", json!(other.owner)),
        ("service_account_user_id", json!(t.key.account)),
        ("api_key_id", json!(t.key.id)),
        ("workspace_api_key_id", json!(t.key.id)),
        ("group_id", json!(t.group)),
        ("group_ids", json!([t.group])),
        ("default_sharing_groups", json!({ t.group.clone(): "admin" })),
        ("user_email", json!(t.person)),
        ("email", json!(t.person)),
        ("resource_id", json!(t.resource)),
        ("webhook_id", json!(t.webhook)),
        ("lineage_id", json!(t.key.id)),
        ("cursor", json!(other.cursors[0])),
    ];
    for _ in 0..=random.below(3) {
        let (name, value) = &stolen[random.below(stolen.len())];
        fields.insert((*name).to_owned(), value.clone());
    }
}

/// One operation. Returns whether it was done.
async fn operate(world: &World, random: &mut Random, table: &[Route], own: &Side, other: &Side) -> bool {
    let route = &table[random.below(table.len())];
    let things = mixed(random, &own.things, &other.things);
    let mut things = things;
    if !route.path.contains("verify") {
        // Whoever has a secret may report it: that is no way around anything.
        things.key.secret = own.things.key.secret.clone();
    }
    let (mut path, mut body) = example(route, &things).unwrap();
    if random.below(3) == 0 {
        steal(random, &mut body, other);
    }
    if random.below(12) == 0 {
        body = Value::Null;
    }
    if random.below(4) == 0 {
        let mark = if path.contains('?') { '&' } else { '?' };
        let query = match random.below(4) {
            0 => format!("cursor={}", other.cursors[random.below(other.cursors.len())]),
            1 => format!("workspace_id={}", other.things.workspace),
            2 => format!("service_account_user_id={}", other.things.key.account),
            _ => format!("user_id={}", other.owner),
        };
        path = format!("{path}{mark}{query}");
    }
    let secret = &own.secrets[random.below(own.secrets.len() + 2).saturating_sub(2)];
    let mut headers = vec![("content-type", "application/json")];
    if random.below(5) == 0 {
        headers.push(("idempotency-key", "the same for both"));
    }
    if random.below(5) == 0 {
        headers.push(("x-workspace-id", &other.things.workspace));
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let reply = world.send(World::request(route.method.as_str(), &path, secret, &headers, text)).await;
    // A proxy that asks what can't be answered is told so with 500.
    let is_meant = route.tag == ABSENT || route.access == Access::Subject;
    assert!(reply.status.as_u16() < 500 || is_meant, "{} {path}: {}", route.method, reply.text);
    // A question about the other's key is answered, with nothing.
    if route.id == "verify_api_key" && reply.status == 200 && things.key.secret == other.things.key.secret {
        assert_eq!(reply.body["code"], "NOT_FOUND", "{}", reply.text);
    }
    for theirs in [&other.things.key.secret, &other.owner, &other.site.admin] {
        let said = body.to_string().contains(theirs.as_str()) || path.contains(theirs.as_str());
        assert!(
            said || !reply.text.contains(theirs.as_str()),
            "{} {path} tells of the other: {}",
            route.method,
            reply.text
        );
    }
    reply.status == 200 && route.method != "GET"
}

async fn what_one_workspace_does_changes_nothing_in_another(engine: Engine) {
    let count = std::env::var("STEAD_OPERATIONS").map_or(400, |text| text.parse().expect("STEAD_OPERATIONS: a number"));
    let mut world = World::with(engine, &[("seats", "5000"), ("max-accounts", "5000")]).await;
    let (ours, theirs) = (world.admin.clone(), world.foreign_admin().await);
    let ours = Site::new(&world, &ours, "a").await;
    let theirs = Site::new(&world, &theirs, "b").await;
    let mut sides = [Side::new(&mut world, ours, "a.example").await, Side::new(&mut world, theirs, "b.example").await];
    let table: Vec<_> = routes()
        .into_iter()
        // The operator is in neither, and whoever disables themselves does nothing more.
        .filter(|route| route.access != Access::Operator && route.id != "disable_own_api_key" && route.tag != "Server")
        .collect();
    let mut done = [0, 0];
    for busy in [0, 1] {
        let seed = 0x5eed + u64::from(busy == 1);
        let mut random = Random(seed);
        let idle = 1 - busy;
        let workspace = sides[idle].site.workspace.clone();
        // Twice: the first time says of some keys that they were never used.
        sides[idle].answers(&world).await;
        let answered = sides[idle].answers(&world).await;
        // What these questions were counted as is written before anything is compared.
        for path in ["/v1/api-keys?unused_for=1s", "/v1/workspace/usage/api-keys"] {
            world.call_as(&sides[busy].site.admin, "GET", path, Value::Null).await.ok();
        }
        let kept = rows(&world, engine, Some(&workspace)).await;
        assert!(kept.len() > 30 && answered.len() > 60, "{} rows, {} answers", kept.len(), answered.len());
        for turn in 0..count {
            if turn % 25 == 24 {
                let webhook = format!("/v1/workspace/webhooks/{}", sides[busy].things.webhook);
                world.call_as(&sides[busy].site.admin, "DELETE", &webhook, Value::Null).await;
                // What was there may be deleted by now; a site with few accounts and seats goes on with what it has.
                if busy == 0 {
                    let mut site = sides[0].site.clone();
                    sides[0].things = site.things(&mut world, None).await;
                    sides[0].site = site;
                }
            }
            done[busy] += usize::from(operate(&world, &mut random, &table, &sides[busy], &sides[idle]).await);
            // The statement that reached too far is then easy to find.
            if turn % 100 == 99 {
                let now = rows(&world, engine, Some(&workspace)).await;
                let changed: Vec<_> = now.iter().filter(|row| !kept.contains(row)).take(3).collect();
                assert!(now == kept, "seed {seed}, before operation {turn}: {changed:?}");
            }
        }
        let (now, answers) = (rows(&world, engine, Some(&workspace)).await, sides[idle].answers(&world).await);
        assert!(now == kept, "rows of the idle workspace changed");
        for (question, answer) in &answered {
            assert_eq!(&answers[question], answer, "{question}");
        }
        let ask = json!({"api_key": sides[idle].things.key.secret});
        let reply = world.call_as(&sides[idle].site.admin, "POST", "/v1/api-keys/verify", ask).await;
        assert_eq!(reply.ok()["code"], "VALID");
        assert!(done[busy] > 20, "only {} of {count} operations were done", done[busy]);
    }
    report(&format!(
        "two workspaces on {engine:?}: 2 x {count} operations over {} routes, {} + {} of them changed something; \
         0 rows and 0 answers of the idle one changed",
        table.len(),
        done[0],
        done[1]
    ));
}

/// Statements that touch every workspace's rows, and why they may.
const EVERYWHERE: [(&str, &str); 12] = [
    ("UPDATE change_clock", "the clock of the change log, which all workspaces share"),
    ("UPDATE schema_lease", "one migration at a time"),
    ("DELETE FROM change_log WHERE at <", "forgets what every mirror has taken in"),
    ("DELETE FROM mails WHERE created_at <", "gives up what nobody could send"),
    ("DELETE FROM invites WHERE expires_at <=", "forgets what has ended"),
    ("DELETE FROM usage_blocks WHERE resolution = $1 AND starts_at <=", "forgets counts that are too old"),
    ("DELETE FROM credit_notices WHERE period <", "forgets what was told of months gone by"),
    ("UPDATE idempotency SET sealed_secret = NULL WHERE at <", "a minute after, no secret lies there"),
    ("DELETE FROM idempotency WHERE at <", "forgets first outcomes after a day"),
    (
        "UPDATE webhook_deliveries SET claimed_by = NULL, claimed_until = 0 WHERE finished_at IS NULL",
        "a node that is alone takes over what others had begun to send",
    ),
    ("DELETE FROM webhook_deliveries WHERE (workspace_id, webhook_id, seq) IN", "forgets what was told long ago"),
    ("DELETE FROM webhook_events WHERE (workspace_id, seq) IN", "forgets events that were told long ago"),
];

/// The statements of a source text: its string literals, those of one `concat!` or one continued line together.
fn statements(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = source.chars().peekable();
    let mut ends = true;
    while let Some(letter) = rest.next() {
        match letter {
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|letter| *letter != '\n').is_some() {},
            ';' => ends = true,
            '"' => {
                let mut text = String::new();
                while let Some(letter) = rest.next() {
                    match letter {
                        '"' => break,
                        '\\' => {
                            // A continued line, or an escape.
                            if rest.next_if_eq(&'\n').is_some() {
                                while rest.next_if(|letter| letter.is_whitespace()).is_some() {}
                            } else {
                                rest.next();
                            }
                        }
                        letter => text.push(letter),
                    }
                }
                let begins =
                    ["UPDATE ", "DELETE ", "INSERT ", "SELECT ", "WITH "].iter().any(|word| text.starts_with(word));
                match found.last_mut() {
                    Some(last) if !ends && !begins => last.push_str(&text),
                    _ => found.push(text),
                }
                ends = false;
            }
            _ => {}
        }
    }
    found
}

#[test]
fn statements_are_read_as_the_compiler_reads_them() {
    let source = "let a = \"UPDATE a \\\n   SET b\"; // \"no\"\n tx(concat!(\"DELETE FROM b\", x!(), \" WHERE c\"), \"SELECT d\")";
    assert_eq!(statements(source), ["UPDATE a SET b", "DELETE FROM b WHERE c", "SELECT d"]);
}

#[test]
fn every_update_and_delete_is_bound_to_one_workspace() {
    fn walk(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let (mut bound, mut used, mut loose) = (0, [0; EVERYWHERE.len()], Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for sql in statements(&text) {
            let changes = sql.starts_with("UPDATE ") || sql.starts_with("DELETE FROM ");
            let upsert = sql.find(" ON CONFLICT ").filter(|_| sql.contains("DO UPDATE"));
            if !changes && upsert.is_none() {
                continue;
            }
            if let Some(place) = EVERYWHERE.iter().position(|(begin, _)| sql.starts_with(begin)) {
                used[place] += 1;
                continue;
            }
            #[allow(clippy::single_match_else, reason = "both cases are of one weight")]
            let is_bound = match upsert {
                // The row that is changed has the same workspace as the one that was to be inserted.
                Some(place) => sql[place..].starts_with(" ON CONFLICT (workspace_id, "),
                None => {
                    let condition = sql.split_once(" WHERE ").map_or("", |(_, condition)| condition);
                    // Each of the conditions must hold, this one among them.
                    let own = condition.starts_with("workspace_id = $") && !condition.contains(" OR ");
                    own || (sql.starts_with("UPDATE workspaces SET ") && condition.starts_with("id = $"))
                }
            };
            if is_bound { bound += 1 } else { loose.push(format!("{}: {sql}", file.display())) }
        }
    }
    assert!(loose.is_empty(), "not bound to one workspace:\n{}", loose.join("\n"));
    for ((begin, _), count) in EVERYWHERE.iter().zip(used) {
        assert!(count > 0, "no statement begins with {begin}: take it off the list");
    }
    assert!(bound > 30, "only {bound} statements were found");
    report(&format!(
        "{bound} statements change or delete rows of one workspace, {} rows of all",
        used.iter().sum::<usize>()
    ));
}
