//! Random chains of the rules on values alone: mint, change, rotate and undo, by any key that the actor holds. After
//! each step what a key can do is found out question by question, by no rule of [`super`], and must be within what the
//! first key could do, or what the key could do before.
//!
//! `STEAD_LATTICE` says how many chains (100000). That the test bites is shown by rules with a piece left out: each
//! must be found out within 10,000 chains.

use super::*;

/// Instants at which is asked; what lies behind doesn't matter any more.
const INSTANTS: [i64; 3] = [10, 20, 30];
const NAMES: [&str; 4] = ["manage", "read", "a.*", "a.b/+?,.."];
const ADDRESSES: [&str; 4] = ["127.0.0.1", "10.1.2.3", "10.9.9.9", "2001:db8::1"];
const AMOUNTS: [i64; 4] = [1, 2, 5, 100];
/// Uses of a key and its successors within seconds.
const BURSTS: [(i64, i64); 5] = [(1, 0), (3, 0), (3, 60), (10, 60), (10, 3600)];

/// The rules, each of which can be left out.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "rules that are independent of each other")]
struct Rules {
    dimensions: Vec<Dimension>,
    /// A widened key is judged as a whole.
    is_whole: bool,
    /// To enable is to widen.
    enabling: bool,
    minting: bool,
    changing: bool,
    rotating: bool,
    undoing: bool,
}

impl Rules {
    fn real() -> Self {
        let (dimensions, all) = (DIMENSIONS.to_vec(), true);
        Self { dimensions, is_whole: all, enabling: all, minting: all, changing: all, rotating: all, undoing: all }
    }

    /// As [`check_whole`].
    fn allows(&self, key: &KeyRow, caller: &KeyRow) -> bool {
        beyond(&self.dimensions, key, caller).is_none()
    }

    /// As [`check_change`].
    fn allows_change(&self, old: &KeyRow, new: &KeyRow, caller: &KeyRow) -> bool {
        if !self.is_whole {
            let widened = |one: &Dimension| (one.exceeds)(new, old) && (one.exceeds)(new, caller);
            return !self.dimensions.iter().any(widened);
        }
        let is_widened = if self.enabling {
            is_widened_in(&self.dimensions, old, new)
        } else {
            beyond(&self.dimensions, new, old).is_some()
        };
        !is_widened || self.allows(new, caller)
    }
}

/// What a key can do: for each dimension, which of its questions are answered with yes. All of them together are asked
/// of every combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Can([u32; 7]);

impl Can {
    fn of(key: &KeyRow, now: i64) -> Self {
        let mask = |yes: &mut dyn Iterator<Item = bool>| {
            yes.enumerate().fold(0_u32, |mask, (place, yes)| mask | (u32::from(yes) << place))
        };
        let names =
            &mut NAMES.iter().map(|name| key.permissions.as_ref().is_none_or(|held| held.iter().any(|h| h == name)));
        let instants =
            &mut INSTANTS.iter().map(|at| *at > now && !key.is_disabled && key.expires_at.is_none_or(|end| *at < end));
        let within = |address: &str| {
            let address: std::net::IpAddr = address.parse().unwrap();
            let networks = key.allowed_ips.as_ref();
            networks.is_none_or(|all| all.iter().any(|net| net.parse::<IpNet>().unwrap().contains(&address)))
        };
        let up_to = |limit: Option<i64>| AMOUNTS.iter().map(move |amount| limit.is_none_or(|limit| *amount <= limit));
        let at_once = &mut up_to(key.tts_concurrency_limit)
            .chain(up_to(key.music_concurrency_limit))
            .chain(up_to(key.dubbing_concurrency_limit));
        let rates = key.rate_limits.as_deref().unwrap_or(&[]);
        // A bucket each for two keys of a lineage, or one for both.
        let bursts = &mut [1, 2].into_iter().flat_map(|keys| BURSTS.map(|burst| (keys, burst))).map(
            |(keys, (uses, seconds))| {
                rates.iter().all(|rate| {
                    let buckets = if rate.per == RateLimitScope::Key { keys } else { 1 };
                    uses * keys * rate.window_seconds <= buckets * rate.limit * (rate.window_seconds + seconds)
                })
            },
        );
        let all = [
            mask(names),
            mask(instants),
            mask(&mut ADDRESSES.iter().map(|address| within(address))),
            mask(&mut up_to(key.character_limit)),
            mask(at_once),
            mask(bursts),
            u32::from(true),
        ];
        // What can't be used at all can do nothing.
        if all[1] == 0 || all[2] == 0 { Self([0; 7]) } else { Self(all) }
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// Whether each combination is one of the first's or one of the second's.
    #[allow(clippy::items_after_statements, reason = "it is of use right there")]
    fn is_within_either(&self, first: &Self, second: &Self) -> bool {
        if self.is_within(first) || self.is_within(second) {
            return true;
        }
        // Brute force: every combination of one question of each dimension.
        fn every(left: &[u32], picked: &mut Vec<u32>, holds: &dyn Fn(&[u32]) -> bool) -> bool {
            let Some((mask, rest)) = left.split_first() else { return holds(picked) };
            (0..32).filter(|place| mask >> place & 1 == 1).all(|place| {
                picked.push(1 << place);
                let fine = every(rest, picked, holds);
                picked.pop();
                fine
            })
        }
        let one_of = |picked: &[u32]| {
            let of = |can: &Self| picked.iter().zip(&can.0).all(|(bit, mask)| bit & mask != 0);
            of(first) || of(second)
        };
        every(&self.0, &mut Vec::new(), &one_of)
    }
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }
}

