//! A log that somebody changed who has the database and not the pepper: whatever they do, it is found.
//!
//! `STEAD_TAMPERINGS` says how many are tried on rows in memory (10,000); a few hundred more go through each store.

use crate::harness::{Engine, World, pepper};
use crate::on_both_stores;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use stead_api::audit::AuditHead;
use stead_api::time::Timestamp;
use stead_server::audit::chain::Chain;
use stead_server::audit::{self, AuditRow, DONE, FAILED};
use stead_server::store::{Arg, Error, Tx, Written};
use stead_verify::pepper::Ring;

on_both_stores! {
    tampering_with_the_stored_log_is_found
    a_log_put_back_together_with_its_workspace_shows_beside_a_saved_head
}

/// A stream of numbers that is the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// What somebody does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Edit,
    FlipABit,
    Delete,
    Swap,
    Insert,
    Truncate,
    ChainAnewWithoutThePepper,
    TakeAnotherWorkspacesRow,
    PutAnOlderLogAndItsWorkspaceBack,
}

const DEEDS: [Deed; 9] = [
    Deed::Edit,
    Deed::FlipABit,
    Deed::Delete,
    Deed::Swap,
    Deed::Insert,
    Deed::Truncate,
    Deed::ChainAnewWithoutThePepper,
    Deed::TakeAnotherWorkspacesRow,
    Deed::PutAnOlderLogAndItsWorkspaceBack,
];

/// A log as the server writes it.
fn log(workspace: &str, rows: i64) -> Vec<AuditRow> {
    let mut log: Vec<AuditRow> = Vec::new();
    for number in 0..rows {
        let (activity, status) = match number % 5 {
            0 => ("API Key Creation", DONE),
            1 => ("Service Account Update", DONE),
            2 => ("Group Member Addition", DONE),
            3 => ("API Key Deletion", DONE),
            _ => ("Access Refused", FAILED),
        };
        let actor = json!({ "type": "user", "id": format!("usr_{}", number % 7), "name": "Ada", "ip": "192.0.2.1" });
        let target = json!({ "type": "api_key", "id": format!("key_{number}"), "name": "deploy" });
        let details = json!({ "is_enabled": number % 2 == 0, "count": number });
        let (id, at) = (format!("aud_{workspace}_{number}"), Timestamp(1_000_000 * number));
        let mut row = AuditRow::new(&id.into(), at, activity, status, &actor, &target, &details);
        audit::link(&pepper(), workspace, end(&log), &mut row);
        log.push(row);
    }
    log
}

/// Number and seal of the last row.
fn end(log: &[AuditRow]) -> (i64, &[u8]) {
    log.last().map_or((0, &[]), |row| (row.seq, &row.hash))
}

fn head(log: &[AuditRow]) -> AuditHead {
    let (seq, hash) = end(log);
    let hash = hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    AuditHead { seq, hash }
}

/// What the check says of rows, where the workspace's own row names an end and a head was saved.
fn problems(ring: &Ring, workspace: &str, log: &[AuditRow], end: (i64, &[u8]), saved: &AuditHead) -> Vec<String> {
    let mut chain = Chain::new(ring, workspace, Some(saved));
    for row in log {
        chain.take(row);
    }
    chain.end(end.0, end.1)
}

/// The texts and the numbers of a row.
fn texts(row: &mut AuditRow) -> [&mut String; 6] {
    [&mut row.id, &mut row.activity, &mut row.actor_id, &mut row.actor, &mut row.target, &mut row.details]
}

fn numbers(row: &mut AuditRow) -> [&mut i64; 5] {
    [&mut row.seq, &mut row.at, &mut row.class_uid, &mut row.activity_id, &mut row.status]
}

