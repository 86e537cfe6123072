//! A checker that accepts everything also finds nothing: each hand-broken history here must be refused,
//! for the right reason, and each sound one accepted.

use super::*;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn key(name: &str) -> Key {
    Key {
        secret: Some(format!("secret of {name}")),
        name: Some(name.to_owned()),
        permissions: set(&["text_to_speech"]),
        character_limit: Some(100),
        disabled: false,
        revoked: false,
        rotated_from: None,
        rotated_to: None,
        deadline: Deadline::Never,
    }
}

/// Three keys, all acknowledged: `a` as made, `b` disabled, `c` revoked.
fn keys() -> Keys {
    let mut keys =
        Keys::from([("a", key("a")), ("b", key("b")), ("c", key("c"))].map(|(id, key)| (id.to_owned(), key)));
    keys.get_mut("b").unwrap().disabled = true;
    keys.get_mut("c").unwrap().revoked = true;
    keys
}

/// What an honest server shows of these keys.
fn shown(keys: &Keys) -> Seen {
    let listed = keys.iter().filter(|(_, key)| !key.revoked).map(|(id, key)| (id.clone(), honest_listing(key)));
    let answers = keys.iter().map(|(id, key)| (id.clone(), honest_answer(key)));
    Seen { listed: listed.collect(), answers: answers.collect() }
}

fn honest_listing(key: &Key) -> Listed {
    Listed {
        name: key.name.clone().unwrap(),
        permissions: key.permissions.clone(),
        character_limit: key.character_limit,
        disabled: key.disabled,
        rotated_from: key.rotated_from.clone(),
        rotated_to: key.rotated_to.clone(),
        deadlines: match &key.deadline {
            Deadline::At(moment) => vec![moment.clone()],
            Deadline::Never | Deadline::Untold => Vec::new(),
        },
    }
}

fn honest_answer(key: &Key) -> Answer {
    let code = expected_code(key).to_owned();
    let valid = code == "VALID";
    Answer { valid, code, permissions: valid.then(|| key.permissions.clone()) }
}

fn born(key_id: &str, name: &str) -> Born {
    Born {
        key_id: key_id.to_owned(),
        secret: None,
        name: Some(name.to_owned()),
        old_deadline: Deadline::At("2030-01-02T03:04:05".to_owned()),
    }
}

/// Every kind of change, and the key it would bear.
fn changes() -> Vec<(Change, Option<Born>)> {
    let id = |id: &str| id.to_owned();
    vec![
        (create(), Some(born("d", "d"))),
        (update(), None),
        (Change::Disable { key_id: id("a"), by_update: false }, None),
        (Change::Enable { key_id: id("b") }, None),
        (rotate(), Some(born("d", "a"))),
        (Change::Revoke { key_id: id("a") }, None),
    ]
}

fn create() -> Change {
    Change::Create { name: "d".to_owned(), permissions: set(&["models_read"]), character_limit: None }
}

fn update() -> Change {
    Change::Update {
        key_id: "a".to_owned(),
        name: "a2".to_owned(),
        permissions: Some(set(&["models_read"])),
        character_limit: Some(7),
    }
}

fn rotate() -> Change {
    Change::Rotate { key_id: "a".to_owned() }
}

fn after(change: &Change, born: Option<&Born>) -> Seen {
    let mut world = keys();
    change.apply(&mut world, born);
    shown(&world)
}

#[track_caller]
fn refuses(pending: Option<&Change>, seen: &Seen, fault: Fault) {
    let findings = judge(&keys(), pending, seen).findings;
    assert!(findings.iter().any(|finding| finding.fault == fault), "{fault:?} expected, got {findings:?}");
}

/// Breaks what an honest server would show, and expects the oracle to see it, with nothing under way and
/// with each kind of change under way: a pending change excuses nothing but itself.
#[track_caller]
fn refuses_broken(fault: Fault, break_it: impl Fn(&mut Seen)) {
    let mut seen = shown(&keys());
    break_it(&mut seen);
    refuses(None, &seen, fault);
    let elsewhere = create();
    refuses(Some(&elsewhere), &seen, fault);
    let mut done = after(&elsewhere, Some(&born("d", "d")));
    break_it(&mut done);
    refuses(Some(&elsewhere), &done, fault);
}

#[test]
fn an_honest_server_is_believed() {
    let judgement = judge(&keys(), None, &shown(&keys()));
    assert_eq!(judgement.findings, []);
    for (change, child) in changes() {
        let old = judge(&keys(), Some(&change), &shown(&keys()));
        assert_eq!((old.outcome, old.findings), (Outcome::Old, vec![]), "{change:?} undone");
        let mut seen = after(&change, child.as_ref());
        // Nobody has the secret of a key whose creation was not answered.
        seen.answers.remove("d");
        let new = judge(&keys(), Some(&change), &seen);
        assert_eq!((new.outcome, new.findings), (Outcome::New, vec![]), "{change:?} done");
        assert_eq!(new.born.map(|born| born.key_id), child.map(|born| born.key_id));
    }
}

#[test]
fn a_lost_creation_is_refused() {
    refuses_broken(Fault::Lost, |seen| {
        seen.listed.remove("a");
    });
    refuses_broken(Fault::Lost, |seen| seen.answers.get_mut("a").unwrap().code = "NOT_FOUND".to_owned());
}

