//! What the server must do, in plain maps, written from the design and the wire's description and from none of the
//! server's code. Every operation gives the code that the call must be answered with, and changes the model if that is
//! a success. Credits are pairs: after a kill nobody knows how much of an open lease was spent.

use crate::harness::DAY;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub const ROLES: [&str; 4] = ["viewer", "commenter", "editor", "admin"];
/// Service accounts of a workspace.
pub const MOST_ACCOUNTS: usize = 20;
/// A key that is reported again within so long is not told of again.
const QUIET: i64 = 3600;

/// Success, or the code of the refusal.
pub type Outcome = Result<(), &'static str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Admin,
    Holder,
    Exposed,
    Idle,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub space: usize,
    pub owner: usize,
    pub lineage: usize,
    pub permissions: Option<BTreeSet<&'static str>>,
    /// Of `127.0.0.1` and `10.0.0.1`; `None` is anywhere.
    pub addresses: Option<BTreeSet<&'static str>>,
    /// Seconds.
    pub expires_at: Option<i64>,
    pub cap: Option<i64>,
    pub disabled: Option<Why>,
    pub is_revoked: bool,
    pub successor: Option<usize>,
    pub unrotated: Option<i64>,
    pub by_holder: Option<bool>,
    pub exposed_at: Option<i64>,
    pub made_at: i64,
    pub enabled_at: Option<i64>,
    pub used_at: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Principal {
    pub id: String,
    pub email: String,
    pub space: usize,
    pub is_person: bool,
    pub is_admin: bool,
    pub is_stopped: bool,
    pub is_gone: bool,
    pub groups: BTreeSet<usize>,
    pub limit: Option<i64>,
    pub shares_by_default: Vec<(usize, usize)>,
    /// A person's own, unrestricted.
    pub first_key: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    pub space: usize,
    pub is_default: bool,
    pub is_gone: bool,
    pub everything: bool,
    pub manages: bool,
    pub limit: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    Principal(usize),
    Group(usize),
}

#[derive(Clone, Debug)]
pub struct Thing {
    pub id: String,
    pub space: usize,
    pub creator: usize,
    pub shares: BTreeMap<Grantee, usize>,
    pub is_gone: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Space {
    pub admin: String,
    pub path: String,
    pub is_suspended: bool,
    pub by_holder: Option<bool>,
    pub idle_days: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    pub permission: Option<&'static str>,
    pub address: Option<&'static str>,
    /// Which, and the place of the role among [`ROLES`].
    pub thing: Option<(usize, usize)>,
    pub cost: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    month: i64,
    least: i64,
    most: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub spaces: Vec<Space>,
    pub principals: Vec<Principal>,
    pub groups: Vec<Group>,
    pub things: Vec<Thing>,
    pub keys: Vec<Key>,
    spent: HashMap<usize, Spent>,
    lineages: usize,
}

/// The months since the year 0 (a civil calendar from days).
pub fn month(seconds: i64) -> i64 {
    let z = seconds.div_euclid(DAY) + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Counted from March, so that the years fit together.
    (year + era * 400) * 12 + (5 * of_year + 2) / 153
}

impl Model {
    fn group_of_all(&self, space: usize) -> usize {
        self.groups.iter().position(|group| group.space == space && group.is_default).unwrap()
    }

    fn groups_of(&self, principal: usize) -> Vec<usize> {
        let principal = &self.principals[principal];
        let mut groups: Vec<_> = principal.groups.iter().copied().collect();
        groups.push(self.group_of_all(principal.space));
        groups.retain(|group| !self.groups[*group].is_gone);
        groups
    }

    /// The place of the strongest role among [`ROLES`].
    pub fn role(&self, principal: usize, thing: usize) -> Option<usize> {
        let (whose, thing) = (&self.principals[principal], &self.things[thing]);
        if thing.is_gone || thing.space != whose.space {
            return None;
        }
        let groups = self.groups_of(principal);
        if whose.is_admin || thing.creator == principal || groups.iter().any(|group| self.groups[*group].everything) {
            return Some(3);
        }
        let of = |grantee| thing.shares.get(&grantee).copied();
        groups
            .into_iter()
            .map(|group| of(Grantee::Group(group)))
            .chain([of(Grantee::Principal(principal))])
            .flatten()
            .max()
    }

