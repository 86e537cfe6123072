//! Usage: what was verified is counted exactly, kept over restarts and foldings, and told by key, outcome and time.

use crate::harness::{DAY, Engine, Key, START, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use stead_server::members::SeatType;
use stead_server::usage;

on_both_stores! {
    every_way_of_asking_is_counted_by_outcome_and_minute
    what_is_told_is_the_same_before_and_after_a_flush_and_a_restart
    folding_keeps_every_count
    days_and_weeks_are_those_of_the_zone
    groups_and_filters
    charges_are_told_with_the_wires_restrictions
    requests_are_told_from_the_recent_decisions
    own_usage_is_ones_own
    the_days_of_each_key
    nobody_sees_another_workspaces_usage
    wrong_questions_are_refused
    a_corrupt_block_is_left_out
}

const OVER_TIME: &str = "/v1/workspace/analytics/query/usage-by-product-over-time";
const CHARGES: &str = "/v1/workspace/analytics/usage";
const REQUESTS: &str = "/v1/workspace/analytics/requests";
const HOUR: i64 = 3600;

fn millis(seconds: i64) -> i64 {
    seconds * 1000
}

/// The table of a question, as one object for each row.
fn rows(table: &Value) -> Vec<Value> {
    let names = |list: &str| table[list].as_array().unwrap().clone();
    let columns = names("columns");
    assert_eq!((columns.len(), columns.len()), (names("column_types").len(), names("column_units").len()));
    let row = |cells: &Value| {
        let cells = cells.as_array().unwrap();
        assert_eq!(cells.len(), columns.len());
        assert!(cells.iter().all(|cell| !cell.is_array() && !cell.is_object()));
        columns.iter().map(|name| name.as_str().unwrap().to_owned()).zip(cells.iter().cloned()).collect()
    };
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

/// From a day before the tests' start to now, with more to say.
async fn over_time(world: &World, more: Value) -> Vec<Value> {
    let mut body = json!({"start_time": millis(START.seconds() - DAY), "end_time": millis(START.seconds() + 800 * DAY), "interval_seconds": DAY});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rows(&world.call("POST", OVER_TIME, body).await.ok())
}

/// All of it in one line: uses and credits.
async fn total(world: &World) -> (f64, f64) {
    let all = over_time(world, json!({})).await;
    let sum = |name: &str| all.iter().map(|row| row[name].as_f64().unwrap()).sum();
    (sum("usage_count"), sum("total_usage"))
}

async fn a_key(world: &World, name: &str) -> Key {
    let account = world.account(name).await;
    world.key(&account, json!({"name": format!("{name}'s key"), "permissions": ["text_to_speech"]})).await
}

async fn use_it(world: &World, key: &Key, times: usize, cost: u64) {
    for _ in 0..times {
        world.verify_with(json!({"cost": cost}), &key.secret).await;
    }
}

async fn every_way_of_asking_is_counted_by_outcome_and_minute(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 3, 7).await;
    world.verify_with(json!({"permissions": ["voices_write"], "cost": 9}), &key.secret).await;
    let batch = json!({"requests": [{"api_key": key.secret, "cost": 1}, {"api_key": "nonsense"}, {"api_key": key.secret, "permissions": ["voices_read"]}]});
    world.call("POST", "/v1/api-keys/verify-batch", batch).await.ok();
    world.clock.advance(60);
    let request = World::request("GET", "/v1/forward-auth?cost=5", &key.secret, &[], "");
    assert_eq!(world.send(request).await.status, 200);
    world.verify("stead_0000000000000000000000000000000000000000000000").await;
    // The same request again is one more use, and charged once.
    for _ in 0..2 {
        world.verify_with(json!({"cost": 4, "request_id": "r"}), &key.secret).await;
    }
    // Neither a rehearsal nor a call of the API itself is a verification.
    world.call("POST", &format!("/v1/api-keys/{}/simulate", key.id), json!({"cost": 1})).await.ok();
    world.get("/v1/service-accounts").await;
    world.call_as(&key.secret, "GET", "/v1/service-accounts", Value::Null).await.is(403, "insufficient_permissions");

    let from = millis(START.seconds());
    let body = json!({"start_time": from, "end_time": from + 120_000, "interval_seconds": 60, "group_by": ["outcome", "key_id", "has_api_key"]});
    let table = world.call("POST", OVER_TIME, body).await.ok();
    assert_eq!(
        table["columns"],
        json!(["timestamp", "outcome", "key_id", "has_api_key", "total_usage", "usage_count", "api_key_name"])
    );
    assert_eq!(table["column_types"], json!(["DateTime", "String", "String", "Bool", "Float", "Int", "String"]));
    assert_eq!(table["column_units"], json!([null, null, null, null, "credits", null, null]));
    let (first, second) = ("2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z");
    assert_eq!(
        table["rows"],
        json!([
            [first, "INSUFFICIENT_PERMISSIONS", key.id, true, 0.0, 2, "ci's key"],
            [first, "NOT_FOUND", null, false, 0.0, 1, null],
            [first, "VALID", key.id, true, 22.0, 4, "ci's key"],
            [second, "MALFORMED", null, false, 0.0, 1, null],
            [second, "VALID", key.id, true, 9.0, 3, "ci's key"],
        ])
    );
    // Without a word on groups: by product.
    let by_product = over_time(&world, json!({})).await;
    assert_eq!(
        by_product,
        [json!({"timestamp": "2026-11-22T00:00:00Z", "product_type": "api", "total_usage": 31.0, "usage_count": 11})]
    );
}

async fn what_is_told_is_the_same_before_and_after_a_flush_and_a_restart(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (a_key(&world, "one").await, a_key(&world, "two").await);
    let ask = json!({"interval_seconds": 60, "start_time": millis(START.seconds()), "end_time": millis(START.seconds() + HOUR), "group_by": ["key_id", "outcome"]});
    for round in 0..3 {
        use_it(&world, &one, 2, 3).await;
        use_it(&world, &two, 1, round).await;
        world.verify_with(json!({"permissions": ["voices_read"]}), &two.secret).await;
        world.clock.advance(30);
        let before = over_time(&world, ask.clone()).await;
        usage::flush(&world.app).await.unwrap();
        assert_eq!(over_time(&world, ask.clone()).await, before);
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM usage_blocks").await, 3);
    // Nothing new, nothing written.
    usage::flush(&world.app).await.unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM usage_blocks").await, 3);
    use_it(&world, &one, 5, 1).await;
    let before = over_time(&world, ask.clone()).await;
    let world = world.restarted(pepper()).await;
    assert_eq!(over_time(&world, ask.clone()).await, before);
    // A kill loses what was not flushed, and nothing else.
    use_it(&world, &one, 5, 1).await;
    let world = world.killed(pepper()).await;
    assert_eq!(over_time(&world, ask).await, before);
}

async fn folding_keeps_every_count(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (a_key(&world, "one").await, a_key(&world, "two").await);
    let (mut count, mut credits) = (0.0, 0.0);
    // Some days of verifications, at all hours, flushed many times.
    for step in 0..40_u32 {
        use_it(&world, &one, 1, u64::from(step)).await;
        use_it(&world, &two, 2, 1).await;
        (count, credits) = (count + 3.0, credits + f64::from(step) + 2.0);
        usage::flush(&world.app).await.unwrap();
        world.clock.advance(20);
        use_it(&world, &two, 1, 0).await;
        count += 1.0;
        world.clock.advance(7000 - 20);
        if step % 5 == 0 {
            usage::fold(&world.app).await.unwrap();
        }
        assert_eq!(total(&world).await, (count, credits), "{step}");
    }
    usage::flush(&world.app).await.unwrap();
    let of = async |resolution: i64, loose: bool| {
        let sql = match (resolution, loose) {
            (60, false) => "SELECT COUNT(*) FROM usage_blocks WHERE resolution = 60",
            (60, true) => "SELECT COUNT(*) FROM usage_blocks WHERE resolution = 60 AND NOT is_folded",
            (3600, _) => "SELECT COUNT(*) FROM usage_blocks WHERE resolution = 3600",
            _ => "SELECT COUNT(*) FROM usage_blocks WHERE resolution = 86400",
        };
        world.count(sql).await
    };
    let by_hour = json!({"interval_seconds": HOUR, "end_time": millis(START.seconds() + 5 * DAY), "group_by": ["key_id", "outcome"]});
    let by_day = json!({"group_by": ["key_id", "outcome"], "end_time": millis(START.seconds() + 5 * DAY)});
    let (hours, days) = (over_time(&world, by_hour.clone()).await, over_time(&world, by_day.clone()).await);
    // The hours ended: their blocks are gathered.
    world.clock.advance(2 * HOUR);
    usage::fold(&world.app).await.unwrap();
    assert_eq!(of(60, true).await, 0);
    assert!(of(60, false).await > 0 && of(3600, false).await > 0);
    assert_eq!(over_time(&world, by_hour.clone()).await, hours);
    // Two days later all are hours; a straggler that comes after is kept as well.
    world.clock.advance(49 * HOUR);
    usage::fold(&world.app).await.unwrap();
    assert_eq!(of(60, false).await, 0);
    assert_eq!(over_time(&world, by_hour).await, hours);
    assert_eq!(over_time(&world, by_day.clone()).await, days);
    // After 90 days they are days, after five years nothing; and folding twice changes nothing.
    world.clock.advance(94 * DAY);
    usage::fold(&world.app).await.unwrap();
    usage::fold(&world.app).await.unwrap();
    assert_eq!((of(60, false).await, of(3600, false).await), (0, 0));
    assert!(of(86_400, false).await > 0);
    assert_eq!(over_time(&world, by_day.clone()).await, days);
    assert_eq!(total(&world).await, (count, credits));
    world.clock.advance(40 * DAY);
    usage::fold(&world.app).await.unwrap();
    assert_eq!(of(86_400, false).await, 1);
    assert_eq!(over_time(&world, by_day.clone()).await, days);
    world.clock.advance(5 * 366 * DAY);
    usage::fold(&world.app).await.unwrap();
    assert_eq!(of(86_400, false).await, 0);
}

async fn days_and_weeks_are_those_of_the_zone(engine: Engine) {
    // 2026-11-22 is a Sunday; the tests begin at noon.
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    // 12:00, 19:00, 02:00, 09:00, … in UTC, each with its own cost.
    let mut uses = Vec::new();
    for step in 0..8 {
        use_it(&world, &key, 1, 1 << step).await;
        uses.push((START.seconds() + i64::from(step) * 7 * HOUR, f64::from(1 << step)));
        world.clock.advance(7 * HOUR);
    }
    usage::flush(&world.app).await.unwrap();
    let check = async |folded: &str| {
        for (zone, interval, starts) in [
            ("UTC", DAY, vec!["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"]),
            ("Europe/Berlin", DAY, vec!["2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z", "2026-11-23T23:00:00Z"]),
            ("Asia/Kolkata", DAY, vec!["2026-11-21T18:30:00Z", "2026-11-22T18:30:00Z", "2026-11-23T18:30:00Z"]),
            ("America/New_York", 7 * DAY, vec!["2026-11-16T05:00:00Z", "2026-11-23T05:00:00Z"]),
            ("America/New_York", 6 * HOUR, vec![]),
        ] {
            let told = over_time(&world, json!({"time_zone": zone, "interval_seconds": interval, "end_time": millis(START.seconds() + 4 * DAY), "group_by": []})).await;
            let seconds = |row: &Value| row["timestamp"].as_str().unwrap().to_owned();
            if !starts.is_empty() {
                assert_eq!(told.iter().map(seconds).collect::<Vec<_>>(), starts, "{zone} {folded}");
            }
            // Each use is in the last bucket that begins before it.
            for row in &told {
                let credits = row["total_usage"].as_f64().unwrap();
                let from = row["timestamp"].as_str().unwrap();
                let next = told.iter().map(seconds).find(|next| next.as_str() > from);
                let at = |seconds: i64| {
                    let days = seconds.div_euclid(DAY) - START.seconds().div_euclid(DAY);
                    let rest = seconds.rem_euclid(DAY);
                    format!("2026-11-{:02}T{:02}:{:02}:00Z", 22 + days, rest / 3600, rest % 3600 / 60)
                };
                let expected: f64 = uses
                    .iter()
                    .filter(|(used, _)| {
                        from <= at(*used).as_str() && next.as_ref().is_none_or(|next| at(*used) < *next)
                    })
                    .map(|(_, cost)| cost)
                    .sum();
                assert!((credits - expected).abs() < 0.1, "{zone} {folded} {from}: {credits}, not {expected}");
            }
        }
    };
    check("in minutes").await;
    world.clock.advance(3 * DAY);
    usage::fold(&world.app).await.unwrap();
    check("in hours").await;
    // In days, those of UTC are still exact.
    world.clock.advance(95 * DAY);
    usage::fold(&world.app).await.unwrap();
    let days = over_time(&world, json!({"group_by": []})).await;
    let credits: Vec<_> = days.iter().map(|row| row["total_usage"].as_f64().unwrap()).collect();
    assert_eq!(credits, [3.0, 60.0, 192.0]);
}

async fn groups_and_filters(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (a_key(&world, "one").await, a_key(&world, "two").await);
    use_it(&world, &one, 4, 10).await;
    use_it(&world, &two, 2, 5).await;
    world.verify_with(json!({"permissions": ["voices_read"]}), &two.secret).await;
    world.verify("nonsense").await;
    // A revoked key still has a name.
    world.call("DELETE", &two.path(), Value::Null).await.ok();
    world.verify(&two.secret).await;
    usage::flush(&world.app).await.unwrap();
    let listed = world.get(&format!("/v1/service-accounts/{}", one.account)).await;
    let hash = listed["api-keys"][0]["hashed_xi_api_key"].clone();
    let by_user = over_time(&world, json!({"group_by": ["user_id", "hashed_xi_api_key"], "filters": [{"column": "outcome", "operation": "eq", "values": ["VALID"]}]})).await;
    assert_eq!(by_user.len(), 2);
    let ours = by_user.iter().find(|row| row["user_id"] == one.account.as_str()).unwrap();
    assert_eq!(
        *ours,
        json!({"timestamp": "2026-11-22T00:00:00Z", "user_id": one.account, "hashed_xi_api_key": hash, "total_usage": 40.0,
            "usage_count": 4, "user_label": "one", "api_key_name": "one's key"})
    );
    let theirs = by_user.iter().find(|row| row["user_id"] == two.account.as_str()).unwrap();
    assert_eq!((&theirs["api_key_name"], &theirs["usage_count"]), (&json!("two's key"), &json!(2)));
    let count = async |filters: Value| {
        let told = over_time(&world, json!({"group_by": ["outcome", "key_id"], "filters": filters})).await;
        told.iter().map(|row| row["usage_count"].as_i64().unwrap()).sum::<i64>()
    };
    for (column, operation, values, expected) in [
        ("outcome", "in", json!(["VALID", "NOT_FOUND"]), 7),
        ("outcome", "not_in", json!(["VALID"]), 3),
        ("outcome", "neq", json!(["VALID"]), 3),
        ("outcome", "lt", json!(["O"]), 2),
        ("key_id", "eq", json!([one.id]), 4),
        ("key_id", "eq", json!([null]), 1),
        ("user_id", "in", json!([two.account]), 4),
        ("service_account_user_id", "neq", json!([two.account]), 5),
        ("hashed_xi_api_key", "eq", json!([hash]), 4),
        ("has_api_key", "eq", json!([false]), 1),
        ("region", "eq", json!(["self_hosted"]), 9),
        ("product_type", "eq", json!(["api"]), 9),
        ("request_source", "neq", json!(["api"]), 0),
        ("reporting_workspace_id", "eq", json!([world.workspace.as_str()]), 9),
        ("voice_id", "eq", json!(["v"]), 0),
        ("voice_id", "eq", json!([null]), 9),
        ("usage_count", "ge", json!([2]), 6),
        ("total_usage", "gt", json!([0]), 6),
        ("timestamp", "ge", json!(["2026-11-22T00:00:00.000Z"]), 9),
        ("timestamp", "lt", json!([millis(START.seconds() - DAY)]), 0),
    ] {
        let filter = json!([{"column": column, "operation": operation, "values": values}]);
        assert_eq!(count(filter).await, expected, "{column} {operation} {values}");
    }
    // All of several must let a row through.
    let both = json!([{"column": "outcome", "operation": "eq", "values": ["VALID"]}, {"column": "key_id", "operation": "neq", "values": [one.id]}]);
    assert_eq!(count(both).await, 2);
    // Every name of the wire can be grouped by; what Stead knows nothing of is null.
    let wire = [
        "product_type",
        "model",
        "voice_id",
        "user_id",
        "fiat_currency",
        "fiat_charge_type",
        "region",
        "reporting_workspace_id",
        "request_source",
        "resource_id",
        "subresource_id",
        "request_queue_type",
        "voice_multiplier",
        "hashed_xi_api_key",
        "billing_group_id",
        "surface",
        "actor",
    ];
    let all = over_time(&world, json!({"group_by": wire})).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|row| row["model"].is_null() && row["actor"].is_null() && row["region"] == "self_hosted"));
    assert!(all.iter().all(|row| row["reporting_workspace_name"].is_string()));
}

