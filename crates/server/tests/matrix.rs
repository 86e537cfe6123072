//! The matrix: every route, with every verb, by every kind of caller, about every kind of object, read from the table
//! at run time. What must come of a cell is said by [`expected`], which knows the table and nothing of the handlers.
//!
//! A sample of the cells is run; `STEAD_MATRIX=full` runs all of them.

use crate::authorization::{Things, example};
use crate::harness::{DAY, Engine, Key, OPERATOR, Reply, START, World};
use crate::on_both_stores;
use crate::sites::{Site, report, rows};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_api::resource::Role;
use stead_server::http::routes::{ABSENT, Route, routes};
use stead_server::members::{Access, Object, SeatType};

on_both_stores! {
    who_may_is_what_the_table_says
}

/// The methods of HTTP that have a body or none, one that no server knows, and two that only ask.
const VERBS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "LIST"];

/// Where in the list of objects those begin that are none.
const STRANGE: usize = 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// The gate let it pass: 2xx, or a mistake that is told to those who may.
    Allowed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// What must never be.
    Broken,
}

impl Class {
    fn of(route: Option<&Route>, reply: &Reply) -> Self {
        match reply.status.as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            501 if route.is_some_and(|route| route.tag == ABSENT) => Self::Allowed,
            500.. => Self::Broken,
            _ => Self::Allowed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Ours,
    Foreign,
}

/// A caller and what is true of them.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
struct Who {
    name: String,
    secret: String,
    /// Where their key works; `None`: nowhere.
    home: Option<Home>,
    is_operator: bool,
    is_admin: bool,
    is_account: bool,
    id: String,
    key: String,
    email: Option<String>,
    /// Through groups.
    group_permissions: BTreeSet<&'static str>,
    own_group: Option<String>,
    /// Of the key; `None`: all.
    permissions: Option<BTreeSet<&'static str>>,
    /// Shared with them.
    role: Option<Role>,
    /// Stands in every part of the sample.
    is_core: bool,
}

impl Who {
    fn holds(&self, permission: &str) -> bool {
        self.permissions.as_ref().is_none_or(|held| held.contains(permission))
    }

    fn may(&self, group_permission: &str) -> bool {
        self.is_admin || self.group_permissions.contains(group_permission)
    }

    /// Whom most gates let through.
    fn is_wide(&self) -> bool {
        self.is_core && (self.is_admin || !self.group_permissions.is_empty())
    }

