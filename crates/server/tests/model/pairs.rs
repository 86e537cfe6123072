//! Every ordered pair of causes for which a key is refused, on one key: both must show, and when one of them is taken
//! back the other must still hold (Keycloak CVE-2026-8922: of two, only one was honoured).

use super::reference::{Ask, Grantee, Key};
use super::{Checked, HERE, PERMISSIONS, THERE, Walk};
use crate::harness::{DAY, Engine};
use crate::on_both_stores;
use serde_json::Value;
use std::io::Write as _;

on_both_stores! {
    every_pair_of_causes_shows_and_ends_as_the_model_says
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Revoked,
    Disabled,
    Expired,
    AccountDisabled,
    AccountDeleted,
    MemberLocked,
    MemberRemoved,
    WorkspaceSuspended,
    Exposed,
    SelfDisabled,
    Idle,
    Address,
    Permission,
    Unshared,
    GroupLeft,
    GroupDeleted,
}

use Cause::*;

const CAUSES: [Cause; 16] = [
    Revoked,
    Disabled,
    Expired,
    AccountDisabled,
    AccountDeleted,
    MemberLocked,
    MemberRemoved,
    WorkspaceSuspended,
    Exposed,
    SelfDisabled,
    Idle,
    Address,
    Permission,
    Unshared,
    GroupLeft,
    GroupDeleted,
];

impl Cause {
    /// What the key is answered when there is no other.
    fn code(self) -> &'static str {
        match self {
            Revoked | AccountDeleted | MemberRemoved => "REVOKED",
            AccountDisabled | MemberLocked => "ACCOUNT_DISABLED",
            WorkspaceSuspended => "WORKSPACE_DISABLED",
            Disabled | Exposed | SelfDisabled | Idle => "DISABLED",
            Expired => "EXPIRED",
            Address => "IP_NOT_ALLOWED",
            Permission => "INSUFFICIENT_PERMISSIONS",
            Unshared | GroupLeft | GroupDeleted => "NO_RESOURCE_ACCESS",
        }
    }

    fn needs_person(self) -> bool {
        matches!(self, MemberLocked | MemberRemoved)
    }

    fn needs_account(self) -> bool {
        matches!(self, AccountDisabled | AccountDeleted)
    }

    fn ends(self) -> bool {
        !matches!(self, Revoked | AccountDeleted | MemberRemoved | Exposed | GroupDeleted)
    }
}

/// Who is there for every pair.
struct Troupe {
    /// The group of those who manage keys.
    managers: usize,
    /// Who makes what is shared.
    maker: usize,
}

/// A key that may do all that is asked, and whose it is. Of what is shared there is only what the pair is about.
struct Stage {
    key: usize,
    owner: usize,
    /// Shared with the owner, with a group, and with another group.
    things: [usize; 3],
    groups: [usize; 2],
}

impl Stage {
    fn ask(&self, cause: Cause) -> Ask {
        let thing = match cause {
            Unshared => Some(self.things[0]),
            GroupLeft => Some(self.things[1]),
            GroupDeleted => Some(self.things[2]),
            _ => None,
        };
        Ask { address: Some(HERE), permission: Some(PERMISSIONS[0]), thing: thing.map(|thing| (thing, 1)), cost: 0 }
    }

    async fn set(walk: &mut Walk, troupe: &Troupe, causes: [Cause; 2]) -> Checked<Self> {
        let is_persons = causes.iter().any(|cause| cause.needs_person());
        let owner = if is_persons { walk.invite(0, false).await? } else { walk.create_account(0).await? };
        let owner = owner.ok_or("nobody was made")?;
        if is_persons {
            walk.join(troupe.managers, owner, true).await?;
        }
        let key = walk.create_key(owner).await?.ok_or("no key was made")?;
        let (mut things, mut groups) = ([usize::MAX; 3], [usize::MAX; 2]);
        for (place, cause) in [Unshared, GroupLeft, GroupDeleted].into_iter().enumerate() {
            if !causes.contains(&cause) {
                continue;
            }
            let mut with = Grantee::Principal(owner);
            if place > 0 {
                let group = walk.create_group(0, false, false).await?.ok_or("no group was made")?;
                walk.join(group, owner, true).await?;
                groups[place - 1] = group;
                with = Grantee::Group(group);
            }
            let id = format!("t{}", walk.number());
            things[place] = walk.register(0, id, Some(troupe.maker)).await?.ok_or("nothing was registered")?;
            walk.share(things[place], with, Some(1)).await?;
        }
        Ok(Self { key, owner, things, groups })
    }