async fn charges_are_told_with_the_wires_restrictions(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 2, 6).await;
    world.verify_with(json!({"permissions": ["voices_read"]}), &key.secret).await;
    world.clock.advance(DAY);
    use_it(&world, &key, 1, 3).await;
    let ask = async |more: Value| {
        let mut body = json!({"start_time": millis(START.seconds()), "end_time": millis(START.seconds() + 2 * DAY), "interval_seconds": DAY});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call("POST", CHARGES, body).await
    };
    let table = ask(json!({"group_by": ["user_id"]})).await.ok();
    assert_eq!(
        table["columns"],
        json!(["timestamp", "user_id", "total_cost", "total_charge_count", "total_usage", "user_label"])
    );
    assert_eq!(table["column_units"], json!([null, null, "usd", null, "credits", null]));
    assert_eq!(
        table["rows"],
        json!([
            ["2026-11-22T00:00:00Z", key.account, 0.0, 2, 12.0, "ci"],
            ["2026-11-23T00:00:00Z", key.account, 0.0, 1, 3.0, "ci"],
        ])
    );
    let filter = |column: &str, operation: &str| json!([{"column": column, "operation": operation, "values": ["x"]}]);
    for (more, blamed) in [
        (json!({"interval_seconds": null}), "body.interval_seconds"),
        (json!({"interval_seconds": 3600}), "body.interval_seconds"),
        (json!({"interval_seconds": DAY + 1}), "body.interval_seconds"),
        (json!({"group_by": ["voice_id"]}), "body.group_by"),
        (json!({"group_by": ["outcome"]}), "body.group_by"),
        (json!({"group_by": ["user_id", "region", "surface"]}), "body.group_by"),
        (json!({"group_by": ["user_id", "region"], "filters": filter("actor", "eq")}), "body.group_by"),
        (json!({"group_by": ["user_id", "region"]}), "body.group_by"),
        (json!({"group_by": ["user_id", "region"], "filters": filter("region", "neq")}), "body.group_by"),
        (json!({"filters": filter("region", "lt")}), "body.filters.0.operation"),
        (json!({"filters": filter("voice_id", "eq")}), "body.filters.0.column"),
    ] {
        let blames = ask(more.clone()).await.blamed();
        assert!(blames.iter().any(|place| place == blamed), "{more}: {blames:?}");
    }
    let two =
        ask(json!({"group_by": ["user_id", "region", "model", "fiat_currency"], "filters": filter("region", "in")}))
            .await
            .ok();
    assert_eq!(two["rows"], json!([]));
    let filters = json!([{"column": "region", "operation": "eq", "values": ["self_hosted"]}]);
    let two = ask(json!({"group_by": ["user_id", "region"], "filters": filters})).await.ok();
    assert_eq!(two["rows"].as_array().unwrap().len(), 2);
}