    fn role_on(&self, thing: &Thing) -> Option<Role> {
        let all = self.is_admin || self.group_permissions.contains(ALL_RESOURCES_ACCESS);
        if all { Some(Role::Admin) } else { self.role.filter(|_| thing.is_shared) }
    }
}

/// An object, or what is in its place, and where it is.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
struct Thing {
    name: String,
    things: Things,
    /// Of accounts in paths.
    account: Option<Home>,
    /// Of everything else.
    rest: Option<Home>,
    /// Of keys that are looked for without their account; those that were revoked are still there.
    bare_key: Option<Home>,
    is_shared: bool,
    /// The key is not the account's.
    is_mixed: bool,
    /// A person's, who is not the caller.
    is_persons: bool,
    /// The caller itself.
    is_oneself: bool,
    /// The group of everybody, which each workspace has.
    is_default: bool,
}

impl Thing {
    fn new(name: &str, things: Things, home: Option<Home>) -> Self {
        let name = name.to_owned();
        Self {
            name,
            things,
            account: home,
            rest: home,
            bare_key: home,
            is_shared: false,
            is_mixed: false,
            is_persons: false,
            is_oneself: false,
            is_default: false,
        }
    }
}

/// The policy: what must come of a call, by the table alone.
fn expected(route: Option<&Route>, who: &Who, thing: &Thing) -> Class {
    let Some(route) = route else { return Class::MethodNotAllowed };
    let works = who.home.is_some();
    match route.access {
        Access::Anyone => return Class::Allowed,
        // Of gRPC, which says no in its own words; the tests of ext_authz take these in Envoy's. Never a yes, see below.
        Access::Subject if route.id == "ext_authz_check" => return Class::Allowed,
        // Nobody here has a token of an invite.
        Access::Guest => return Class::NotFound,
        Access::Operator if !who.is_operator => return if works { Class::Forbidden } else { Class::Unauthenticated },
        Access::Operator => {}
        _ if !works => return Class::Unauthenticated,
        _ => {}
    }
    let lacks_permission = route.access.permission().is_some_and(|permission| !who.holds(permission));
    let lacks_group = route.access.group_permission().is_some_and(|permission| !who.may(permission));
    if lacks_permission || lacks_group || (matches!(route.access, Access::Admin(_)) && !who.is_admin) {
        return Class::Forbidden;
    }
    let there = |home: Option<Home>| if home.is_some() && home == who.home { Class::Allowed } else { Class::NotFound };
    match route.object {
        Object::Server | Object::Caller | Object::Carried | Object::Workspace => Class::Allowed,
        Object::AnyWorkspace if !route.path.contains('{') || thing.rest.is_some() => Class::Allowed,
        Object::AnyWorkspace => Class::NotFound,
        Object::Account if thing.is_oneself => {
            if who.is_account {
                Class::Allowed
            } else {
                Class::NotFound
            }
        }
        Object::KeyOwner | Object::Key | Object::VisibleKey | Object::Member if thing.is_oneself => Class::Allowed,
        Object::Account | Object::KeyOwner => there(thing.account),
        Object::Key => {
            if thing.account == thing.rest && !thing.is_mixed {
                there(thing.rest)
            } else {
                Class::NotFound
            }
        }
        Object::VisibleKey if thing.is_persons && !who.is_admin => Class::NotFound,
        Object::VisibleKey => there(thing.bare_key),
        Object::Oneself(_) if !route.path.contains('{') || thing.is_oneself => Class::Allowed,
        Object::Oneself(others) => {
            if who.may(others) {
                there(thing.rest)
            } else {
                Class::NotFound
            }
        }
        Object::Group | Object::OwnGroup if thing.is_default => Class::Allowed,
        Object::Group if thing.is_oneself => {
            if who.own_group.is_some() {
                Class::Allowed
            } else {
                Class::NotFound
            }
        }
        // A restricted key hands on no right that it couldn't use itself; what the group gives its member may do.
        Object::OwnGroup if thing.is_oneself && who.own_group.is_some() => {
            let rights = [
                ("service_accounts_manage", "service_account_write"),
                ("webhooks_manage", "webhooks_write"),
                ("workspace_members_invite", "workspace_members_invite"),
                ("workspace_members_remove", "workspace_members_remove"),
                ("audit_log_read", "audit_log_read"),
                ("workspace_analytics_full_read", "workspace_analytics_full_read"),
                ("all_resources_access", "workspace_write"),
            ];
            let lacks =
                rights.iter().any(|(right, needed)| who.group_permissions.contains(*right) && !who.holds(needed));
            if lacks && route.id == "add_group_member" { Class::Forbidden } else { Class::Allowed }
        }
        Object::OwnGroup if who.is_admin || there(thing.rest) == Class::NotFound => there(thing.rest),
        Object::OwnGroup => Class::Forbidden,
        Object::Resource(needed) => match (there(thing.rest), who.role_on(thing)) {
            (Class::NotFound, _) | (_, None) => Class::NotFound,
            (_, Some(held)) if held < needed => Class::Forbidden,
            _ => Class::Allowed,
        },
        Object::Person
        | Object::Invite
        | Object::Member
        | Object::Group
        | Object::Webhook
        | Object::Lease
        | Object::Decision => there(thing.rest),
    }
}

/// Whether the path or the body names something.
fn names_an_object(object: Object) -> bool {
    !matches!(object, Object::Server | Object::Caller | Object::Carried | Object::Workspace)
}

/// Whether it may be called about anything without a change: nothing has to be made anew for it.
fn only_reads(route: &Route) -> bool {
    route.method == "GET" || route.object == Object::VisibleKey || route.id == "ext_authz_check"
}

fn list(names: impl IntoIterator<Item = &'static str>) -> &'static [&'static str] {
    names.into_iter().collect::<Vec<_>>().leak()
}

/// Everybody who ever calls, and what they call about.
struct Scene {
    world: World,
    ours: Site,
    foreign: Site,
    callers: Vec<Who>,
    things: Vec<Thing>,
}

impl Scene {
    #[allow(clippy::too_many_lines, reason = "a list of who there is")]
    async fn new(engine: Engine) -> Self {
        let mut world = World::with(engine, &[("seats", "5000"), ("max-accounts", "5000")]).await;
        let table = routes();
        let permissions: BTreeSet<_> = table.iter().filter_map(|route| route.access.permission()).collect();
        let named = table.iter().flat_map(|route| [route.access.group_permission(), route.object.others()]);
        let group_permissions: BTreeSet<_> = named.flatten().chain([ALL_RESOURCES_ACCESS]).collect();
        let foreign_admin = world.foreign_admin().await;
        let mut ours = Site::new(&world, &world.admin, "n").await;
        let mut foreign = Site::new(&world, &foreign_admin, "f").await;

        let mut callers = Vec::new();
        let nowhere = |name: &str, secret: &str| Who { name: name.into(), secret: secret.into(), ..Who::default() };
        let admin = world.admin.clone();
        let expired = world.account_with_key().await;
        let ends = json!({"name": "expired", "expires_at": START.seconds() + DAY});
        let expired = world.key(&expired.account, ends).await;
        world.clock.advance(DAY);
        let (head, tail) = admin.split_at(admin.len() - 1);
        for (name, secret) in [
            ("nobody", ""),
            ("garbage", "garbage"),
            ("mistyped", &format!("{head}{}", if tail == "0" { "1" } else { "0" })),
            ("cut short", head),
            ("cut to half", &admin[..admin.len() / 2]),
            ("lengthened", &format!("{admin}0")),
            ("in capitals", &admin.to_uppercase()),
            ("expired", &expired.secret),
        ] {
            callers.push(nowhere(name, secret));
        }
        let revoked = world.account_with_key().await;
        world.call("DELETE", &revoked.path(), Value::Null).await.ok();
        let disabled = world.account_with_key().await;
        world.call("POST", &format!("{}/disable", disabled.path()), Value::Null).await.ok();
        let of_disabled = world.account_with_key().await;
        let path = format!("/v1/service-accounts/{}", of_disabled.account);
        world.call("PATCH", &path, json!({"is_enabled": false})).await.ok();
        let of_deleted = world.account_with_key().await;
        world.call("DELETE", &format!("/v1/service-accounts/{}", of_deleted.account), Value::Null).await.ok();
        let (_, locked) = ours.person(&mut world, "locked@example.com", SeatType::WorkspaceAdmin).await;
        let lock = json!({"email": "locked@example.com", "is_locked": true});
        world.call("POST", "/v1/workspace/members", lock).await.ok();
        let (_, removed) = ours.person(&mut world, "removed@example.com", SeatType::WorkspaceAdmin).await;
        world.call("DELETE", "/v1/workspace/members", json!({"email": "removed@example.com"})).await.ok();
        let suspended = world.foreign_admin().await;
        let site = Site::new(&world, &suspended, "s").await;
        let path = format!("/v1/workspaces/{}", site.workspace);
        world.call_as(OPERATOR, "PATCH", &path, json!({"is_disabled": true})).await.ok();
        for (name, secret) in [
            ("revoked", &revoked.secret),
            ("disabled", &disabled.secret),
            ("of a disabled account", &of_disabled.secret),
            ("of a deleted account", &of_deleted.secret),
            ("of a locked admin", &locked),
            ("of a removed admin", &removed),
            ("of a suspended workspace's owner", &suspended),
        ] {
            callers.push(nowhere(name, secret));
        }
        callers.push(Who { is_operator: true, is_core: true, ..nowhere("operator", OPERATOR) });

        let at = |home, name: &str, secret: &str| Who { home: Some(home), ..nowhere(name, secret) };
        let (ours_at, theirs_at) = (Home::Ours, Home::Foreign);
        callers.push(Who { is_admin: true, is_core: true, ..at(ours_at, "owner", &admin) });
        callers.push(Who { is_admin: true, is_core: true, ..at(theirs_at, "foreign owner", &foreign_admin) });
        let (_, member) = foreign.person(&mut world, "member@foreign.example.com", SeatType::WorkspaceMember).await;
        callers.push(at(theirs_at, "foreign member", &member));
        let key = foreign.key(&world, "foreign account").await;
        let body = json!({"name": "all", "permissions": "all"});
        let path = format!("/v1/service-accounts/{}/api-keys", key.account);
        let key = Key::of(&key.account, &world.call_as(&foreign_admin, "POST", &path, body).await.ok());
        callers.push(Who { is_account: true, is_core: true, ..at(theirs_at, "foreign account", &key.secret) });
        for (name, seat) in [
            ("admin", SeatType::WorkspaceAdmin),
            ("member", SeatType::WorkspaceMember),
            ("lite member", SeatType::WorkspaceLiteMember),
            ("viewer", SeatType::WorkspaceMember),
            ("editor", SeatType::WorkspaceMember),
            ("admin of the resource", SeatType::WorkspaceMember),
        ] {
            let email = format!("{}@example.com", name.replace(' ', "-"));
            let (_, secret) = ours.person(&mut world, &email, seat).await;
            let role = match name {
                "viewer" => Some(Role::Viewer),
                "editor" => Some(Role::Editor),
                "admin of the resource" => Some(Role::Admin),
                _ => None,
            };
            let is_admin = seat == SeatType::WorkspaceAdmin;
            let who = Who { is_admin, role, email: Some(email), ..at(ours_at, name, &secret) };
            callers.push(Who { is_core: name == "member", ..who });
        }
        let plain = world.account_with_key().await;
        callers.push(Who { is_account: true, is_core: true, ..at(ours_at, "account", &plain.secret) });
        // In a group with each group permission, and in one with all of them.
        for held in group_permissions.iter().map(|name| list([*name])).chain([list(group_permissions.clone())]) {
            let name = if held.len() == 1 { held[0] } else { "all" };
            let key = world.account_with_key().await;
            let group = world.group(held, vec![key.account.as_str().into()]).await.to_string();
            let who = Who {
                is_account: true,
                is_core: held.len() > 1,
                group_permissions: held.iter().copied().collect(),
                own_group: Some(group),
                ..at(ours_at, &format!("account in a group with {name}"), &key.secret)
            };
            // With each permission of a key, and with none.
            for permissions in [list([])].into_iter().chain(permissions.iter().map(|name| list([*name]))) {
                if held.len() > 1 {
                    let body = json!({"name": "few", "permissions": permissions});
                    let few = world.key(&key.account, body).await;
                    let name = format!("{}, key with {permissions:?}", who.name);
                    let permissions = Some(permissions.iter().copied().collect());
                    callers.push(Who { name, permissions, is_core: false, secret: few.secret, ..who.clone() });
                }
            }
            callers.push(who);
        }
        let owner = world.get("/v1/user").await["user_id"].as_str().unwrap().to_owned();
        for permissions in [list([])].into_iter().chain(permissions.iter().map(|name| list([*name]))) {
            let body = json!({"name": "few", "permissions": permissions});
            for (whose, id, is_admin) in [("owner", &owner, true), ("account", &plain.account, false)] {
                let few = world.key(id, body.clone()).await;
                let name = format!("{whose}, key with {permissions:?}");
                let permissions = Some(permissions.iter().copied().collect());
                callers.push(Who { is_admin, is_account: !is_admin, permissions, ..at(ours_at, &name, &few.secret) });
            }
        }
        for who in &mut callers {
            if who.home.is_some() {
                let get = async |path| world.call_as(&who.secret, "GET", path, Value::Null).await.ok();
                get("/v1/user").await["user_id"].as_str().unwrap().clone_into(&mut who.id);
                get("/v1/api-keys/self").await["key_id"].as_str().unwrap().clone_into(&mut who.key);
            }
        }
        let things = Self::things(&mut world, &mut ours, &mut foreign, &callers).await;
        Self { world, ours, foreign, callers, things }
    }

    async fn things(world: &mut World, ours: &mut Site, foreign: &mut Site, callers: &[Who]) -> Vec<Thing> {
        let real = ours.things(world, None).await;
        share(world, ours, &real, callers).await;
        let sibling = ours.things(world, None).await;
        let theirs = foreign.things(world, None).await;
        let mut things = vec![
            Thing { is_shared: true, ..Thing::new("ours", real.clone(), Some(Home::Ours)) },
            Thing::new("a sibling", sibling.clone(), Some(Home::Ours)),
            Thing::new("foreign", theirs.clone(), Some(Home::Foreign)),
            Thing::new(
                "nothing",
                Things {
                    email: "x@x.example".into(),
                    person: "x@x.example".into(),
                    invited: "x@x.example".into(),
                    ..Things::nothing()
                },
                None,
            ),
        ];
        // The one's key under the other's account.
        let mix = |account: &Things, key: &Things| Things {
            key: Key { account: account.key.account.clone(), ..key.key.clone() },
            ..key.clone()
        };
        let ours_at = Some(Home::Ours);
        let siblings_key = Thing::new("a sibling's key under an account", mix(&real, &sibling), ours_at);
        things.push(Thing { is_mixed: true, ..siblings_key });
        let foreign_key = Thing {
            account: ours_at,
            ..Thing::new("a foreign key under an account", mix(&real, &theirs), Some(Home::Foreign))
        };
        things.push(foreign_key);
        let own_key = Thing {
            account: Some(Home::Foreign),
            ..Thing::new("a key under a foreign account", mix(&theirs, &real), ours_at)
        };
        things.push(Thing { is_shared: true, ..own_key });
        // Nobody else's user id works in place of an account's.
        let member = callers.iter().find(|who| who.name == "member").unwrap();
        let key = Key { account: member.id.clone(), id: member.key.clone(), secret: String::new() };
        let persons = Thing::new(
            "another person's key",
            Things {
                key,
                email: "z@x.example".into(),
                person: "z@x.example".into(),
                invited: "z@x.example".into(),
                ..Things::nothing()
            },
            None,
        );
        things.push(Thing { is_persons: true, bare_key: ours_at, ..persons });
        // Gone.
        let gone = ours.things(world, None).await;
        let call = async |method: &str, path: String, body: Value| world.call(method, &path, body).await.ok();
        call("DELETE", gone.key.path(), Value::Null).await;
        call("DELETE", format!("/v1/service-accounts/{}", gone.key.account), Value::Null).await;
        call("DELETE", format!("/v1/workspace/groups/{}", gone.group), Value::Null).await;
        call("DELETE", format!("/v1/workspace/resources/{}?resource_type=voice", gone.resource), Value::Null).await;
        call("DELETE", format!("/v1/workspace/webhooks/{}", gone.webhook), Value::Null).await;
        call("DELETE", "/v1/workspace/members".into(), json!({"email": gone.person})).await;
        call("DELETE", "/v1/workspace/invites".into(), json!({"email": gone.invited})).await;
        call("POST", format!("/v1/api-keys/leases/{}/release", gone.lease), Value::Null).await;
        let gone = Things { decision: Things::nothing().decision, workspace: Things::nothing().workspace, ..gone };
        things.push(Thing { bare_key: Some(Home::Ours), ..Thing::new("deleted", gone, None) });
        // Ids of other kinds, and what is no id.
        let swapped = Things {
            key: Key { account: real.key.id.clone(), id: real.key.account.clone(), secret: String::new() },
            user: real.group.clone(),
            group: real.key.account.clone(),
            resource: real.key.id.clone(),
            workspace: real.group.clone(),
            webhook: real.event.clone(),
            event: real.webhook.clone(),
            decision: real.lease.clone(),
            lease: real.decision.clone(),
            email: real.key.account.clone(),
            person: real.key.account.clone(),
            invited: real.person.clone(),
        };
        things.push(Thing::new("ids of other kinds", swapped, None));
        let capitals = Things {
            key: Key {
                account: real.key.account.to_uppercase(),
                id: real.key.id.to_uppercase(),
                secret: String::new(),
            },
            user: real.user.to_uppercase(),
            group: real.group.to_uppercase(),
            resource: real.resource.to_uppercase(),
            workspace: real.workspace.to_uppercase(),
            webhook: real.webhook.to_uppercase(),
            decision: real.decision.to_uppercase(),
            lease: real.lease.to_uppercase(),
            ..Things::nothing()
        };
        things.push(Thing::new(
            "in capitals",
            Things {
                email: "y@x.example".into(),
                person: "y@x.example".into(),
                invited: "y@x.example".into(),
                ..capitals
            },
            None,
        ));
        let long = "x".repeat(5000);
        for hostile in [
            "..",
            "%2e%2e",
            "%2e",
            "%00",
            "*",
            "+",
            "%25",
            "default",
            "self",
            "null",
            "undefined",
            "0",
            "-1",
            "%F0%9F%98%80",
            "%FF",
            "a%2Fb",
            "%27%20OR%201=1--",
            "search",
            "%20",
            &long,
        ] {
            let things_named = everything_called(hostile);
            let thing = Thing::new(&hostile[..hostile.len().min(20)], things_named, None);
            things.push(Thing { is_default: hostile == "default", ..thing });
        }
        things
    }

    /// What a caller is to itself.
    fn oneself(who: &Who) -> Option<Thing> {
        let home = who.home?;
        let things = Things {
            key: Key { account: who.id.clone(), id: who.key.clone(), secret: who.secret.clone() },
            user: who.id.clone(),
            group: who.own_group.clone().unwrap_or_else(|| Things::nothing().group),
            email: "x@x.example".into(),
            person: "x@x.example".into(),
            ..Things::nothing()
        };
        let thing = Thing::new("oneself", things, None);
        Some(Thing { is_oneself: true, bare_key: Some(home), ..thing })
    }
}

fn everything_called(text: &str) -> Things {
    let all = || text.to_owned();
    Things {
        key: Key { account: all(), id: all(), secret: all() },
        group: all(),
        resource: all(),
        workspace: all(),
        webhook: all(),
        event: all(),
        decision: all(),
        lease: all(),
        user: all(),
        email: all(),
        person: all(),
        invited: all(),
    }
}

async fn share(world: &World, site: &Site, things: &Things, callers: &[Who]) {
    for who in callers {
        if let (Some(role), Some(email)) = (who.role, &who.email) {
            let path = format!("/v1/workspace/resources/{}/share", things.resource);
            let body = json!({"resource_type": "voice", "user_email": email, "role": role.as_str()});
            world.call_as(&site.admin, "POST", &path, body).await.ok();
        }
    }
}

/// What came of it.
#[derive(Default)]
struct Findings {
    cells: usize,
    by_class: BTreeMap<Class, usize>,
    deviations: Vec<String>,
    /// The one text that a caller hears of a route when something is not there.
    missing: BTreeMap<(&'static str, String, String), String>,
}

impl Findings {
    fn note(&mut self, route: Option<&Route>, verb: &str, path: &str, who: &Who, thing: &Thing, reply: &Reply) {
        let (wanted, got) = (expected(route, who, thing), Class::of(route, reply));
        self.cells += 1;
        *self.by_class.entry(got).or_default() += 1;
        let mut deviate = |what: String| {
            let path = &path[..path.len().min(120)];
            self.deviations.push(format!("{verb} {path} as {}, about {}: {what}", who.name, thing.name));
        };
        // A mistake in a body that names no one is as good as "not there".
        let in_body =
            route.is_some_and(|route| matches!(route.object, Object::Person | Object::Invite | Object::OwnGroup));
        let is_mistake = in_body && wanted == Class::NotFound && matches!(reply.status.as_u16(), 400 | 422);
        if got != wanted && !is_mistake {
            deviate(format!("{wanted:?} was expected, and {} came: {}", reply.status, reply.text));
        }
        if reply.headers.get("grpc-status").is_some_and(|status| status == "0") {
            deviate("a yes in gRPC".into());
        }
        if got == Class::Unauthenticated && !reply.headers.contains_key("www-authenticate") {
            deviate("no www-authenticate".into());
        }
        if got == Class::NotFound && verb != "HEAD" && !reply.text.starts_with('<') {
            let id = reply.headers["x-request-id"].to_str().unwrap();
            let text = reply.text.replace(id, "ID");
            let code = reply.body["detail"]["code"].as_str().unwrap_or_default().to_owned();
            let Some(route) = route else { return };
            let first = self.missing.entry((route.id, who.name.clone(), code)).or_insert_with(|| text.clone());
            if *first != text {
                let first = first.clone();
                deviate(format!("what is not there reads {first} and {text}"));
            }
        }
    }
}

/// The rows, but for what is written behind verifications, which are no changes.
async fn changes(world: &World, engine: Engine) -> Vec<Vec<String>> {
    const BEHIND: [&str; 4] = ["credit_leases", "credits", "key_uses", "usage_blocks"];
    let mut rows = rows(world, engine, None).await;
    rows.retain(|row| !BEHIND.contains(&row[0].as_str()));
    rows
}

async fn who_may_is_what_the_table_says(engine: Engine) {
    let began = std::time::Instant::now();
    let is_full = std::env::var("STEAD_MATRIX").is_ok_and(|size| size == "full");
    let mut scene = Scene::new(engine).await;
    let table = routes();
    let mut findings = Findings::default();
    let paths: BTreeSet<_> = table.iter().map(|route| route.path).collect();
    let prepared = began.elapsed();

    // Whatever is refused, and whatever only reads, changes nothing: one server is enough for all of it.
    let before = changes(&scene.world, engine).await;
    for (number, path) in paths.into_iter().enumerate() {
        for verb in VERBS {
            let named = |method: &str| table.iter().find(|route| route.path == path && route.method == method);
            let any = table.iter().find(|route| route.path == path).unwrap();
            let route = match verb {
                _ if any.id == "forward_auth" => Some(any),
                "HEAD" => named("GET"),
                verb => named(verb),
            };
            let is_own = route.is_some_and(|route| route.method == verb);
            for who in scene.callers.iter().filter(|who| is_full || is_own || who.is_core) {
                let oneself = Scene::oneself(who);
                for (place, thing) in scene.things.iter().chain(&oneself).enumerate() {
                    let is_sampled = is_full || (is_own && who.is_core);
                    if place > 0 && !(is_sampled && names_an_object(any.object)) {
                        break;
                    }
                    // Of what is no id at all a quarter, another one for each route; and all of it as those alone whom
                    // the gate lets through.
                    let is_strange = place >= STRANGE && !thing.is_oneself;
                    if is_strange && !is_full && (!who.is_wide() || (place + number) % 4 != 0) {
                        continue;
                    }
                    let refused = expected(route, who, thing) != Class::Allowed;
                    if !refused && !only_reads(route.unwrap()) {
                        continue;
                    }
                    let mut things = thing.things.clone();
                    if any.object == Object::Decision && !refused {
                        // Newer ones may have taken its place since.
                        let site = if thing.rest == Some(Home::Ours) { &scene.ours } else { &scene.foreign };
                        things.decision = site.decision(&scene.world, &things.key).await;
                    }
                    let (path, body) = example(route.unwrap_or(any), &things).unwrap();
                    let body = if verb == "GET" || verb == "HEAD" { Value::Null } else { body };
                    let reply = scene.world.call_as(&who.secret, verb, &path, body).await;
                    findings.note(route, verb, &path, who, thing, &reply);
                }
            }
        }
    }
    let after = changes(&scene.world, engine).await;
    let changed: Vec<_> = before.iter().filter(|row| !after.contains(row)).take(3).collect();
    let shown = findings.deviations.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(before == after, "refused calls changed {changed:?}; {shown}");
    let refused = (findings.cells, began.elapsed());

    // Whoever may change something, each about things of its own.
    let callers: Vec<_> = scene.callers.iter().filter(|who| who.home.is_some() || who.is_operator).cloned().collect();
    let default = scene.things.iter().find(|thing| thing.is_default).unwrap().clone();
    for route in table.iter().filter(|route| !only_reads(route)) {
        for who in &callers {
            let home = who.home.unwrap_or(Home::Ours);
            let thing = Thing { is_shared: true, ..Thing::new("its own", Things::nothing(), Some(home)) };
            let of_group = matches!(route.object, Object::Group | Object::OwnGroup).then(|| default.clone());
            let mut own_group = Scene::oneself(who).filter(|_| route.object == Object::OwnGroup);
            if let Some(own_group) = &mut own_group {
                own_group.things.email.clone_from(&scene.things[0].things.email);
            }
            for mut thing in [Some(thing), of_group, own_group].into_iter().flatten() {
                if expected(Some(route), who, &thing) != Class::Allowed || route.id == "forward_auth" {
                    continue;
                }
                let site = if home == Home::Ours { &mut scene.ours } else { &mut scene.foreign };
                if !thing.is_default && !thing.is_oneself {
                    thing.things = site.things(&mut scene.world, Some(route)).await;
                    if thing.is_shared && matches!(route.object, Object::Resource(_)) {
                        share(&scene.world, site, &thing.things, std::slice::from_ref(who)).await;
                    }
                }
                let (path, body) = example(route, &thing.things).unwrap();
                // Whoever disables themselves can't be asked again: a mistake shows that they may.
                let path = if route.id == "disable_own_api_key" { route.path.to_owned() } else { path };
                let body = if route.id == "set_third_party_disabling" { json!({}) } else { body };
                let reply = scene.world.call_as(&who.secret, route.method.as_str(), &path, body).await;
                findings.note(Some(route), route.method.as_str(), &path, who, &thing, &reply);
                if route.path.contains("{webhook_id}") {
                    let path = format!("/v1/workspace/webhooks/{}", thing.things.webhook);
                    scene.world.call_as(&site.admin, "DELETE", &path, Value::Null).await;
                }
            }
        }
    }
    report(&format!(
        "the matrix on {engine:?}: {} cells ({} that change nothing, in {:.1} s; all in {:.1} s, {:.1} s of it to prepare), \
         {} routes, {} verbs, {} callers, {} objects; {:?}; {} deviations",
        findings.cells,
        refused.0,
        refused.1.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        prepared.as_secs_f64(),
        table.len(),
        VERBS.len(),
        scene.callers.len(),
        scene.things.len() + 1,
        findings.by_class,
        findings.deviations.len(),
    ));
    let count = findings.deviations.len();
    findings.deviations.truncate(80);
    assert!(count == 0, "{count} deviations:\n{}", findings.deviations.join("\n"));
}