    /// Brings a cause about, as far as the server lets it come.
    async fn begin(&self, walk: &mut Walk, cause: Cause) -> Checked {
        let key = self.key;
        match cause {
            Revoked => walk.on_key(key, "DELETE", "", Value::Null, |model, _| model.revoke(key)).await.map(drop),
            Disabled => {
                let disable = |model: &mut super::Model, _| model.disable(key, super::Why::Admin);
                walk.on_key(key, "POST", "/disable", Value::Null, disable).await.map(drop)
            }
            Expired => {
                let now = walk.now();
                walk.set_expiry(key, Some(now + 300)).await?;
                walk.nodes[0].clock.advance(600);
                Ok(())
            }
            AccountDisabled | MemberLocked => walk.stop(self.owner, true).await.map(drop),
            AccountDeleted | MemberRemoved => walk.end(self.owner).await.map(drop),
            WorkspaceSuspended => walk.suspend(0, true).await.map(drop),
            Exposed => walk.report(key).await,
            SelfDisabled => walk.disable_self(key).await,
            Idle => {
                walk.nodes[0].clock.advance(2 * DAY);
                // Who manages the key has used theirs.
                if let Some(first) = walk.model.principals[self.owner].first_key {
                    walk.check(&[first], 0).await?;
                }
                walk.idle_days(0, Some(1)).await?;
                walk.run_idle().await?;
                walk.idle_days(0, None).await
            }
            Address => walk.set_addresses(key, Some([THERE].into())).await,
            Permission => walk.set_permissions(key, Some([PERMISSIONS[1]].into())).await,
            Unshared => walk.share(self.things[0], Grantee::Principal(self.owner), None).await.map(drop),
            GroupLeft => walk.join(self.groups[0], self.owner, false).await.map(drop),
            GroupDeleted => {
                let group = self.groups[1];
                let path = format!("/v1/workspace/groups/{}", walk.model.groups[group].id);
                walk.manage(0, "DELETE", &path, Value::Null, |model| model.delete_group(group)).await.map(drop)
            }
        }
    }

    /// Takes a cause back, as far as that goes.
    async fn end(&self, walk: &mut Walk, cause: Cause) -> Checked {
        let key = self.key;
        match cause {
            Revoked | AccountDeleted | MemberRemoved | GroupDeleted => Ok(()),
            Disabled | Exposed | SelfDisabled | Idle => walk.enable(key).await,
            Expired => walk.set_expiry(key, None).await,
            AccountDisabled | MemberLocked => walk.stop(self.owner, false).await.map(drop),
            WorkspaceSuspended => walk.suspend(0, false).await.map(drop),
            Address => walk.set_addresses(key, None).await,
            Permission => walk.set_permissions(key, None).await,
            Unshared => walk.share(self.things[0], Grantee::Principal(self.owner), Some(1)).await.map(drop),
            GroupLeft => walk.join(self.groups[0], self.owner, true).await.map(drop),
        }
    }

    /// What every node answers about a cause, which must be what the model says.
    async fn code(&self, walk: &mut Walk, cause: Cause) -> Checked<String> {
        walk.check(&[self.key], 1).await?;
        let ask = self.ask(cause);
        let now = walk.now();
        let got = walk.ask(0, &[(self.key, ask)]).await?.remove(0);
        let wanted = walk.model.decide(self.key, &ask, now);
        walk.model.answered(self.key, &ask, &got, now);
        if wanted == [got.as_str()] { Ok(got) } else { Err(format!("{cause:?}: {got}, not {wanted:?}")) }
    }
}