async fn requests_are_told_from_the_recent_decisions(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    for n in 0..3 {
        world.verify_with(json!({"permissions": ["voices_read"], "ip": format!("192.0.2.{n}")}), &key.secret).await;
        world.clock.advance(10);
    }
    world.verify("nonsense").await;
    let denials = json!([{"column": "outcome", "operation": "neq", "values": ["VALID"]}]);
    let ask = async |more: Value| {
        let mut body = json!({"start_time": millis(START.seconds()), "filters": denials});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call("POST", REQUESTS, body).await
    };
    let told = rows(&ask(json!({})).await.ok());
    let codes: Vec<_> = told.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    let lacking = "INSUFFICIENT_PERMISSIONS";
    assert_eq!(codes, [lacking, lacking, lacking, "NOT_FOUND"]);
    let first = &told[0];
    assert_eq!(
        (&first["key_id"], &first["user_id"], &first["ip"], &first["user_label"], &first["api_key_name"]),
        (&json!(key.id), &json!(key.account), &json!("192.0.2.0"), &json!("ci"), &json!("ci's key"))
    );
    assert!(first["hashed_xi_api_key"].is_string() && told[3]["hashed_xi_api_key"].is_null());
    world.get(&format!("/v1/decisions/{}", first["request_id"].as_str().unwrap())).await;
    // With an end, the newest first; up to the end.
    let newest = rows(&ask(json!({"end_time": millis(START.seconds() + 25), "limit": 2})).await.ok());
    let ips: Vec<_> = newest.iter().map(|row| row["ip"].as_str().unwrap()).collect();
    assert_eq!(ips, ["192.0.2.2", "192.0.2.1"]);
    let found = rows(&ask(json!({"search": "192.0.2.1"})).await.ok());
    assert_eq!(found.len(), 1);
    assert_eq!(rows(&ask(json!({"search": "CI'S KEY", "sort": "desc"})).await.ok()).len(), 3);
    assert!(rows(&ask(json!({"search": key.secret})).await.ok()).is_empty());
    let none = json!({"start_time": millis(START.seconds() + 1000)});
    assert!(rows(&ask(none).await.ok()).is_empty());
    for (body, blamed) in [
        (json!({}), vec!["body.start_time"]),
        (json!({"start_time": 5}), vec!["body.start_time"]),
        (json!({"start_time": millis(START.seconds()), "end_time": millis(START.seconds())}), vec!["body.end_time"]),
        (
            json!({"end_time": millis(START.seconds()), "limit": 0, "sort": "up", "search": 7}),
            vec!["body.limit", "body.sort", "body.search"],
        ),
        (json!({"end_time": millis(START.seconds()), "limit": 1001}), vec!["body.limit"]),
        (
            json!({"end_time": millis(START.seconds()), "filters": [{"column": "secret", "operation": "eq", "values": []}]}),
            vec!["body.filters.0.column"],
        ),
    ] {
        assert_eq!(world.call("POST", REQUESTS, body.clone()).await.blamed(), blamed, "{body}");
    }
}

