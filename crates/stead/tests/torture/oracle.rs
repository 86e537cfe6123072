//! History against what the server shows. Pure: what was seen is handed in, the findings come out.
//!
//! The rule is one sentence: what is seen must be the world before the unacknowledged change or the world
//! after it, in every field of every key. Everything acknowledged is part of both worlds.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Born, Change, Deadline, Key, Keys};

/// What the server shows of one client's account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) listed: BTreeMap<String, Listed>,
    /// Verify's answers, for the keys that were asked about.
    pub(crate) answers: BTreeMap<String, Answer>,
}

/// A key as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) permissions: BTreeSet<String>,
    pub(crate) character_limit: Option<u64>,
    pub(crate) disabled: bool,
    pub(crate) rotated_from: Option<String>,
    /// Held against the history only when the list tells it.
    pub(crate) rotated_to: Option<String>,
    /// Its end in every notation the list gives; empty for a key without one.
    pub(crate) deadlines: Vec<String>,
}

/// What verify says about a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) valid: bool,
    pub(crate) code: String,
    /// Told for valid keys.
    pub(crate) permissions: Option<BTreeSet<String>>,
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Acknowledged, and not so.
    Lost,
    /// Unacknowledged, and neither the old state nor the new one.
    HalfDone,
    /// A key that nobody asked for, or a second one for one request.
    Stray,
    /// An answer that the request does not deserve.
    Answer,
}

/// What became of the unacknowledged change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Old,
    New,
}

#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) outcome: Outcome,
    /// The key that the change brought into being, when it did.
    pub(crate) born: Option<Born>,
    pub(crate) findings: Vec<Finding>,
}

/// Compares what was seen with the two worlds that are allowed.
pub(crate) fn judge(keys: &Keys, pending: Option<&Change>, seen: &Seen) -> Judgement {
    let before = differences(keys, seen);
    let born = pending.and_then(|change| offspring(keys, change, seen));
    let touched = touched(pending, born.as_ref());
    let after =
        pending.and_then(|change| world_after(keys, change, born.as_ref())).map(|world| differences(&world, seen));
    let (near, far): (Vec<_>, Vec<_>) = before.into_iter().partition(|difference| touched.contains(&difference.key_id));
    let mut findings: Vec<Finding> = far.into_iter().map(|difference| fault_far_away(keys, &difference)).collect();
    let outcome = if near.is_empty() { Outcome::Old } else { Outcome::New };
    if outcome == Outcome::New {
        findings.extend(half_done(pending, &touched, &near, after.as_deref()));
    }
    Judgement { outcome, born: born.filter(|_| outcome == Outcome::New), findings }
}

struct Difference {
    key_id: String,
    what: String,
}

/// A difference that the unacknowledged change cannot explain.
fn fault_far_away(keys: &Keys, difference: &Difference) -> Finding {
    let fault = if keys.contains_key(&difference.key_id) { Fault::Lost } else { Fault::Stray };
    Finding { fault, text: format!("{}: {}", difference.key_id, difference.what) }
}

/// The touched keys are not in the old state; so they must be in the new one.
fn half_done(
    pending: Option<&Change>,
    touched: &BTreeSet<String>,
    not_old: &[Difference],
    after: Option<&[Difference]>,
) -> Option<Finding> {
    let not_new = match after {
        Some(after) => after.iter().filter(|difference| touched.contains(&difference.key_id)).collect(),
        None => Vec::new(),
    };
    if after.is_some() && not_new.is_empty() {
        return None;
    }
    let told = |difference: &Difference| format!("{}: {}", difference.key_id, difference.what);
    let not_old: Vec<_> = not_old.iter().map(told).collect();
    let not_new: Vec<_> = not_new.into_iter().map(told).collect();
    Some(Finding {
        fault: Fault::HalfDone,
        text: format!("{pending:?} is neither undone ({}) nor done ({})", not_old.join("; "), not_new.join("; ")),
    })
}