/// Does it to some place of the log. The rows come back in the order of their numbers, as a database gives them.
fn tamper(deed: Deed, dice: &mut Dice, log: &[AuditRow], other: &[AuditRow]) -> Vec<AuditRow> {
    let mut rows = log.to_vec();
    let place = dice.below(rows.len());
    match deed {
        Deed::Edit => match dice.below(12) {
            column @ 0..6 => {
                let texts = texts(&mut rows[place]);
                *texts[column] = format!("{{\"forged\":{}}}", dice.next());
            }
            column @ 6..11 => {
                let numbers = numbers(&mut rows[place]);
                *numbers[column - 6] = numbers[column - 6].wrapping_add(1 + i64::try_from(dice.below(1000)).unwrap());
            }
            _ => rows[place].hash = dice.next().to_be_bytes().repeat(5)[..33].to_vec(),
        },
        Deed::FlipABit => match dice.below(12) {
            column @ 0..6 => {
                let texts = texts(&mut rows[place]);
                let text = &mut *texts[column];
                let at = dice.below(text.len());
                // A low bit, so that it stays text that every store takes.
                let byte = text.as_bytes()[at] ^ (1 << dice.below(5));
                text.replace_range(at..=at, &char::from(byte).to_string());
            }
            column @ 6..11 => *numbers(&mut rows[place])[column - 6] ^= 1 << dice.below(64),
            _ => {
                let at = dice.below(rows[place].hash.len());
                rows[place].hash[at] ^= 1 << dice.below(8);
            }
        },
        Deed::Delete => drop(rows.remove(place)),
        Deed::Swap => {
            let second = (place + 1 + dice.below(rows.len() - 1)) % rows.len();
            let (first, second) = (place.min(second), place.max(second));
            rows.swap(first, second);
            // What they say changes places, their numbers don't; their seals may.
            let (left, right) = rows.split_at_mut(second);
            std::mem::swap(&mut left[first].seq, &mut right[0].seq);
            if dice.below(2) == 0 {
                std::mem::swap(&mut left[first].hash, &mut right[0].hash);
            }
        }
        Deed::Insert => {
            let mut forged = rows[dice.below(rows.len())].clone();
            forged.id = format!("aud_{}", dice.next());
            let place = dice.below(rows.len() + 1);
            for later in &mut rows[place..] {
                later.seq += 1;
            }
            forged.seq = i64::try_from(place).unwrap() + 1;
            if dice.below(2) == 0 {
                forged.hash = dice.next().to_be_bytes().repeat(5)[..33].to_vec();
            }
            rows.insert(place, forged);
        }
        Deed::Truncate | Deed::PutAnOlderLogAndItsWorkspaceBack => rows.truncate(place),
        Deed::ChainAnewWithoutThePepper => {
            // From an edited row on, with a pepper of their own that says it is of the same version.
            let own = Ring::new([(1, [7; 32])]).unwrap();
            rows[place].details = json!({ "forged": dice.next() }).to_string();
            let mut before = end(&rows[..place]).1.to_vec();
            for row in &mut rows[place..] {
                let seq = row.seq - 1;
                audit::link(&own, "ws_1", (seq, &before), row);
                before.clone_from(&row.hash);
            }
        }
        Deed::TakeAnotherWorkspacesRow => rows[place] = other[place].clone(),
    }
    rows.sort_by_key(|row| row.seq);
    rows
}

fn how_many() -> u64 {
    std::env::var("STEAD_TAMPERINGS").map_or(10_000, |text| text.parse().expect("STEAD_TAMPERINGS: a whole number"))
}

#[test]
fn ten_thousand_tamperings_are_found() {
    const SEED: u64 = 0x5eed;
    let ring = pepper();
    let (rows, other) = (log("ws_1", 300), log("ws_2", 300));
    let saved = head(&rows);
    // The walk up to each row: what nobody touched need not be walked again.
    let mut walks = vec![Chain::new(&ring, "ws_1", Some(&saved))];
    for row in &rows {
        let mut next = walks[walks.len() - 1].clone();
        next.take(row);
        walks.push(next);
    }
    assert_eq!(problems(&ring, "ws_1", &rows, end(&rows), &saved), Vec::<String>::new());
    let mut found: BTreeMap<Deed, u64> = BTreeMap::new();
    for number in 0..how_many() {
        let seed = SEED.wrapping_add(number);
        let mut dice = Dice(seed);
        let deed = DEEDS[dice.below(DEEDS.len())];
        let tampered = tamper(deed, &mut dice, &rows, &other);
        assert_ne!(tampered, rows, "{deed:?} with seed {seed} does nothing");
        // The workspace's row is sealed, too: they can't write one, only put an old one back.
        let end = if deed == Deed::PutAnOlderLogAndItsWorkspaceBack { end(&tampered) } else { end(&rows) };
        let untouched = rows.iter().zip(&tampered).take_while(|(known, row)| known == row).count();
        let mut walk = walks[untouched].clone();
        let is_found = tampered[untouched..].iter().any(|row| {
            walk.take(row);
            walk.is_broken()
        });
        assert!(is_found || !walk.end(end.0, end.1).is_empty(), "{deed:?} with seed {seed} was not found");
        if number % 100 == 0 {
            assert!(!problems(&ring, "ws_1", &tampered, end, &saved).is_empty());
        }
        *found.entry(deed).or_default() += 1;
    }
    writeln!(std::io::stderr(), "tamperings from seed {SEED}, all found: {found:?}").ok();
}