async fn own_usage_is_ones_own(engine: Engine) {
    let world = World::new(engine).await;
    let (one, two) = (a_key(&world, "one").await, a_key(&world, "two").await);
    let reader = world.key(&one.account, json!({"name": "reader", "permissions": ["user_read"]})).await;
    use_it(&world, &one, 2, 5).await;
    use_it(&world, &reader, 1, 1).await;
    use_it(&world, &two, 1, 100).await;
    world.clock.advance(DAY);
    use_it(&world, &one, 1, 2).await;
    world.verify_with(json!({"permissions": ["voices_read"]}), &one.secret).await;
    let path = |more: &str| {
        let (from, to) = (millis(START.seconds() - DAY), millis(START.seconds() + 2 * DAY));
        format!("/v1/usage/character-stats?start_unix={from}&end_unix={to}{more}")
    };
    let ask = async |key: &str, more: &str| world.call_as(key, "GET", &path(more), Value::Null).await;
    let days: Vec<_> = (-1..3).map(|day| millis(START.seconds() - 12 * HOUR + day * DAY)).collect();
    let own = ask(&reader.secret, "").await.ok();
    assert_eq!(own, json!({"time": days, "usage": {"All": [0.0, 11.0, 2.0, 0.0]}}));
    // Of all there is, for who may read the analytics.
    let all = ask(&world.admin, "&include_workspace_metrics=true").await.ok();
    assert_eq!(all["usage"], json!({"All": [0.0, 111.0, 2.0, 0.0]}));
    let users =
        ask(&world.admin, "&include_workspace_metrics=true&breakdown_type=user&metric=request_count").await.ok();
    assert_eq!(users["usage"], json!({"one": [0.0, 3.0, 2.0, 0.0], "two": [0.0, 1.0, 0.0, 0.0]}));
    let keys = ask(&reader.secret, "&breakdown_type=all_api_keys").await.ok();
    assert_eq!(keys["usage"], json!({"one's key": [0.0, 10.0, 2.0, 0.0], "reader": [0.0, 1.0, 0.0, 0.0]}));
    // Two keys of one name are two series.
    let twin = world.key(&one.account, json!({"name": "reader"})).await;
    use_it(&world, &twin, 1, 9).await;
    let keys = ask(&reader.secret, "&breakdown_type=api_keys").await.ok();
    assert_eq!(keys["usage"].as_object().unwrap().len(), 3);
    for (more, expected) in [
        ("&aggregation_interval=cumulative", vec![22.0]),
        ("&aggregation_interval=week", vec![11.0, 11.0]),
        ("&aggregation_interval=month", vec![22.0]),
        ("&aggregation_bucket_size=172800", vec![11.0, 11.0]),
        ("&aggregation_interval=month&metric=minutes_used", vec![0.0]),
    ] {
        let told = ask(&reader.secret, more).await.ok();
        let series: Vec<f64> = serde_json::from_value(told["usage"]["All"].clone()).unwrap();
        let nonzero: Vec<_> = series.iter().filter(|number| **number > 0.0).copied().collect();
        let expected: Vec<f64> = expected.into_iter().filter(|number| *number > 0.0).collect();
        assert_eq!((nonzero, series.len()), (expected, told["time"].as_array().unwrap().len()), "{more}");
    }
    let hours = ask(&reader.secret, "&aggregation_interval=hour").await.ok();
    assert_eq!(hours["time"].as_array().unwrap().len(), 72);
    // What Stead has no data for is in one series; nobody has used anything, and there are none but `All`.
    assert_eq!(ask(&reader.secret, "&breakdown_type=voice").await.ok()["usage"], json!({"": [0.0, 11.0, 11.0, 0.0]}));
    let (_, person) = world.person("p@example.com", SeatType::WorkspaceMember).await;
    assert_eq!(ask(&person, "").await.ok()["usage"], json!({"All": [0.0, 0.0, 0.0, 0.0]}));
    assert_eq!(ask(&person, "&breakdown_type=api_keys").await.ok()["usage"], json!({}));
    // The workspace's is for admins, and for members of a group that may, with a key that may.
    let refused = ask(&reader.secret, "&include_workspace_metrics=true").await;
    refused.is(403, "insufficient_permissions");
    assert_eq!(refused.body["detail"]["missing_permissions"], json!(["workspace_analytics_full_read"]));
    ask(&person, "&include_workspace_metrics=true").await.is(403, "insufficient_permissions");
    let (analyst, secret) = world.person("a@example.com", SeatType::WorkspaceMember).await;
    world.group(&["workspace_analytics_full_read"], vec![analyst]).await;
    ask(&secret, "&include_workspace_metrics=true").await.ok();
    let body = json!({"start_time": millis(START.seconds()), "end_time": millis(START.seconds() + DAY)});
    world.call_as(&secret, "POST", OVER_TIME, body).await.ok();
    for (more, blamed) in [
        ("&breakdown_type=user", "query.breakdown_type"),
        ("&breakdown_type=nonsense", "query.breakdown_type"),
        ("&aggregation_interval=fortnight", "query.aggregation_interval"),
        ("&aggregation_bucket_size=0", "query.aggregation_bucket_size"),
        ("&aggregation_bucket_size=1", "query.aggregation_interval"),
        ("&metric=joy", "query.metric"),
        ("&include_workspace_metrics=yes", "query.include_workspace_metrics"),
    ] {
        assert_eq!(ask(&reader.secret, more).await.blamed(), [blamed], "{more}");
    }
    let bare = world.call_as(&reader.secret, "GET", "/v1/usage/character-stats", Value::Null).await;
    assert_eq!(bare.blamed(), ["query.start_unix", "query.end_unix"]);
    let early = "/v1/usage/character-stats?start_unix=1577836799999&end_unix=x";
    assert_eq!(world.call("GET", early, Value::Null).await.blamed(), ["query.start_unix", "query.end_unix"]);
}