    fn spent(&self, lineage: usize, now: i64) -> Spent {
        let fresh = Spent { month: month(now), ..Spent::default() };
        self.spent.get(&lineage).copied().filter(|spent| spent.month == fresh.month).unwrap_or(fresh)
    }

    /// What may be answered: mostly one code. In the order of DESIGN §4.
    pub fn decide(&self, key: usize, ask: &Ask, now: i64) -> Vec<&'static str> {
        let key = &self.keys[key];
        let owner = &self.principals[key.owner];
        let is_lacking = |permission| key.permissions.as_ref().is_some_and(|held| !held.contains(permission));
        let is_outside = key.addresses.as_ref().is_some_and(|all| ask.address.is_none_or(|from| !all.contains(from)));
        let checks = [
            (key.is_revoked, "REVOKED"),
            (self.spaces[key.space].is_suspended, "WORKSPACE_DISABLED"),
            (owner.is_stopped || owner.is_gone, "ACCOUNT_DISABLED"),
            (key.disabled.is_some(), "DISABLED"),
            (key.expires_at.is_some_and(|end| end <= now), "EXPIRED"),
            (is_outside, "IP_NOT_ALLOWED"),
            (ask.permission.is_some_and(is_lacking), "INSUFFICIENT_PERMISSIONS"),
            (ask.thing.is_some_and(|(thing, role)| self.role(key.owner, thing) < Some(role)), "NO_RESOURCE_ACCESS"),
        ];
        if let Some((_, code)) = checks.into_iter().find(|(fails, _)| *fails) {
            return vec![code];
        }
        let pools = self.groups_of(key.owner).into_iter().map(|group| self.groups[group].limit).chain([owner.limit]);
        // The limits of pools are nothing, or more than anybody spends.
        if ask.cost > 0 && pools.flatten().any(|limit| limit < ask.cost) {
            return vec!["USAGE_EXCEEDED"];
        }
        let spent = self.spent(key.lineage, now);
        match key.cap {
            Some(cap) if ask.cost > 0 && spent.least + ask.cost > cap => vec!["USAGE_EXCEEDED"],
            Some(cap) if ask.cost > 0 && spent.most + ask.cost > cap => vec!["VALID", "USAGE_EXCEEDED"],
            _ => vec!["VALID"],
        }
    }

    /// What an answer does.
    pub fn answered(&mut self, key: usize, ask: &Ask, code: &str, now: i64) {
        if code != "VALID" {
            return;
        }
        let lineage = self.keys[key].lineage;
        self.keys[key].used_at = Some(now);
        if ask.cost > 0 {
            let mut spent = self.spent(lineage, now);
            spent.least += ask.cost;
            spent.most += ask.cost;
            self.spent.insert(lineage, spent);
        }
    }

    /// A node was killed: whatever was leased may be gone.
    pub fn killed(&mut self) {
        self.spent.values_mut().for_each(|spent| spent.most = i64::MAX / 2);
    }

    /// Whether a key may call, and what hinders it.
    pub fn gate(&mut self, key: usize, now: i64) -> Outcome {
        let code = self.decide(key, &Ask { address: Some("127.0.0.1"), ..Ask::default() }, now)[0];
        self.answered(key, &Ask::default(), code, now);
        match code {
            "VALID" => Ok(()),
            "REVOKED" => Err("api_key_revoked"),
            "WORKSPACE_DISABLED" => Err("workspace_disabled"),
            "ACCOUNT_DISABLED" => Err("account_disabled"),
            "DISABLED" => Err("api_key_disabled"),
            "EXPIRED" => Err("api_key_expired"),
            _ => Err("ip_not_allowed"),
        }
    }

    /// Whether a workspace's owner may call.
    pub fn open(&self, space: usize) -> Outcome {
        if self.spaces[space].is_suspended { Err("workspace_disabled") } else { Ok(()) }
    }

