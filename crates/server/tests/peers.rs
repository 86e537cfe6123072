//! What went wrong with others who do this work, by the numbers of the project's list of threats, and the tests that
//! would have found it here.

use crate::authorization::{Things, example};
use crate::harness::{DAY, Engine, Key, OPERATOR, START, World, pepper};
use crate::on_both_stores;
use crate::sites::{Site, rows};
use serde_json::{Value, json};
use stead_server::http::routes::routes;
use stead_server::members::{Access, SeatType};

on_both_stores! {
    an_identity_in_the_body_makes_nobody_somebody
    each_cause_that_ends_a_key_holds_by_itself_and_after_a_restart
    an_id_that_is_used_again_has_nothing_of_its_former_life
}

/// Number, what it was in our words, and the tests.
const PEERS: [(u8, &str, &[&str]); 26] = [
    (
        1,
        "a right to mint that was taken away went on for a while",
        &["a_right_taken_away_is_gone_in_the_next_transaction"],
    ),
    (2, "it was asked what may be done, and not to which object", &["who_may_is_what_the_table_says"]),
    (
        3,
        "who manages a tenant could remove who runs the server",
        &["the_owner_stays_an_admin", "the_operators_credential_opens_nothing_else"],
    ),
    (4, "a path spelled out passed by the check of its sibling", &["who_may_is_what_the_table_says"]),
    (5, "without a session, a user id in the body was believed", &["an_identity_in_the_body_makes_nobody_somebody"]),
    (
        6,
        "what a new key may do was stored unchecked",
        &["a_key_makes_nothing_stronger_than_itself", "a_field_that_a_route_does_not_list_does_nothing"],
    ),
    (
        7,
        "anybody could change anybody's keys",
        &["nobody_raises_a_key_beyond_the_own_one", "a_change_may_shrink_what_is_stronger_but_not_widen_it"],
    ),
    (
        8,
        "ids of two owners in one request were both believed",
        &["not_yours_reads_like_not_there", "what_one_workspace_does_changes_nothing_in_another"],
    ),
    (9, "only the pages forbade it", &["who_may_is_what_the_table_says"]),
    (10, "a key's permissions were asked for on some routes only", &["who_may_is_what_the_table_says"]),
    (
        18,
        "a condition on the way to an object gave the wrong answer",
        &["both_views_of_access_agree_with_the_decision"],
    ),
    (
        19,
        "of two causes that end a credential one was looked at",
        &["each_cause_that_ends_a_key_holds_by_itself_and_after_a_restart"],
    ),
    (
        20,
        "after a restart what was revoked worked again",
        &["each_cause_that_ends_a_key_holds_by_itself_and_after_a_restart"],
    ),
    (
        21,
        "a locked account got in another way",
        &["a_locked_member_is_shut_out_and_comes_back", "who_may_is_what_the_table_says"],
    ),
    (
        22,
        "a part of a token was as good as all of it",
        &["every_prefix_extension_and_one_character_change_is_refused", "who_may_is_what_the_table_says"],
    ),
    (
        23,
        "what was absent was taken for \"never ends\"",
        &["a_key_must_end_and_not_too_late", "every_field_and_token_of_a_patch"],
    ),
    (
        24,
        "an id that was used again led to its former owner",
        &["an_id_that_is_used_again_has_nothing_of_its_former_life"],
    ),
    (
        26,
        "names with a delimiter were taken for something else",
        &["names_that_hide_or_harm_are_refused_and_others_kept_as_they_are"],
    ),
    (
        27,
        "a wrong condition deleted everybody's rights",
        &["every_update_and_delete_is_bound_to_one_workspace", "what_one_workspace_does_changes_nothing_in_another"],
    ),
    (28, "403 and 404 told that something exists", &["not_yours_reads_like_not_there"]),
    (34, "deep or wide JSON took all the memory", &["every_shape_of_a_request_gets_the_one_answer_it_must_get"]),
    (
        36,
        "a lease or an id of one tenant was good in another",
        &["concurrency_is_held_until_it_is_released_or_ends", "what_one_workspace_does_changes_nothing_in_another"],
    ),
    (37, "dots in a path led elsewhere", &["who_may_is_what_the_table_says"]),
    (38, "another verb passed by a denial", &["who_may_is_what_the_table_says"]),
    (
        39,
        "metacharacters in a name widened a policy",
        &["names_that_hide_or_harm_are_refused_and_others_kept_as_they_are"],
    ),
    (40, "nobody in particular could end what others had begun", &["who_may_is_what_the_table_says"]),
];