async fn the_days_of_each_key(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 2, 5).await;
    world.verify_with(json!({"permissions": ["voices_read"]}), &key.secret).await;
    world.clock.advance(DAY);
    use_it(&world, &key, 1, 1).await;
    world.call("POST", &format!("{}/disable", key.path()), Value::Null).await.ok();
    world.verify(&key.secret).await;
    let midnight = START.seconds() - 12 * HOUR;
    let told = world.get("/v1/workspace/usage/api-keys?days=3").await;
    assert_eq!(
        told,
        json!({
            "days": [midnight - DAY, midnight, midnight + DAY],
            "api_keys": [{
                "key_id": key.id, "service_account_user_id": key.account, "granted": [0, 2, 1], "denied": [0, 1, 1],
                "credits": [0, 10, 1], "denials": {"INSUFFICIENT_PERMISSIONS": 1, "DISABLED": 1},
            }],
        })
    );
    assert_eq!(world.get("/v1/workspace/usage/api-keys").await["days"].as_array().unwrap().len(), 30);
    for bad in ["0", "91", "x", "-1", ""] {
        let reply = world.call("GET", &format!("/v1/workspace/usage/api-keys?days={bad}"), Value::Null).await;
        assert_eq!(reply.blamed(), ["query.days"], "{bad}");
    }
    // Who is no admin doesn't see other people's keys.
    let (person, secret) = world.person("p@example.com", SeatType::WorkspaceMember).await;
    world.verify(&secret).await;
    assert_eq!(world.get("/v1/workspace/usage/api-keys").await["api_keys"].as_array().unwrap().len(), 2);
    let (manager, manages) = world.person("m@example.com", SeatType::WorkspaceMember).await;
    world.group(&["service_accounts_manage"], vec![manager]).await;
    let seen = world.call_as(&manages, "GET", "/v1/workspace/usage/api-keys", Value::Null).await.ok();
    assert_eq!(seen["api_keys"].as_array().unwrap().len(), 1);
    assert!(!seen.to_string().contains(person.as_str()));
}