    /// Who manages the keys of somebody: the workspace's owner those of accounts, people their own.
    pub fn managing(&mut self, owner: usize, now: i64) -> (String, Outcome) {
        let Principal { space, first_key, is_admin, .. } = self.principals[owner];
        let Some(first) = first_key else { return (self.spaces[space].admin.clone(), self.open(space)) };
        let secret = self.keys[first].secret.clone();
        let manages = is_admin || self.groups_of(owner).iter().any(|group| self.groups[*group].manages);
        let may = self.gate(first, now).and(if manages { Ok(()) } else { Err("insufficient_permissions") });
        (secret, may)
    }

    fn live_owner(&self, owner: usize) -> Outcome {
        let owner = &self.principals[owner];
        if owner.is_gone && !owner.is_person { Err("service_account_not_found") } else { Ok(()) }
    }

    pub fn live_key(&self, key: usize) -> Outcome {
        self.live_owner(self.keys[key].owner)?;
        if self.keys[key].is_revoked { Err("api_key_not_found") } else { Ok(()) }
    }

    pub fn may_have_account(&self, space: usize) -> Outcome {
        let count = self.principals.iter().filter(|all| all.space == space && !all.is_person && !all.is_gone).count();
        if count >= MOST_ACCOUNTS { Err("limit_reached") } else { Ok(()) }
    }

    pub fn may_have_key(&self, owner: usize) -> Outcome {
        self.live_owner(owner)
    }

    /// A new key, with nothing to bound it.
    pub fn new_key(&mut self, owner: usize, id: String, secret: String, now: i64) -> usize {
        self.lineages += 1;
        self.keys.push(Key {
            id,
            secret,
            space: self.principals[owner].space,
            owner,
            lineage: self.lineages,
            permissions: None,
            addresses: None,
            expires_at: None,
            cap: None,
            disabled: None,
            is_revoked: false,
            successor: None,
            unrotated: None,
            by_holder: None,
            exposed_at: None,
            made_at: now,
            enabled_at: None,
            used_at: None,
        });
        self.keys.len() - 1
    }

    pub fn enable(&mut self, key: usize, now: i64, is_admin: bool) -> Outcome {
        self.live_key(key)?;
        let key = &mut self.keys[key];
        match key.disabled {
            None => return Ok(()),
            Some(Why::Exposed) => return Err("api_key_exposed"),
            Some(Why::Holder) if !is_admin => return Err("forbidden"),
            Some(_) => {}
        }
        (key.disabled, key.enabled_at) = (None, Some(now));
        Ok(())
    }

    pub fn disable(&mut self, key: usize, why: Why) -> Outcome {
        self.live_key(key)?;
        let disabled = &mut self.keys[key].disabled;
        *disabled = disabled.or(Some(why));
        Ok(())
    }

    pub fn set_expiry(&mut self, key: usize, to: Option<i64>) -> Outcome {
        self.live_key(key)?;
        let key = &mut self.keys[key];
        key.expires_at = to;
        if key.successor.is_some() {
            key.unrotated = to;
        }
        Ok(())
    }

    pub fn revoke(&mut self, key: usize) -> Outcome {
        self.live_key(key)?;
        self.keys[key].is_revoked = true;
        Ok(())
    }

    /// Whether a key may be rotated.
    pub fn may_rotate(&self, key: usize, now: i64) -> Outcome {
        self.live_key(key)?;
        let key = &self.keys[key];
        if key.successor.is_some() {
            return Err("already_rotated");
        }
        let is_over = key.expires_at.is_some_and(|end| end <= now);
        let is_off = key.disabled.is_some_and(|why| why != Why::Exposed);
        if is_over || is_off { Err("not_rotatable") } else { Ok(()) }
    }

    pub fn rotated(&mut self, old: usize, id: String, secret: String, now: i64, grace: i64) -> usize {
        let successor = self.keys.len();
        let mut new = Key { id, secret, disabled: None, unrotated: None, exposed_at: None, ..self.keys[old].clone() };
        (new.made_at, new.enabled_at, new.used_at) = (now, None, None);
        let old = &mut self.keys[old];
        let ends = now + if old.disabled == Some(Why::Exposed) { 0 } else { grace };
        old.unrotated = old.expires_at;
        old.expires_at = Some(old.expires_at.map_or(ends, |end| end.min(ends)));
        old.successor = Some(successor);
        self.keys.push(new);
        successor
    }