/// The keys whose state the unacknowledged change may have changed.
fn touched(pending: Option<&Change>, born: Option<&Born>) -> BTreeSet<String> {
    let subject = pending.and_then(Change::subject).map(str::to_owned);
    subject.into_iter().chain(born.map(|born| born.key_id.clone())).collect()
}

/// The key in the list that only the unacknowledged change explains. A second one is left to be a stray.
fn offspring(keys: &Keys, change: &Change, seen: &Seen) -> Option<Born> {
    let is_it = |listed: &Listed| match change {
        Change::Create { name, .. } => listed.name == *name,
        Change::Rotate { key_id } => listed.rotated_from.as_ref() == Some(key_id),
        _ => false,
    };
    let (key_id, listed) = seen.listed.iter().find(|(key_id, listed)| !keys.contains_key(*key_id) && is_it(listed))?;
    Some(Born { key_id: key_id.clone(), secret: None, name: Some(listed.name.clone()), old_deadline: Deadline::Untold })
}

/// `None` when the change makes a key and there is no such key: then it can't have been done.
fn world_after(keys: &Keys, change: &Change, born: Option<&Born>) -> Option<Keys> {
    if change.bears() && born.is_none() {
        return None;
    }
    let mut world = keys.clone();
    change.apply(&mut world, born);
    Some(world)
}

fn differences(keys: &Keys, seen: &Seen) -> Vec<Difference> {
    let known = keys.iter().flat_map(|(key_id, key)| {
        let mut whats = in_list(key, seen.listed.get(key_id));
        whats.extend(seen.answers.get(key_id).and_then(|answer| in_answer(key, answer)));
        whats.into_iter().map(|what| Difference { key_id: key_id.clone(), what })
    });
    let strays = seen.listed.iter().filter(|(key_id, _)| !keys.contains_key(*key_id)).map(|(key_id, listed)| {
        Difference { key_id: key_id.clone(), what: format!("not known to the one who made all keys here: {listed:?}") }
    });
    known.chain(strays).collect()
}

fn in_list(key: &Key, listed: Option<&Listed>) -> Vec<String> {
    match (key.revoked, listed) {
        (true, None) => Vec::new(),
        (true, Some(_)) => vec!["revoked, and still listed".to_owned()],
        (false, None) => vec!["not listed".to_owned()],
        (false, Some(listed)) => in_fields(key, listed),
    }
}

fn in_fields(key: &Key, listed: &Listed) -> Vec<String> {
    let deadline_fits = match &key.deadline {
        Deadline::Never => listed.deadlines.is_empty(),
        Deadline::Untold => !listed.deadlines.is_empty(),
        Deadline::At(moment) => listed.deadlines.contains(moment),
    };
    let checks = [
        ("name", key.name.as_ref().is_none_or(|name| *name == listed.name)),
        ("permissions", key.permissions == listed.permissions),
        ("character_limit", key.character_limit == listed.character_limit),
        ("is_disabled", key.disabled == listed.disabled),
        ("rotated_from", key.rotated_from == listed.rotated_from),
        ("rotated_to", listed.rotated_to.is_none() || key.rotated_to == listed.rotated_to),
        ("expires_at", deadline_fits),
    ];
    let wrong = checks.into_iter().filter(|(_, fits)| !fits);
    wrong.map(|(field, _)| format!("{field} should be as in {key:?}, the list has {listed:?}")).collect()
}

/// What verify must say, in the order in which it looks.
pub(crate) fn expected_code(key: &Key) -> &'static str {
    match (key.revoked, key.disabled) {
        (true, _) => "REVOKED",
        (false, true) => "DISABLED",
        (false, false) => "VALID",
    }
}

/// The one thing wrong with verify's answer about this key, if there is one.
pub(crate) fn in_answer(key: &Key, answer: &Answer) -> Option<String> {
    let code = expected_code(key);
    if answer.code != code || answer.valid != (code == "VALID") {
        return Some(format!("verify should say {code}, it says {answer:?}"));
    }
    let told = answer.permissions.as_ref().filter(|_| answer.valid)?;
    (*told != key.permissions).then(|| format!("verify grants {told:?}, the key has {:?}", key.permissions))
}

#[cfg(test)]
mod tests;