async fn nobody_sees_another_workspaces_usage(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 2, 5).await;
    let foreign = world.foreign_admin().await;
    // Asked about by the other workspace, a key of ours is an unknown one of theirs.
    world.call_as(&foreign, "POST", "/v1/api-keys/verify", json!({"api_key": key.secret})).await.ok();
    let (from, to) = (millis(START.seconds() - DAY), millis(START.seconds() + DAY));
    for flushed in [false, true] {
        if flushed {
            usage::flush(&world.app).await.unwrap();
        }
        let body =
            json!({"start_time": from, "end_time": to, "interval_seconds": DAY, "group_by": ["key_id", "outcome"]});
        let told = rows(&world.call_as(&foreign, "POST", OVER_TIME, body).await.ok());
        assert_eq!(told.len(), 1);
        assert_eq!(
            (&told[0]["outcome"], &told[0]["key_id"], &told[0]["usage_count"]),
            (&json!("NOT_FOUND"), &json!(null), &json!(1))
        );
        for (method, path, body) in [
            (
                "POST",
                CHARGES.to_owned(),
                json!({"start_time": from, "end_time": to, "interval_seconds": DAY, "group_by": ["user_id"]}),
            ),
            ("POST", REQUESTS.to_owned(), json!({"start_time": from})),
            (
                "GET",
                format!(
                    "/v1/usage/character-stats?start_unix={from}&end_unix={to}&include_workspace_metrics=true&breakdown_type=user"
                ),
                Value::Null,
            ),
            ("GET", "/v1/workspace/usage/api-keys".to_owned(), Value::Null),
        ] {
            let told = world.call_as(&foreign, method, &path, body).await.ok().to_string();
            assert!(!told.contains(&key.id) && !told.contains(&key.account), "{path}: {told}");
        }
        assert_eq!(total(&world).await, (2.0, 10.0));
    }
}