    pub fn undo(&mut self, key: usize, now: i64) -> Outcome {
        self.live_key(key)?;
        let old = &self.keys[key];
        let successor = old.successor.ok_or("not_rotated")?;
        if old.expires_at.is_some_and(|end| end <= now) {
            return Err("not_rotated");
        }
        if self.keys[successor].successor.is_some() {
            return Err("already_rotated");
        }
        let old = &mut self.keys[key];
        (old.expires_at, old.successor) = (old.unrotated.take(), None);
        self.keys[successor].is_revoked = true;
        Ok(())
    }

    fn may_be_disabled(&self, key: usize) -> bool {
        let key = &self.keys[key];
        self.spaces[key.space].by_holder.or(key.by_holder).unwrap_or(true)
    }

    pub fn disable_self(&mut self, key: usize, now: i64) -> Outcome {
        self.gate(key, now)?;
        if !self.may_be_disabled(key) {
            return Err("self_disable_not_allowed");
        }
        self.disable(key, Why::Holder)
    }

    pub fn report(&mut self, key: usize, now: i64) {
        let is_quiet = self.keys[key].exposed_at.is_some_and(|at| now < at + QUIET);
        if self.keys[key].is_revoked || is_quiet {
            return;
        }
        self.keys[key].exposed_at = Some(now);
        if self.may_be_disabled(key) {
            self.keys[key].disabled = Some(Why::Exposed);
        }
    }

    pub fn idle(&mut self, now: i64) {
        for key in &mut self.keys {
            let Space { idle_days, is_suspended, .. } = self.spaces[key.space];
            let Some(since) = idle_days.filter(|_| !is_suspended).map(|days| now - days * DAY) else { continue };
            let is_over = key.is_revoked || key.disabled.is_some() || key.expires_at.is_some_and(|end| end <= now);
            let rests = [Some(key.made_at), key.enabled_at, key.used_at].into_iter().flatten().all(|at| at < since);
            if rests && !is_over && !self.principals[key.owner].is_admin {
                key.disabled = Some(Why::Idle);
            }
        }
    }

    pub fn stop_account(&mut self, account: usize, stops: bool) -> Outcome {
        self.live_owner(account)?;
        self.principals[account].is_stopped = stops;
        Ok(())
    }

    fn live_member(&self, principal: usize) -> Outcome {
        if self.principals[principal].is_gone { Err("user_not_found") } else { Ok(()) }
    }

    pub fn lock(&mut self, person: usize, locks: bool) -> Outcome {
        self.live_member(person)?;
        self.principals[person].is_stopped = locks;
        Ok(())
    }

    pub fn seat(&mut self, person: usize, is_admin: bool) -> Outcome {
        self.live_member(person)?;
        self.principals[person].is_admin = is_admin;
        Ok(())
    }

    pub fn limit(&mut self, principal: usize, limit: Option<i64>) -> Outcome {
        self.live_member(principal)?;
        self.principals[principal].limit = limit;
        Ok(())
    }

    /// A service account is deleted, or a person removed.
    pub fn end(&mut self, principal: usize) -> Outcome {
        if self.principals[principal].is_person {
            self.live_member(principal)?;
        } else {
            self.live_owner(principal)?;
        }
        let whose = &mut self.principals[principal];
        whose.is_gone = true;
        whose.groups.clear();
        whose.shares_by_default.clear();
        self.things.iter_mut().for_each(|thing| thing.shares.retain(|with, _| *with != Grantee::Principal(principal)));
        self.keys.iter_mut().filter(|key| key.owner == principal).for_each(|key| key.is_revoked = true);
        Ok(())
    }

    pub fn live_group(&self, group: usize) -> Outcome {
        if self.groups[group].is_gone { Err("group_not_found") } else { Ok(()) }
    }