/// The stored rows, in the order of their numbers.
async fn stored(world: &World) -> Vec<AuditRow> {
    let id = world.workspace.clone();
    let mut rows = world.app.store.read(move |tx: &mut Tx<'_>| audit::recent(tx, &id, 1000)).await.unwrap();
    rows.sort_by_key(|row| row.seq);
    rows
}

/// Puts rows in the place of the stored ones; false if the store has no such rows: two of one number.
async fn put(world: &World, rows: Vec<AuditRow>) -> bool {
    let workspace = world.workspace.to_string();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Error> {
        tx.run("DELETE FROM audit_log WHERE workspace_id = $1", &[workspace.as_str().into()])?;
        for row in &rows {
            let args: [Arg; 13] = [
                workspace.as_str().into(),
                row.seq.into(),
                row.id.as_str().into(),
                row.at.into(),
                row.activity.as_str().into(),
                row.class_uid.into(),
                row.activity_id.into(),
                row.status.into(),
                row.actor_id.as_str().into(),
                row.actor.as_str().into(),
                row.target.as_str().into(),
                row.details.as_str().into(),
                row.hash.clone().into(),
            ];
            tx.run(
                "INSERT INTO audit_log (workspace_id, seq, id, at, activity, class_uid, activity_id, status, actor_id, \
                 actor, target, details, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                &args,
            )?;
        }
        Ok(())
    };
    match world.app.store.write(work, |()| {}).await {
        Written::Committed(()) => true,
        Written::Aborted(Error::NotUnique(_)) => false,
        other => panic!("{other:?}"),
    }
}

async fn told(world: &World) -> Vec<String> {
    let id = world.workspace.clone();
    let look = move |tx: &mut Tx<'_>| {
        let workspace = stead_server::workspaces::find(tx, &id)?.unwrap();
        audit::verify(tx, &pepper(), &workspace)
    };
    world.app.store.read(look).await.unwrap()
}

async fn tampering_with_the_stored_log_is_found(engine: Engine) {
    let world = World::new(engine).await;
    for number in 0..6 {
        let account = world.account(&format!("account {number}")).await;
        let key = world.key(&account, json!({"name": "k", "permissions": ["text_to_speech"]})).await;
        world.call("DELETE", &key.path(), serde_json::Value::Null).await.ok();
    }
    let rows = stored(&world).await;
    assert!(rows.len() >= 20, "{}", rows.len());
    let other = log("ws_2", i64::try_from(rows.len()).unwrap());
    let (mut tried, mut seed) = (0, 0xdb);
    while tried < 150 {
        seed += 1;
        let mut dice = Dice(seed);
        let deed = DEEDS[dice.below(DEEDS.len())];
        let tampered = tamper(deed, &mut dice, &rows, &other);
        if deed == Deed::PutAnOlderLogAndItsWorkspaceBack || !put(&world, tampered).await {
            continue;
        }
        tried += 1;
        assert!(!told(&world).await.is_empty(), "{deed:?} with seed {seed} was not found");
    }
    assert!(put(&world, rows).await);
    assert_eq!(told(&world).await, Vec::<String>::new());
}

async fn a_log_put_back_together_with_its_workspace_shows_beside_a_saved_head(engine: Engine) {
    let world = World::new(engine).await;
    world.account("kept").await;
    let older = stored(&world).await;
    world.tamper("CREATE TABLE older AS SELECT * FROM workspaces").await;
    world.account("forgotten").await;
    let saved = head(&stored(&world).await);
    assert!(put(&world, older.clone()).await);
    assert!(told(&world).await.join("\n").contains("ends at row"));
    world.tamper("UPDATE workspaces SET audit_seq = (SELECT audit_seq FROM older), audit_head = (SELECT audit_head FROM older), version = (SELECT version FROM older), seal = (SELECT seal FROM older)").await;
    // By itself it is a whole log, with an end that the server sealed; only beside the head it is too short.
    assert_eq!(told(&world).await, Vec::<String>::new());
    let beside = problems(&pepper(), world.workspace.as_str(), &older, end(&older), &saved).join("\n");
    assert!(beside.contains("when the head was saved"), "{beside}");
    // With a workspace's row that is edited to fit a cut log, the row's own seal breaks.
    let cut = older[..older.len() - 1].to_vec();
    let (_, hash) = end(&cut);
    let hash = hash.to_vec();
    assert!(put(&world, cut).await);
    let edit = move |tx: &mut Tx<'_>| {
        tx.run("UPDATE workspaces SET audit_seq = audit_seq - 1, audit_head = $1", &[hash.clone().into()]).map(drop)
    };
    assert!(matches!(world.app.store.write(edit, |()| {}).await, Written::Committed(())));
    let id = world.workspace.clone();
    let workspace = world.app.store.read(move |tx: &mut Tx<'_>| stead_server::workspaces::find(tx, &id)).await.unwrap();
    assert_eq!(told(&world).await, Vec::<String>::new());
    assert!(!workspace.unwrap().is_sealed(&pepper()));
}