async fn wrong_questions_are_refused(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 1, 1).await;
    let good = json!({"start_time": millis(START.seconds()), "end_time": millis(START.seconds() + DAY)});
    world.call("POST", OVER_TIME, good.clone()).await.ok();
    let filter = |column: Value, operation: Value, values: Value| json!({"filters": [{"column": column, "operation": operation, "values": values}]});
    let many: Vec<_> = (0..1001).collect();
    for (more, blamed) in [
        (json!({"start_time": null}), "body.start_time"),
        (json!({"start_time": 1_577_836_799_999_i64}), "body.start_time"),
        (json!({"start_time": "2026-01-01"}), "body.start_time"),
        (json!({"start_time": 1.5}), "body.start_time"),
        (json!({"end_time": i64::MAX}), "body.end_time"),
        (json!({"end_time": millis(START.seconds())}), "body.end_time"),
        (json!({"interval_seconds": 0}), "body.interval_seconds"),
        (json!({"interval_seconds": "60"}), "body.interval_seconds"),
        (json!({"interval_seconds": 1}), "body.interval_seconds"),
        (json!({"interval_seconds": 1_000_000_000}), "body.interval_seconds"),
        (json!({"time_zone": "Mars/Olympus"}), "body.time_zone"),
        (json!({"time_zone": ""}), "body.time_zone"),
        (json!({"time_zone": "../../etc/passwd"}), "body.time_zone"),
        (json!({"time_zone": 7}), "body.time_zone"),
        (json!({"group_by": "user_id"}), "body.group_by"),
        (json!({"group_by": ["colour"]}), "body.group_by"),
        (json!({"group_by": [7]}), "body.group_by"),
        (json!({"filters": {}}), "body.filters"),
        (json!({"filters": [7]}), "body.filters.0"),
        (json!({"filters": vec![json!({"column": "outcome", "operation": "in", "values": []}); 51]}), "body.filters"),
        (filter(json!("colour"), json!("eq"), json!([])), "body.filters.0.column"),
        (filter(json!(null), json!("eq"), json!([])), "body.filters.0.column"),
        (filter(json!("outcome"), json!("like"), json!([])), "body.filters.0.operation"),
        (filter(json!("outcome"), json!(null), json!([])), "body.filters.0.operation"),
        (filter(json!("outcome"), json!("eq"), json!(null)), "body.filters.0.values"),
        (filter(json!("outcome"), json!("eq"), json!("VALID")), "body.filters.0.values"),
        (filter(json!("outcome"), json!("eq"), json!([{}])), "body.filters.0.values"),
        (filter(json!("outcome"), json!("eq"), json!(many)), "body.filters.0.values"),
        (filter(json!("outcome"), json!("lt"), json!(["A", "B"])), "body.filters.0.values"),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let blames = world.call("POST", OVER_TIME, body).await.blamed();
        assert!(blames.contains(&blamed.to_owned()), "{more}: {blames:?}");
    }
    // All mistakes at once; nothing is a mistake that the SDKs send.
    let all = json!({"start_time": 1, "interval_seconds": 0, "time_zone": "x", "group_by": 1, "filters": 1});
    assert_eq!(world.call("POST", OVER_TIME, all).await.blamed().len(), 6);
    let mut nulls = good.clone();
    nulls
        .as_object_mut()
        .unwrap()
        .extend(json!({"group_by": null, "filters": null, "time_zone": "UTC", "more": 1}).as_object().unwrap().clone());
    world.call("POST", OVER_TIME, nulls).await.ok();
    // Too many groups for so many buckets.
    let keys = 12;
    for _ in 0..keys {
        let one = world.key(&key.account, json!({"name": "k"})).await;
        world.verify(&one.secret).await;
    }
    let wide = json!({"start_time": millis(START.seconds()), "end_time": millis(START.seconds() + 9000 * 60), "group_by": ["key_id"]});
    assert_eq!(world.call("POST", OVER_TIME, wide.clone()).await.blamed(), ["body.interval_seconds"]);
    // Nor too many columns.
    let all = [
        "product_type",
        "model",
        "voice_id",
        "user_id",
        "fiat_currency",
        "fiat_charge_type",
        "region",
        "reporting_workspace_id",
        "request_source",
        "resource_id",
        "subresource_id",
        "request_queue_type",
        "voice_multiplier",
        "hashed_xi_api_key",
        "billing_group_id",
        "surface",
        "actor",
        "has_api_key",
        "key_id",
        "service_account_user_id",
        "outcome",
    ];
    let mut columns = wide.clone();
    columns["end_time"] = json!(millis(START.seconds() + 1200 * 60));
    world.call("POST", OVER_TIME, columns.clone()).await.ok();
    columns["group_by"] = json!(all);
    assert_eq!(world.call("POST", OVER_TIME, columns).await.blamed(), ["body.interval_seconds"]);
    let mut fewer = wide;
    fewer["interval_seconds"] = json!(HOUR);
    assert_eq!(rows(&world.call("POST", OVER_TIME, fewer).await.ok()).len(), keys + 1);
}

