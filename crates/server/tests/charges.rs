//! Charges while something goes wrong: nothing is counted twice, and nothing that was acknowledged is lost.

use crate::harness::{DAY, Engine, Key, World, pepper};
use crate::on_both_stores;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stead_api::verify::DecisionCode;
use stead_server::verify::{Manner, credits, usage, verify};
use stead_verify::decide::Ask;
use tokio::task::JoinSet;

on_both_stores! {
    a_store_that_fails_now_and_then_loses_no_charge
    callers_that_hang_up_leave_nothing_behind
    a_cap_may_change_and_a_key_be_rotated_while_charges_run
    a_month_may_end_while_charges_run
    a_charge_that_cannot_be_granted_takes_nothing_from_other_nodes
}

/// Answered: the cost if it was charged.
async fn charge(world: &World, secret: &str, cost: u64) -> Result<Option<u64>, Value> {
    let ask = json!({"api_key": secret, "cost": cost});
    let reply = world.call("POST", "/v1/api-keys/verify", ask).await;
    match (reply.status.as_u16(), reply.body["valid"].as_bool()) {
        (200, Some(valid)) => Ok(valid.then_some(cost)),
        _ => Err(reply.body),
    }
}

async fn capped(world: &World, cap: u64) -> Key {
    let account = world.account("ci").await;
    world.key(&account, json!({"name": "k", "character_limit": cap})).await
}

/// Clients that charge until they are told to stop; what was acknowledged, by when its month ends.
struct Load {
    clients: JoinSet<BTreeMap<i64, u64>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(world: &Arc<World>, secrets: &[&str]) -> Self {
        let (mut clients, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for (client, secret) in (0..8_u64).zip(secrets.iter().cycle()) {
            let (world, secret, stop) = (world.clone(), (*secret).to_owned(), stop.clone());
            clients.spawn(async move {
                let mut acknowledged = BTreeMap::new();
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let ask = json!({"api_key": secret, "cost": 1 + (7 * n + client) % 50});
                    let reply = world.call("POST", "/v1/api-keys/verify", ask.clone()).await;
                    if reply.status == 200 && reply.body["valid"] == true {
                        let month = reply.body["resets_at"].as_i64().unwrap_or_default();
                        *acknowledged.entry(month).or_default() += ask["cost"].as_u64().unwrap();
                    }
                    tokio::task::yield_now().await;
                }
                acknowledged
            });
        }
        Self { clients, stop }
    }

    async fn stop(self) -> BTreeMap<i64, u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = BTreeMap::new();
        for (month, sum) in self.clients.join_all().await.into_iter().flatten() {
            *all.entry(month).or_default() += sum;
        }
        all
    }
}