#[test]
fn a_lost_update_is_refused() {
    refuses_broken(Fault::Lost, |seen| seen.listed.get_mut("a").unwrap().name = "older".to_owned());
    refuses_broken(Fault::Lost, |seen| seen.listed.get_mut("a").unwrap().character_limit = None);
    refuses_broken(Fault::Lost, |seen| seen.listed.get_mut("a").unwrap().permissions = set(&[]));
    refuses_broken(Fault::Lost, |seen| seen.answers.get_mut("a").unwrap().permissions = Some(set(&["flows"])));
}

#[test]
fn a_lost_disable_is_refused() {
    refuses_broken(Fault::Lost, |seen| seen.listed.get_mut("b").unwrap().disabled = false);
    refuses_broken(Fault::Lost, |seen| {
        seen.answers.insert("b".to_owned(), Answer { valid: true, code: "VALID".to_owned(), permissions: None });
    });
}

#[test]
fn a_lost_revocation_is_refused() {
    refuses_broken(Fault::Lost, |seen| {
        seen.listed.insert("c".to_owned(), honest_listing(&key("c")));
    });
    for code in ["VALID", "NOT_FOUND", "DISABLED"] {
        refuses_broken(Fault::Lost, |seen| seen.answers.get_mut("c").unwrap().code = code.to_owned());
    }
}

#[test]
fn an_answer_at_odds_with_its_code_is_refused() {
    refuses_broken(Fault::Lost, |seen| seen.answers.get_mut("c").unwrap().valid = true);
    refuses_broken(Fault::Lost, |seen| seen.answers.get_mut("a").unwrap().valid = false);
}

#[test]
fn a_key_nobody_asked_for_is_refused() {
    refuses_broken(Fault::Stray, |seen| {
        seen.listed.insert("x".to_owned(), honest_listing(&key("x")));
    });
}

#[test]
fn two_keys_from_one_request_are_refused() {
    for (change, child) in [(create(), born("d", "d")), (rotate(), born("d", "a"))] {
        let mut seen = after(&change, Some(&child));
        let twin = seen.listed["d"].clone();
        seen.listed.insert("e".to_owned(), twin);
        refuses(Some(&change), &seen, Fault::Stray);
    }
}

#[test]
fn half_a_creation_is_refused() {
    let mut seen = after(&create(), Some(&born("d", "d")));
    seen.listed.get_mut("d").unwrap().permissions = set(&[]);
    refuses(Some(&create()), &seen, Fault::HalfDone);
}

#[test]
fn half_an_update_is_refused() {
    let whole = after(&update(), None);
    let old = shown(&keys());
    let halves: [fn(&mut Listed, &Listed); 3] = [
        |new, old| new.name.clone_from(&old.name),
        |new, old| new.permissions.clone_from(&old.permissions),
        |new, old| new.character_limit = old.character_limit,
    ];
    for half in halves {
        let mut seen = whole.clone();
        half(seen.listed.get_mut("a").unwrap(), &old.listed["a"]);
        refuses(Some(&update()), &seen, Fault::HalfDone);
    }
}

#[test]
fn half_a_rotation_is_refused() {
    let whole = after(&rotate(), Some(&born("d", "a")));
    let mut no_end = whole.clone();
    no_end.listed.get_mut("a").unwrap().deadlines.clear();
    refuses(Some(&rotate()), &no_end, Fault::HalfDone);

    let mut no_successor = whole.clone();
    no_successor.listed.remove("d");
    refuses(Some(&rotate()), &no_successor, Fault::HalfDone);

    let mut weaker = whole.clone();
    weaker.listed.get_mut("d").unwrap().character_limit = None;
    refuses(Some(&rotate()), &weaker, Fault::HalfDone);

    let mut wrong_way = whole;
    wrong_way.listed.get_mut("a").unwrap().rotated_to = Some("b".to_owned());
    refuses(Some(&rotate()), &wrong_way, Fault::HalfDone);
}

#[test]
fn half_a_disable_and_half_a_revocation_are_refused() {
    let disable = Change::Disable { key_id: "a".to_owned(), by_update: false };
    let mut store_only = after(&disable, None);
    store_only.answers.insert("a".to_owned(), honest_answer(&key("a")));
    refuses(Some(&disable), &store_only, Fault::HalfDone);

    let revoke = Change::Revoke { key_id: "a".to_owned() };
    let mut still_listed = after(&revoke, None);
    still_listed.listed.insert("a".to_owned(), honest_listing(&key("a")));
    refuses(Some(&revoke), &still_listed, Fault::HalfDone);
}

#[test]
fn a_deadline_that_moved_is_refused() {
    let mut rotated = keys();
    rotate().apply(&mut rotated, Some(&born("d", "a")));
    let mut seen = shown(&rotated);
    seen.listed.get_mut("a").unwrap().deadlines = vec!["2031-01-02T03:04:05".to_owned()];
    let findings = judge(&rotated, None, &seen).findings;
    assert!(findings.iter().any(|finding| finding.fault == Fault::Lost), "{findings:?}");
}

#[test]
fn a_pending_change_does_not_hide_a_loss_elsewhere() {
    for (change, child) in changes() {
        let mut seen = after(&change, child.as_ref());
        seen.answers.remove("d");
        seen.answers.insert("c".to_owned(), honest_answer(&key("c")));
        let judgement = judge(&keys(), Some(&change), &seen);
        let faults: Vec<_> = judgement.findings.iter().map(|finding| finding.fault).collect();
        assert_eq!(faults, [Fault::Lost], "{change:?}");
        assert_eq!(judgement.outcome, Outcome::New);
    }
}
