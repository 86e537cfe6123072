//! The engine by itself.

use crate::harness::{Engine, World};
use crate::on_both_stores;
use std::sync::Arc;
use stead_server::store::{Error, Location, Store, Tx, Written};

on_both_stores! {
    a_refused_write_takes_no_other_with_it
    a_panic_in_a_write_is_undone_and_harms_nobody
    a_write_whose_caller_went_away_is_whole
    a_newer_schema_is_refused
    an_edited_migration_is_refused
    values_come_back_as_they_went
}

const READ: &str = "SELECT seq FROM change_clock WHERE bucket = 0";

async fn read(world: &World) -> i64 {
    world.count(READ).await
}

async fn add(store: &Store, fails: bool) -> Written<(), Error> {
    let work = move |tx: &mut Tx<'_>| {
        tx.run("UPDATE change_clock SET seq = seq + 1 WHERE bucket = 0", &[])?;
        if fails { Err(Error::Defect("on purpose".into())) } else { Ok(()) }
    };
    store.write(work, |()| {}).await
}

async fn a_refused_write_takes_no_other_with_it(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let before = read(&world).await;
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..60 {
        let world = world.clone();
        writes.spawn(async move { matches!(add(&world.app.store, n % 3 == 0).await, Written::Committed(())) });
    }
    let committed = writes.join_all().await.into_iter().filter(|committed| *committed).count();
    assert_eq!(committed, 40);
    assert_eq!(read(&world).await - before, 40);
}

async fn a_panic_in_a_write_is_undone_and_harms_nobody(engine: Engine) {
    let world = World::new(engine).await;
    let before = read(&world).await;
    let work = |tx: &mut Tx<'_>| -> Result<(), Error> {
        tx.run("UPDATE change_clock SET seq = seq + 1 WHERE bucket = 0", &[])?;
        panic!("on purpose");
    };
    assert!(matches!(world.app.store.write(work, |()| {}).await, Written::Aborted(_)));
    assert!(matches!(add(&world.app.store, false).await, Written::Committed(())));
    assert_eq!(read(&world).await - before, 1);
}

/// A client that hangs up drops the handler's future; the write goes on, and no session is left half-way.
async fn a_write_whose_caller_went_away_is_whole(engine: Engine) {
    let world = Arc::new(World::new(engine).await);
    let before = read(&world).await;
    for round in 0..50 {
        let write = add(&world.app.store, false);
        // Given up after a moment that differs from round to round.
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round * 37), write).await;
    }
    // Sessions are as good as new: a read and a write of their own work on each of them.
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let world = world.clone();
        others.spawn(async move {
            assert!(matches!(add(&world.app.store, false).await, Written::Committed(())));
            read(&world).await
        });
    }
    others.join_all().await;
    let after = read(&world).await - before;
    assert!((40..=90).contains(&after), "{after}");
}

async fn reopened(world: World, engine: Engine) -> Result<Store, Error> {
    let location = world.location.clone();
    match engine {
        // The lock is held by the first; a copy is opened in its place.
        Engine::Sqlite => {
            let Location::Sqlite { file, .. } = &location else { unreachable!() };
            let copy = file.with_file_name("copy.db");
            let path = copy.clone();
            world.app.store.read(move |tx: &mut Tx<'_>| tx.run("PRAGMA query_only", &[])).await.unwrap();
            std::fs::copy(file, &path).unwrap();
            std::fs::copy(file.with_extension("db-wal"), path.with_extension("db-wal")).unwrap();
            Store::open(&Location::Sqlite { file: copy, durable: true }).await
        }
        Engine::Postgres => Store::open(&location).await,
    }
}

async fn a_newer_schema_is_refused(engine: Engine) {
    let world = World::new(engine).await;
    world.tamper("INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'future', '')").await;
    let Err(Error::Unusable(why)) = reopened(world, engine).await else { panic!("it was opened") };
    assert!(why.contains("9999") && why.contains("newer"), "{why}");
}

async fn an_edited_migration_is_refused(engine: Engine) {
    let world = World::new(engine).await;
    world.tamper("UPDATE schema_migrations SET checksum = 'other'").await;
    assert!(matches!(reopened(world, engine).await, Err(Error::Unusable(_))));
}

async fn values_come_back_as_they_went(engine: Engine) {
    let world = World::new(engine).await;
    world.tamper("CREATE TABLE probe (a BIGINT, b TEXT, c TEXT)").await;
    let work = |tx: &mut Tx<'_>| -> Result<(), Error> {
        tx.run(
            "INSERT INTO probe (b, a, c) VALUES ($2, $1, $3)",
            &[i64::MIN.into(), "née 🔑 '\"".into(), None::<&str>.into()],
        )?;
        Ok(())
    };
    assert!(matches!(world.app.store.write(work, |()| {}).await, Written::Committed(())));
    let read =
        |row: &stead_server::store::Row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<Option<String>>(2)?));
    let row =
        world.app.store.read(move |tx: &mut Tx<'_>| tx.one("SELECT a, b, c FROM probe", &[], read)).await.unwrap();
    assert_eq!(row, (i64::MIN, "née 🔑 '\"".to_owned(), None));
    // Too few and too many arguments are told, not guessed at.
    for args in [vec![], vec![1.into(), 2.into()]] {
        let failed = world
            .app
            .store
            .read(move |tx: &mut Tx<'_>| tx.one("SELECT a FROM probe WHERE a = $1", &args, |_| Ok(())))
            .await;
        assert!(failed.is_err());
    }
}

#[tokio::test]
async fn two_servers_never_open_one_file() {
    let world = World::new(Engine::Sqlite).await;
    let Err(Error::Unusable(why)) = Store::open(&world.location).await else { panic!("it was opened twice") };
    assert!(why.contains("another stead"), "{why}");
}