/// Rolls one field of a key anew; greedily, so often without any bound.
fn roll_field(dice: &mut Dice, key: &mut KeyRow, field: usize) {
    let list = |all: &[&str], keep: usize| {
        Some(all.iter().enumerate().filter(|(i, _)| keep >> i & 1 == 1).map(|(_, text)| (*text).to_owned()).collect())
    };
    let amount = |dice: &mut Dice| dice.one(&[None, Some(0), Some(1), Some(4), Some(50), Some(100)]);
    match field {
        0 => {
            let keep = dice.roll(16) | dice.roll(2);
            key.permissions = if dice.roll(3) == 0 { None } else { list(&NAMES, keep) };
        }
        1 => key.expires_at = dice.one(&[None, None, Some(11), Some(15), Some(25), Some(35)]),
        2 => {
            let nets = ["127.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0"];
            let keep = 1 + dice.roll(31);
            key.allowed_ips = if dice.roll(3) == 0 { None } else { list(&nets, keep) };
        }
        3 => key.character_limit = amount(dice),
        4 => key.tts_concurrency_limit = amount(dice),
        5 => key.music_concurrency_limit = amount(dice),
        6 => key.dubbing_concurrency_limit = amount(dice),
        7 => {
            let rate = |dice: &mut Dice| RateLimit {
                name: "*".into(),
                limit: dice.one(&[1, 3, 5, 20]),
                window_seconds: dice.one(&[1, 60, 3600]),
                per: dice.one(&[RateLimitScope::Key, RateLimitScope::Lineage]),
            };
            let count = dice.roll(3);
            key.rate_limits = Some((0..count).map(|_| rate(dice)).collect::<Vec<_>>()).filter(|all| !all.is_empty());
        }
        _ => key.is_disabled = dice.roll(3) == 0,
    }
}

fn blank() -> KeyRow {
    KeyRow {
        id: String::new(),
        principal_id: String::new(),
        lineage_id: String::new(),
        name: "*+/?.,..".into(),
        description: None,
        hint: String::new(),
        digest: Vec::new(),
        pepper_version: 0,
        is_foreign: false,
        permissions: None,
        allowed_ips: None,
        character_limit: None,
        tts_concurrency_limit: None,
        dubbing_concurrency_limit: None,
        music_concurrency_limit: None,
        rate_limits: None,
        third_party_disable_allowed: None,
        is_disabled: false,
        disable_reason: None,
        created_at: 0,
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
        rotated_to: None,
        unrotated_expires_at: None,
        enabled_at: None,
        exposed_at: None,
        version: 0,
        seal: Vec::new(),
    }
}

fn key(dice: &mut Dice) -> KeyRow {
    let mut key = blank();
    for field in 0..8 {
        if dice.roll(2) == 0 {
            roll_field(dice, &mut key, field);
        }
    }
    key
}

/// A key in a chain, and whether the actor has its secret.
struct Known {
    key: KeyRow,
    is_held: bool,
    is_gone: bool,
    successor: Option<usize>,
}