/// Goes through one pair; whether both were in force at once, and what was taken back.
async fn go_through(walk: &mut Walk, troupe: &Troupe, first: Cause, second: Cause) -> Checked<(bool, u64)> {
    let stage = Stage::set(walk, troupe, [first, second]).await?;
    for cause in [first, second] {
        expect(stage.code(walk, cause).await?, "VALID", "before anything")?;
    }
    stage.begin(walk, first).await?;
    expect(stage.code(walk, first).await?, first.code(), "the first")?;
    stage.begin(walk, second).await?;
    // The first still holds, whatever the second does to it.
    let with_both = stage.code(walk, first).await?;
    if with_both == "VALID" {
        return Err(format!("{second:?} has ended {first:?}"));
    }
    let alone = stage.code(walk, second).await?;
    // Some can't be brought about any more, such as to disable what is revoked.
    let both = in_force(walk, &stage, first) && in_force(walk, &stage, second);
    if both && alone == "VALID" {
        return Err(format!("{second:?} doesn't show behind {first:?}"));
    }
    let mut taken_back = 0;
    for (one, other) in [(second, first), (first, second)] {
        if !(one.ends() && both) {
            continue;
        }
        stage.end(walk, one).await?;
        if !in_force(walk, &stage, one) {
            taken_back += 1;
            if in_force(walk, &stage, other) {
                expect(stage.code(walk, other).await?, other.code(), "the other, when one is taken back")?;
            }
            stage.begin(walk, one).await?;
        }
    }
    for cause in [first, second, first, second] {
        stage.end(walk, cause).await?;
    }
    for cause in [first, second] {
        stage.code(walk, cause).await?;
    }
    // Nothing is left for the next pair to stumble over.
    if !walk.model.principals[stage.owner].is_gone {
        walk.end(stage.owner).await?;
    }
    Ok((both, taken_back))
}

fn expect(got: String, wanted: &str, when: &str) -> Checked {
    if got == wanted { Ok(()) } else { Err(format!("{when}: {got}, not {wanted}")) }
}

/// Whether the model has a cause in force.
fn in_force(walk: &Walk, stage: &Stage, cause: Cause) -> bool {
    use super::Why;
    let model = &walk.model;
    let Key { disabled, is_revoked, expires_at, addresses, permissions, .. } = &model.keys[stage.key];
    let owner = &model.principals[stage.owner];
    match cause {
        Revoked => *is_revoked,
        Disabled => *disabled == Some(Why::Admin),
        Exposed => *disabled == Some(Why::Exposed),
        SelfDisabled => *disabled == Some(Why::Holder),
        Idle => *disabled == Some(Why::Idle),
        Expired => expires_at.is_some_and(|end| end <= walk.now()),
        AccountDisabled | MemberLocked => owner.is_stopped,
        AccountDeleted | MemberRemoved => owner.is_gone,
        WorkspaceSuspended => model.spaces[0].is_suspended,
        Address => addresses.is_some(),
        Permission => permissions.is_some(),
        Unshared => model.role(stage.owner, stage.things[0]).is_none(),
        GroupLeft => model.role(stage.owner, stage.things[1]).is_none(),
        GroupDeleted => model.role(stage.owner, stage.things[2]).is_none(),
    }
}

async fn every_pair_of_causes_shows_and_ends_as_the_model_says(engine: Engine) {
    let mut walk = Walk::begin(engine).await;
    let troupe = Troupe {
        managers: walk.create_group(0, false, true).await.unwrap().unwrap(),
        maker: walk.create_account(0).await.unwrap().unwrap(),
    };
    let (mut pairs, mut at_once, mut taken_back, mut impossible) = (0, 0, 0, 0);
    for first in CAUSES {
        for second in CAUSES {
            if first == second {
                continue;
            }
            if [first, second].iter().any(|cause| cause.needs_person())
                && [first, second].iter().any(|cause| cause.needs_account())
            {
                // A key is a person's or a service account's.
                impossible += 1;
                continue;
            }
            let from = walk.log.len();
            match go_through(&mut walk, &troupe, first, second).await {
                Ok((both, back)) => {
                    pairs += 1;
                    at_once += usize::from(both);
                    taken_back += back;
                }
                Err(differs) => panic!("{first:?}, then {second:?}: {differs}\n{}", walk.log[from..].join("\n")),
            }
        }
    }
    let told = format!(
        "{pairs} ordered pairs of causes on {engine:?} ({impossible} can't be), {at_once} of them in force at once, {taken_back} times one was taken \
         back and the other held; {} questions, no difference",
        walk.questions
    );
    writeln!(std::io::stderr(), "{told}").ok();
    assert_eq!((pairs, impossible), (CAUSES.len() * (CAUSES.len() - 1) - 8, 8));
}