    pub fn delete_group(&mut self, group: usize) -> Outcome {
        self.live_group(group)?;
        if self.groups[group].is_default {
            return Err("everybodys_group");
        }
        self.groups[group].is_gone = true;
        for principal in &mut self.principals {
            principal.groups.remove(&group);
            principal.shares_by_default.retain(|(with, _)| *with != group);
        }
        self.things.iter_mut().for_each(|thing| thing.shares.retain(|with, _| *with != Grantee::Group(group)));
        Ok(())
    }

    pub fn join(&mut self, group: usize, principal: usize, joins: bool) -> Outcome {
        self.live_group(group)?;
        if self.groups[group].is_default {
            return Err("everybodys_group");
        }
        self.live_member(principal)?;
        let groups = &mut self.principals[principal].groups;
        if joins {
            groups.insert(group)
        } else {
            groups.remove(&group)
        };
        Ok(())
    }

    pub fn may_register(&self, space: usize, id: &str, creator: usize) -> Outcome {
        if self.principals[creator].is_gone {
            return Err("422");
        }
        let is_taken = self.things.iter().any(|thing| thing.space == space && thing.id == id && !thing.is_gone);
        if is_taken { Err("resource_already_exists") } else { Ok(()) }
    }

    /// A new resource, also where a deleted one had its id; of that one nothing is left.
    pub fn register(&mut self, space: usize, id: String, creator: usize) -> usize {
        let shares = self.principals[creator].shares_by_default.iter();
        let shares = shares.map(|(group, role)| (Grantee::Group(*group), *role)).collect();
        let old = self.things.iter().position(|thing| thing.space == space && thing.id == id);
        let new = Thing { id, space, creator, shares, is_gone: false };
        match old {
            Some(place) => self.things[place] = new,
            None => self.things.push(new),
        }
        old.unwrap_or(self.things.len() - 1)
    }

    pub fn share_by_default(&mut self, account: usize, with: &[(usize, usize)]) -> Outcome {
        self.live_owner(account)?;
        if with.iter().any(|(group, _)| self.groups[*group].is_gone) {
            return Err("422");
        }
        self.principals[account].shares_by_default = with.to_vec();
        Ok(())
    }

    pub fn live_thing(&self, thing: usize) -> Outcome {
        if self.things[thing].is_gone { Err("resource_not_found") } else { Ok(()) }
    }

    pub fn share(&mut self, thing: usize, with: Grantee, role: Option<usize>) -> Outcome {
        self.live_thing(thing)?;
        match with {
            Grantee::Principal(principal) => self.live_member(principal)?,
            Grantee::Group(group) => self.live_group(group)?,
        }
        let thing = &mut self.things[thing];
        if with == Grantee::Principal(thing.creator) {
            return if role == Some(3) { Ok(()) } else { Err("creator_keeps_access") };
        }
        match role {
            Some(role) => thing.shares.insert(with, role),
            None => thing.shares.remove(&with),
        };
        Ok(())
    }

    pub fn delete_thing(&mut self, thing: usize) -> Outcome {
        self.live_thing(thing)?;
        self.things[thing].is_gone = true;
        Ok(())
    }

    /// The accounts of a workspace as they are listed: the oldest first, with whether they are stopped.
    pub fn accounts(&self, space: usize) -> Vec<(String, bool)> {
        let all = self.principals.iter().filter(|all| all.space == space && !all.is_person && !all.is_gone);
        all.map(|account| (account.id.clone(), account.is_stopped)).collect()
    }

    /// The keys of an owner as they are listed: the oldest first, with whether they are disabled.
    pub fn keys_of(&self, owner: usize) -> Vec<(String, bool)> {
        let all = self.keys.iter().filter(|key| key.owner == owner && !key.is_revoked);
        all.map(|key| (key.id.clone(), key.disabled.is_some())).collect()
    }

    /// What somebody can touch, by id, with the role.
    pub fn touchable(&self, principal: usize) -> BTreeMap<String, String> {
        let all = (0..self.things.len()).filter_map(|thing| Some((thing, self.role(principal, thing)?)));
        all.map(|(thing, role)| (self.things[thing].id.clone(), ROLES[role].to_owned())).collect()
    }
}