#[test]
fn every_test_on_the_list_is_there() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut sources = String::new();
    for place in ["server/tests", "api/src", "verify/src", "server/src/http/front"] {
        for entry in std::fs::read_dir(format!("{folder}/{place}")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    for (number, what, tests) in PEERS {
        assert!(!what.is_empty() && !tests.is_empty(), "{number}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{number}: there is no test {test}");
        }
    }
}

async fn an_identity_in_the_body_makes_nobody_somebody(engine: Engine) {
    let mut world = World::new(engine).await;
    let things = Site::new(&world, &world.admin, "n").await.things(&mut world, None).await;
    let me = world.get("/v1/user").await["user_id"].clone();
    let own = world.get("/v1/api-keys/self").await["key_id"].clone();
    let identity = json!({
        "user_id": me, "userId": me, "owner_id": me, "principal_id": me, "service_account_user_id": things.key.account,
        "workspace_id": things.workspace, "key_id": own, "api_key_id": own, "email": "owner@localhost",
        "xi-api-key": things.key.secret, "is_admin": true, "seat_type": "workspace_admin", "is_owner": true,
        "actor": { "id": me, "is_admin": true }, "session": { "user_id": me },
    });
    let before = rows(&world, engine, None).await;
    let mut asked = 0;
    for route in routes() {
        if route.access.is_open() || matches!(route.access, Access::Subject) {
            continue;
        }
        let (path, mut body) = example(&route, &things).unwrap();
        let query = format!("user_id={}&workspace_id={}", me.as_str().unwrap(), things.workspace);
        let path = format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' });
        if body.is_null() {
            body = json!({});
        }
        for (field, value) in identity.as_object().unwrap() {
            body[field] = value.clone();
        }
        for headers in [
            vec![("content-type", "application/json")],
            vec![
                ("content-type", "application/json"),
                ("x-user-id", me.as_str().unwrap()),
                ("x-forwarded-user", "owner@localhost"),
            ],
            vec![("content-type", "application/json"), ("cookie", "session=1"), ("x-workspace-id", &things.workspace)],
        ] {
            let request = World::request(route.method.as_str(), &path, "", &headers, body.to_string());
            world.send(request).await.is(401, "missing_api_key");
            asked += 1;
        }
    }
    assert!(asked > 200, "{asked}");
    assert!(rows(&world, engine, None).await == before);
}

/// What can end a key, and what undoes it.
const CAUSES: [&str; 6] = ["disabled", "account", "workspace", "expired", "revoked", "deleted"];

async fn cause(world: &World, key: &Key, workspace: &str, what: &str, begins: bool) -> bool {
    let account = format!("/v1/service-accounts/{}", key.account);
    let reply = match (what, begins) {
        ("disabled", _) => world.call("PATCH", &key.path(), json!({"is_enabled": !begins})).await,
        ("account", _) => world.call("PATCH", &account, json!({"is_enabled": !begins})).await,
        ("workspace", _) => {
            let path = format!("/v1/workspaces/{workspace}");
            world.call_as(OPERATOR, "PATCH", &path, json!({"is_disabled": begins})).await
        }
        ("expired", true) => {
            // It ends a day after the start, and that has come.
            return true;
        }
        ("revoked", true) => world.call("DELETE", &key.path(), Value::Null).await,
        ("deleted", true) => world.call("DELETE", &account, Value::Null).await,
        _ => return false,
    };
    reply.status == 200
}