async fn a_corrupt_block_is_left_out(engine: Engine) {
    let world = World::new(engine).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 1, 1).await;
    usage::flush(&world.app).await.unwrap();
    world.tamper("UPDATE usage_blocks SET body = key_digests.digest FROM key_digests").await;
    use_it(&world, &key, 2, 1).await;
    usage::flush(&world.app).await.unwrap();
    assert_eq!(total(&world).await, (2.0, 2.0));
    world.clock.advance(2 * HOUR);
    usage::fold(&world.app).await.unwrap();
    assert_eq!(total(&world).await, (2.0, 2.0));
    assert_eq!(world.count("SELECT COUNT(*) FROM usage_blocks").await, 1);
}

/// Both nodes count, flush and fold at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_count_together() {
    let here = World::new(Engine::Postgres).await;
    let key = a_key(&here, "ci").await;
    let there = here.another(pepper()).await;
    let mut uses = 0.0;
    for round in 0..6 {
        use_it(&here, &key, 2, 3).await;
        use_it(&there, &key, 1, 4).await;
        uses += 1.0;
        let (one, two) = tokio::join!(usage::flush(&here.app), usage::flush(&there.app));
        one.and(two).unwrap();
        here.clock.advance(if round < 3 { HOUR } else { 30 * DAY });
        let (one, two) = tokio::join!(usage::fold(&here.app), usage::fold(&there.app));
        one.and(two).unwrap();
        assert_eq!(total(&here).await, (3.0 * uses, 10.0 * uses));
        assert_eq!(total(&there).await, (3.0 * uses, 10.0 * uses));
    }
}

/// A store that takes nothing for a while: counts wait, and are told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_wait_for_a_store_that_takes_nothing() {
    let world = World::new(Engine::Sqlite).await;
    let key = a_key(&world, "ci").await;
    use_it(&world, &key, 2, 1).await;
    world.tamper("ALTER TABLE usage_blocks RENAME TO elsewhere").await;
    usage::flush(&world.app).await.unwrap_err();
    use_it(&world, &key, 1, 1).await;
    usage::flush(&world.app).await.unwrap_err();
    world.tamper("ALTER TABLE elsewhere RENAME TO usage_blocks").await;
    assert_eq!(total(&world).await, (3.0, 3.0));
    usage::flush(&world.app).await.unwrap();
    assert_eq!(total(&world).await, (3.0, 3.0));
    assert_eq!(world.count("SELECT COUNT(*) FROM usage_blocks").await, 2);
}

/// How long a question takes, about 90 days of a thousand keys that are busy in every hour, two of them in every minute:
/// `cargo xtask test -- --release -p stead-server --test main -- --ignored --nocapture cost_of_questions`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "it says what it measured")]
async fn the_cost_of_questions_about_usage() {
    use stead_server::store::Tx;
    use stead_server::usage::block::{Cell, Totals, encode};
    let world = World::new(Engine::Sqlite).await;
    let cells = |units: u16| {
        let totals = Totals { count: 60, credits: 1000 };
        let of_key = move |key: u128| (0..units).map(move |unit| Cell { key, unit, outcome: 0, totals });
        encode(&(2..1002).map(|key| key << 64).flat_map(of_key).collect::<Vec<_>>())
    };
    let (minutes, hours) = (cells(60), cells(24));
    let today = START.seconds() - 12 * HOUR;
    let spans = (0..48).map(|n| (60, today - 36 * HOUR + n * HOUR, minutes.clone()));
    let spans = spans.chain((0..88).map(|n| (HOUR, today - (n + 3) * DAY, hours.clone())));
    let spans: Vec<_> = spans.collect();
    let bytes: usize = spans.iter().flat_map(|(_, _, blocks)| blocks).map(Vec::len).sum();
    let workspace = world.workspace.clone();
    let work = move |tx: &mut Tx<'_>| {
        for (resolution, starts_at, blocks) in &spans {
            for (seq, body) in (0_i64..).zip(blocks) {
                tx.run(
                    "INSERT INTO usage_blocks (workspace_id, resolution, starts_at, node_id, seq, is_folded, body) \
                     VALUES ($1, $2, $3, 'n', $4, TRUE, $5)",
                    &[
                        workspace.as_str().into(),
                        (*resolution).into(),
                        (*starts_at * 1_000_000).into(),
                        seq.into(),
                        body.clone().into(),
                    ],
                )?;
            }
        }
        Ok::<_, stead_server::store::Error>(())
    };
    let done = world.app.store.write(work, |()| {}).await;
    assert!(matches!(done, stead_server::store::Written::Committed(())));
    let (from, to) = (millis(today - 90 * DAY), millis(today + DAY));
    for (group_by, interval) in [(json!([]), DAY), (json!(["key_id"]), DAY), (json!([]), HOUR)] {
        let body = json!({"start_time": from, "end_time": to, "interval_seconds": interval, "group_by": group_by});
        let started = std::time::Instant::now();
        let table = world.call("POST", OVER_TIME, body).await.ok();
        let rows = table["rows"].as_array().unwrap().len();
        println!("{group_by} by {interval} s: {:?}, {rows} rows from {bytes} bytes", started.elapsed());
    }
}