/// Runs a chain: the steps that were let through, or what went beyond.
fn run(rules: &Rules, seed: u64) -> Result<usize, String> {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut first = key(&mut dice);
    if let Some(names) = &mut first.permissions {
        names.push("manage".into());
    }
    let (mut now, mut done) = (0, 0);
    let start = first.clone();
    let mut all = vec![Known { key: first, is_held: true, is_gone: false, successor: None }];
    for _ in 0..2 {
        let mut other = key(&mut dice);
        other.is_disabled = dice.roll(2) == 0;
        if dice.roll(2) == 0 {
            // An admin has rotated it.
            other.unrotated_expires_at = other.expires_at;
            other.expires_at = Some(other.expires_at.map_or(12, |end| end.min(12)));
            other.rotated_to = Some("next".into());
        }
        all.push(Known { key: other, is_held: false, is_gone: false, successor: None });
    }
    for _ in 0..10 {
        if dice.roll(8) == 0 {
            now += 9;
        }
        let works = |known: &Known| {
            known.is_held
                && !known.is_gone
                && !known.key.is_disabled
                && known.key.holds("manage")
                && known.key.expires_at.is_none_or(|end| now < end)
        };
        let callers: Vec<_> = (0..all.len()).filter(|i| works(&all[*i])).collect();
        if callers.is_empty() {
            break;
        }
        let caller = all[dice.one(&callers)].key.clone();
        let at = dice.roll(all.len());
        if all[at].is_gone {
            continue;
        }
        let old = all[at].key.clone();
        let touched = match dice.roll(8) {
            0 | 1 => {
                // Mostly a twin of the caller with one field rolled anew: the rules are at their edges.
                let mut new =
                    if dice.roll(3) == 0 { key(&mut dice) } else { KeyRow { is_disabled: false, ..caller.clone() } };
                let field = dice.roll(8);
                roll_field(&mut dice, &mut new, field);
                if rules.minting && !rules.allows(&new, &caller) {
                    continue;
                }
                all.push(Known { key: new, is_held: true, is_gone: false, successor: None });
                all.len() - 1
            }
            2..=5 => {
                let mut new = old.clone();
                for _ in 0..=dice.roll(2) {
                    let field = dice.roll(9);
                    roll_field(&mut dice, &mut new, field);
                }
                if new.expires_at != old.expires_at {
                    if new.expires_at.is_some_and(|end| end <= now) {
                        continue;
                    }
                    if new.rotated_to.is_some() {
                        new.unrotated_expires_at = new.expires_at;
                    }
                }
                if rules.changing && !rules.allows_change(&old, &new, &caller) {
                    continue;
                }
                all[at].key = new;
                at
            }
            6 => {
                let is_over = old.is_disabled || old.expires_at.is_some_and(|end| end <= now);
                if is_over || old.rotated_to.is_some() || (rules.rotating && !rules.allows(&old, &caller)) {
                    continue;
                }
                let ends = old.expires_at.map_or(now + 5, |end| end.min(now + 5));
                let key = &mut all[at].key;
                key.unrotated_expires_at = key.expires_at;
                key.expires_at = Some(ends);
                key.rotated_to = Some("next".into());
                all[at].successor = Some(all.len());
                all.push(Known { key: old.clone(), is_held: true, is_gone: false, successor: None });
                all.len() - 1
            }
            _ => {
                let mut new = old.clone();
                let is_over = old.expires_at.is_some_and(|end| end <= now);
                if new.rotated_to.take().is_none() || is_over {
                    continue;
                }
                new.expires_at = new.unrotated_expires_at.take();
                if rules.undoing && !rules.allows(&new, &caller) {
                    continue;
                }
                if let Some(successor) = all[at].successor.take() {
                    all[successor].is_gone = true;
                }
                all[at].key = new;
                at
            }
        };
        done += 1;
        let (may, new) = (Can::of(&start, now), Can::of(&all[touched].key, now));
        let before = if touched == at { Can::of(&old, now) } else { Can([0; 7]) };
        if all[touched].is_held && !new.is_within(&may) {
            return Err(format!("chain {seed}: {:?} goes beyond {start:?}: {new:?} {may:?}", all[touched].key));
        }
        if !new.is_within_either(&may, &before) {
            return Err(format!("chain {seed}: {:?} of {old:?} goes beyond {start:?}", all[touched].key));
        }
    }
    Ok(done)
}

#[test]
#[allow(clippy::print_stdout, reason = "it tells what it did")]
fn no_chain_goes_beyond_its_first_key() {
    let chains: u64 = 100_000;
    let steps: usize =
        (0..chains).map(|seed| run(&Rules::real(), seed).unwrap_or_else(|beyond| panic!("{beyond}"))).sum();
    println!("{chains} chains, {steps} steps that were let through, none beyond");
    assert!(steps as u64 > chains * 2, "most are refused: {steps}");
}

#[test]
#[allow(clippy::print_stdout, reason = "it tells what it found")]
fn each_rule_left_out_is_found_out() {
    fn only_tts(a: &KeyRow, b: &KeyRow) -> bool {
        beyond_number(a.tts_concurrency_limit, b.tts_concurrency_limit)
    }
    fn only_music(a: &KeyRow, b: &KeyRow) -> bool {
        beyond_number(a.music_concurrency_limit, b.music_concurrency_limit)
    }
    let real = Rules::real;
    let mut mutants: Vec<(String, Rules)> = Vec::new();
    for (place, dimension) in DIMENSIONS.iter().enumerate() {
        let mut rules = real();
        rules.dimensions.remove(place);
        mutants.push((format!("without {}", dimension.param), rules));
        if dimension.param == "tts_concurrency_limit" {
            for (name, half) in
                [("only speech at once", only_tts as fn(&KeyRow, &KeyRow) -> bool), ("only music at once", only_music)]
            {
                let mut rules = real();
                rules.dimensions[place].exceeds = half;
                mutants.push((name.into(), rules));
            }
        }
    }
    mutants.extend([
        ("each dimension judged by itself".into(), Rules { is_whole: false, ..real() }),
        ("enabling is free".into(), Rules { enabling: false, ..real() }),
        ("minting is free".into(), Rules { minting: false, ..real() }),
        ("changing is free".into(), Rules { changing: false, ..real() }),
        ("rotating is free".into(), Rules { rotating: false, ..real() }),
        ("undoing is free".into(), Rules { undoing: false, ..real() }),
    ]);
    for (name, rules) in mutants {
        let found = (0..10_000).find(|seed| run(&rules, *seed).is_err());
        println!("{name}: {}", found.map_or("not found".into(), |chains| format!("found after {} chains", chains + 1)));
        assert!(found.is_some(), "{name} was not found out in 10,000 chains");
    }
}