/// After a clean stop: used is what was acknowledged, and nothing is leased or forfeited.
async fn assert_books(world: &World, acknowledged: u64) {
    usage::close(&world.app).await.unwrap();
    let sum = async |sql| world.count(sql).await.unsigned_abs();
    assert_eq!(sum("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, acknowledged);
    assert_eq!(sum("SELECT CAST(SUM(leased) AS BIGINT) FROM credits").await, 0);
    assert_eq!(sum("SELECT CAST(SUM(forfeited) AS BIGINT) FROM credits").await, 0);
    assert_eq!(sum("SELECT COUNT(*) FROM credit_leases").await, 0);
}

async fn a_store_that_fails_now_and_then_loses_no_charge(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let key = capped(&world, 1_000_000).await;
    let load = Load::start(&world, &[&key.secret]);
    for _ in 0..20 {
        world.tamper("ALTER TABLE credit_leases RENAME TO away").await;
        usage::flush(&world.app).await.ok();
        world.tamper("ALTER TABLE away RENAME TO credit_leases").await;
        usage::flush(&world.app).await.ok();
        if engine == Engine::Postgres {
            // Sessions in the middle of an exchange, of this test only.
            let cut = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                       WHERE c.relname = 'credits' AND c.relnamespace = current_schema()::regnamespace \
                       AND l.pid <> pg_backend_pid()";
            world.tamper(cut).await;
        }
    }
    let acknowledged = load.stop().await.values().sum();
    assert!(acknowledged > 0);
    assert_books(&world, acknowledged).await;
}

async fn callers_that_hang_up_leave_nothing_behind(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let key = capped(&world, 100_000).await;
    let load = Load::start(&world, &[&key.secret]);
    let mut ours = 0;
    for _ in 0..200 {
        let ask = Ask { cost: 300, ..Ask::default() };
        tokio::select! {
            biased;
            verdict = verify(&world.app, &key.secret, &ask, Manner::default()) => {
                ours += u64::from(verdict.is_ok_and(|verdict| verdict.code == DecisionCode::Valid)) * ask.cost;
            }
            // After the first wait.
            () = std::future::ready(()) => {}
        }
        tokio::task::yield_now().await;
    }
    // Whoever comes later is not kept waiting by those who went.
    assert_eq!(charge(&world, &key.secret, 1).await, Ok(Some(1)));
    let acknowledged: u64 = load.stop().await.values().sum();
    assert_books(&world, acknowledged + ours + 1).await;
}

async fn a_cap_may_change_and_a_key_be_rotated_while_charges_run(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let key = capped(&world, 5000).await;
    let made = world.call("POST", &format!("{}/rotate", key.path()), json!({})).await.ok();
    let successor = Key::of(&key.account, &made);
    let load = Load::start(&world, &[&key.secret, &successor.secret]);
    let mut ours = 0;
    for cap in [json!(6000), json!(10), json!(null), json!(1), json!(8000), json!(1_000_000)] {
        for key in [&key, &successor] {
            world.call("PATCH", &key.path(), json!({"character_limit": cap})).await.ok();
        }
        let used = world.get(&key.path()).await["character_count"].as_u64().unwrap();
        if cap.as_u64().is_some_and(|cap| cap <= used) {
            assert_eq!(charge(&world, &key.secret, 1).await, Ok(None), "{cap}");
            assert_eq!(charge(&world, &successor.secret, 1).await, Ok(None), "{cap}");
        }
        usage::flush(&world.app).await.unwrap();
        ours += charge(&world, &successor.secret, 1).await.unwrap().unwrap_or_default();
    }
    let acknowledged: u64 = load.stop().await.values().sum();
    let shown = world.get(&successor.path()).await["character_count"].as_u64().unwrap();
    assert_eq!(shown, acknowledged + ours);
    assert_books(&world, acknowledged + ours).await;
}

async fn a_month_may_end_while_charges_run(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let key = capped(&world, 1000).await;
    let load = Load::start(&world, &[&key.secret]);
    for _ in 0..24 {
        // Somebody has charged something in this month, and then it ends, in the middle of whatever is under way.
        while world.get(&key.path()).await["character_count"] == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.advance(31 * DAY);
        usage::flush(&world.app).await.unwrap();
    }
    let acknowledged = load.stop().await;
    assert!(acknowledged.values().all(|sum| *sum <= 1000), "{acknowledged:?}");
    assert_books(&world, acknowledged.values().sum()).await;
    let used = "SELECT used FROM credits WHERE used > 0 ORDER BY period";
    let used = world.app.store.read(move |tx| tx.all(used, &[], |row| row.get::<i64>(0))).await.unwrap();
    assert_eq!(used, acknowledged.values().map(|sum| sum.cast_signed()).collect::<Vec<_>>());
}

/// Beside a small one that waits, too, it took all that was left on lease.
async fn a_charge_that_cannot_be_granted_takes_nothing_from_other_nodes(engine: Engine) {
    let world = World::new(engine).await;
    let key = capped(&world, 10_000).await;
    // 100 are held, 1 of them is spent, and all who come now have to ask: a store that is busy.
    assert_eq!(charge(&world, &key.secret, 1).await, Ok(Some(1)));
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (tell, busy) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let blocker = world.app.store.write(
        move |tx| -> Result<(), stead_server::store::Error> {
            tx.run("UPDATE credits SET used = used", &[])?;
            tell.lock().unwrap().take().map(|tell| tell.send(()));
            gate.lock().unwrap().recv().ok();
            Ok(())
        },
        |()| {},
    );
    let waiters = async {
        busy.await.unwrap();
        // Asked in this order, and answered after the gate opens.
        tokio::join!(
            biased;
            charge(&world, &key.secret, 200),
            charge(&world, &key.secret, 9900),
            charge(&world, &key.secret, 200),
            async { open.send(()).unwrap() },
        )
    };
    let (_, (first, large, second, ())) = tokio::join!(blocker, waiters);
    assert_eq!((first, large, second), (Ok(Some(200)), Ok(None), Ok(Some(200))));
    let gone = world.count("SELECT CAST(SUM(used + leased) AS BIGINT) FROM credits").await;
    assert!(gone <= 401 + 100, "{gone}");
    assert_books(&world, 401).await;
}

/// Makes each commit that grants a lease one of which nobody knows whether it stands, though it does.
async fn doubt_leases(world: &World) {
    world
        .tamper(
            "CREATE FUNCTION warns() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE WARNING ''the wait for the standby was cancelled''; RETURN NULL; END'",
        )
        .await;
    world
        .tamper(
            "CREATE CONSTRAINT TRIGGER doubt AFTER INSERT ON credit_leases DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION warns()",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_was_told_of_is_given_back() {
    let world = World::new(Engine::Postgres).await;
    let key = capped(&world, 10_000).await;
    doubt_leases(&world).await;
    assert_eq!(charge(&world, &key.secret, 1).await.unwrap_err()["detail"]["code"], "service_unavailable");
    assert_eq!(world.count("SELECT COUNT(*) FROM credit_leases").await, 1);
    assert_books(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forfeited_is_not_counted_as_used_as_well() {
    let here = World::new(Engine::Postgres).await;
    let key = capped(&here, 10_000).await;
    let there = here.another(pepper()).await;
    // A lease is a tenth of what was used.
    assert_eq!(charge(&here, &key.secret, 1000).await, Ok(Some(1000)));
    assert_eq!(charge(&here, &key.secret, 40).await, Ok(Some(40)));
    // By clocks that differ: the lease's own time is not over yet.
    here.clock.advance(200);
    credits::sweep(&there.app, false).await.unwrap();
    // What is spent of it now is within what was forfeited.
    assert_eq!(charge(&here, &key.secret, 10).await, Ok(Some(10)));
    doubt_leases(&here).await;
    charge(&here, &key.secret, 60).await.unwrap_err();
    here.tamper("DROP TRIGGER doubt ON credit_leases").await;
    assert_eq!(charge(&here, &key.secret, 1).await, Ok(Some(1)));
    usage::close(&here.app).await.unwrap();
    let used = here.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await;
    let forfeited = here.count("SELECT CAST(SUM(forfeited) AS BIGINT) FROM credits").await;
    let leased = here.count("SELECT CAST(SUM(leased) AS BIGINT) FROM credits").await;
    assert_eq!((used, forfeited, leased), (1001, 100, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ran_out_is_not_spent_from() {
    let here = World::with(Engine::Postgres, &[("max-staleness", "600")]).await;
    let key = capped(&here, 10_000).await;
    let there = here.another(pepper()).await;
    assert_eq!(charge(&here, &key.secret, 1000).await, Ok(Some(1000)));
    assert_eq!(charge(&here, &key.secret, 1).await, Ok(Some(1)));
    here.clock.advance(200);
    // A node's own lease is its own to settle, however late.
    credits::sweep(&here.app, false).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM credit_leases").await, 1);
    credits::sweep(&there.app, false).await.unwrap();
    assert_eq!(here.count("SELECT CAST(SUM(forfeited) AS BIGINT) FROM credits").await, 100);
    here.clock.elapse(61);
    here.tamper("ALTER TABLE credit_leases RENAME TO away").await;
    charge(&here, &key.secret, 1).await.unwrap_err();
    here.tamper("ALTER TABLE away RENAME TO credit_leases").await;
    assert_eq!(charge(&here, &key.secret, 1).await, Ok(Some(1)));
    // All that is left, and not one more, on either node.
    assert_eq!(charge(&here, &key.secret, 8899).await, Ok(Some(8899)));
    for node in [&here, &there] {
        assert_eq!(charge(node, &key.secret, 1).await, Ok(None));
    }
    usage::close(&here.app).await.unwrap();
    assert_eq!(here.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await, 9900);
}

/// What one node holds the other is refused: a hundredth of the cap, until it lies idle for 20 seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_holds_is_a_hundredth_and_comes_back() {
    for cap in [1, 10, 100, 10_000_u64] {
        let here = World::new(Engine::Postgres).await;
        let key = capped(&here, cap).await;
        let there = here.another(pepper()).await;
        let before = cap / 10;
        if before > 0 {
            assert_eq!(charge(&here, &key.secret, before).await, Ok(Some(before)));
        }
        let last = u64::from(before < cap);
        assert_eq!(charge(&here, &key.secret, last).await, Ok(Some(last)));
        let (left, held) = (cap - before - last, (cap / 100).max(1) - 1);
        if held > 0 {
            assert_eq!(charge(&there, &key.secret, left - held + 1).await, Ok(None));
        }
        if left > held {
            assert_eq!(charge(&there, &key.secret, left - held).await, Ok(Some(left - held)));
        }
        assert_eq!(charge(&there, &key.secret, 1).await, Ok(None));
        here.clock.elapse(21);
        usage::flush(&here.app).await.unwrap();
        if held > 0 {
            assert_eq!(charge(&there, &key.secret, held).await, Ok(Some(held)));
        }
        assert_eq!(charge(&there, &key.secret, 1).await, Ok(None));
        usage::close(&there.app).await.unwrap();
        assert_books(&here, cap).await;
    }
}

/// Those who wait for the same answer share it, also if it is that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_is_asked_once_for_all_who_wait() {
    let world = Arc::new(World::new(Engine::Sqlite).await);
    let key = capped(&world, 1000).await;
    world.tamper("ALTER TABLE credit_leases RENAME TO away").await;
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let (world, secret) = (world.clone(), key.secret.clone());
        clients.spawn(async move { charge(&world, &secret, 1).await });
    }
    for answer in clients.join_all().await {
        let answer = answer.unwrap_err();
        assert!(!answer["detail"]["message"].as_str().unwrap().contains("Too many"), "{answer}");
    }
    world.tamper("ALTER TABLE away RENAME TO credit_leases").await;
    assert_eq!(charge(&world, &key.secret, 1).await, Ok(Some(1)));
    assert_books(&world, 1).await;
}