async fn each_cause_that_ends_a_key_holds_by_itself_and_after_a_restart(engine: Engine) {
    let world = World::with(engine, &[("max-accounts", "500")]).await;
    let workspace = world.workspace.to_string();
    let mut pairs = Vec::new();
    for first in CAUSES {
        for second in CAUSES.iter().copied().filter(|second| *second != first) {
            // A suspended workspace lets nobody do anything else: it always comes last.
            if first == "workspace" || (first == "deleted" && second != "workspace" && second != "expired") {
                continue;
            }
            let account = world.account("ci").await;
            let is_expired = first == "expired" || second == "expired";
            let ends = is_expired.then(|| START.seconds() + DAY);
            let key = world.key(&account, json!({"name": "k", "permissions": "all", "expires_at": ends})).await;
            assert_eq!(world.verify(&key.secret).await, "VALID");
            pairs.push((first, second, key));
        }
    }
    world.clock.advance(DAY);
    let asker =
        async |world: &World, key: &Key| world.call_as(&key.secret, "GET", "/v1/user", Value::Null).await.status;
    for (first, second, key) in &pairs {
        for what in [first, second] {
            // What is over already can't be disabled any more, and is as over as before.
            cause(&world, key, &workspace, what, true).await;
            assert_eq!(asker(&world, key).await, 401, "{first} and {second}, after {what}");
        }
        let is_undone = cause(&world, key, &workspace, second, false).await;
        assert_eq!(asker(&world, key).await, 401, "{first}, when {second} is over");
        if is_undone && cause(&world, key, &workspace, first, false).await {
            assert_eq!(asker(&world, key).await, 200, "{first} and {second} are over");
            assert!(cause(&world, key, &workspace, first, true).await);
        }
    }
    let world = world.restarted(pepper()).await;
    for (first, second, key) in &pairs {
        assert_eq!(asker(&world, key).await, 401, "{first} and {second}, after a restart");
    }
}

async fn an_id_that_is_used_again_has_nothing_of_its_former_life(engine: Engine) {
    let mut world = World::new(engine).await;
    let mut site = Site::new(&world, &world.admin, "n").await;
    let site_of = Site::new(&world, &world.foreign_admin().await, "f").await;
    let (_, old) = site.person(&mut world, "who@example.com", SeatType::WorkspaceMember).await;
    let voice = |id: &str| json!({"resource_type": "voice", "resource_id": id});
    world.call("POST", "/v1/workspace/resources", voice("again")).await.ok();
    let share = json!({"resource_type": "voice", "user_email": "who@example.com", "role": "admin"});
    world.call("POST", "/v1/workspace/resources/again/share", share).await.ok();
    let path = "/v1/workspace/resources/again?resource_type=voice";
    world.call_as(&old, "GET", path, Value::Null).await.ok();
    // A resource under its old id: nobody has what they had.
    world.call("DELETE", path, Value::Null).await.ok();
    world.call("POST", "/v1/workspace/resources", voice("again")).await.ok();
    world.call_as(&old, "GET", path, Value::Null).await.is(404, "resource_not_found");
    // The same id in another workspace is another thing.
    world.call_as(&site_of.admin, "GET", path, Value::Null).await.is(404, "resource_not_found");
    world.call_as(&site_of.admin, "POST", "/v1/workspace/resources", voice("again")).await.ok();
    world.call_as(&site_of.admin, "DELETE", path, Value::Null).await.ok();
    world.call("GET", path, Value::Null).await.ok();
    // A person under their old address: another id, no group, no share; and the old key stays dead.
    let group = site.things(&mut world, None).await.group;
    let members = format!("/v1/workspace/groups/{group}/members");
    world.call("POST", &members, json!({"email": "who@example.com"})).await.ok();
    let before = world.call_as(&old, "GET", "/v1/user", Value::Null).await.ok();
    world.call("DELETE", "/v1/workspace/members", json!({"email": "who@example.com"})).await.ok();
    let (_, new) = site.person(&mut world, "who@example.com", SeatType::WorkspaceMember).await;
    let after = world.call_as(&new, "GET", "/v1/user", Value::Null).await.ok();
    assert_ne!(before["user_id"], after["user_id"]);
    world.call_as(&old, "GET", "/v1/user", Value::Null).await.is(401, "api_key_revoked");
    let listed = world.get(&format!("/v1/workspace/groups/{group}")).await["members"].clone();
    assert_eq!(listed, json!([]));
    // An account's and a key's id are never given twice, and what is gone does not come back by them.
    let things = Things { group, ..site.things(&mut world, None).await };
    world.call("DELETE", &things.key.path(), Value::Null).await.ok();
    for method in ["GET", "PATCH", "DELETE"] {
        let body = if method == "PATCH" { json!({"is_enabled": true, "name": "again"}) } else { Value::Null };
        world.call(method, &things.key.path(), body).await.is(404, "api_key_not_found");
    }
}
