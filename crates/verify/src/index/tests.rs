use super::*;
use crate::facts::ResourceFacts;
use proptest::prelude::*;
use stead_api::resource::Role;

fn digest(seed: u64) -> Digest {
    // Spread like an HMAC's output, by a multiplicative hash in each word.
    let mut digest = [0; 32];
    for (place, word) in digest.chunks_mut(8).enumerate() {
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (place as u64) << 7);
        word.copy_from_slice(&(mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    }
    digest
}

pub(crate) fn key(seed: u64, version: i64) -> KeyFacts {
    let bits = u128::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ (u128::from(seed) << 64);
    KeyFacts {
        id: KeyId::from_bits(bits),
        version,
        workspace_id: "ws".into(),
        principal_id: "usr".into(),
        lineage_id: LineageId::from_bits(bits),
        digest: digest(seed),
        foreign: false,
        revoked: false,
        disabled: false,
        expires_at: None,
        permissions: None,
        allowed_ips: Box::default(),
        character_limit: None,
        rate_limits: Box::default(),
        concurrency: [None; 3],
    }
}

fn put(index: &KeyIndex, facts: KeyFacts) {
    index.apply(Fact::Key(Box::new(facts)));
}

#[test]
fn a_record_is_small() {
    assert!(size_of::<Option<Record>>() <= 112, "{}", size_of::<Option<Record>>());
}

#[test]
fn every_key_is_found_by_digest_and_by_id_and_no_other_is() {
    let index = KeyIndex::default();
    index.reserve(30_000);
    (0..50_000).for_each(|seed| put(&index, key(seed, 1)));
    assert_eq!(index.len(), 50_000);
    for seed in 0..50_000 {
        let facts = key(seed, 1);
        assert_eq!(index.find(&facts.digest).unwrap().id(), facts.id);
        assert_eq!(index.get(&facts.id).unwrap().id(), facts.id);
    }
    for seed in 50_000..60_000 {
        assert!(index.find(&digest(seed)).is_none() && index.get(&key(seed, 1).id).is_none());
    }
    assert!(index.get(&"key_nonsense".into()).is_none());
}

#[test]
fn an_older_version_changes_nothing_and_a_newer_one_keeps_the_last_use() {
    let index = KeyIndex::default();
    put(&index, KeyFacts { disabled: true, ..key(1, 2) });
    put(&index, key(1, 1));
    put(&index, key(1, 2));
    let found = index.find(&digest(1)).unwrap();
    assert!(found.disabled);
    assert!(index.touch(&found, Timestamp(7)) && !index.touch(&found, Timestamp(9)));
    put(&index, key(1, 3));
    let found = index.find(&digest(1)).unwrap();
    assert!(!found.disabled);
    assert_eq!(index.last_used(found.place()), Some(Timestamp(9)));
    assert_eq!(index.use_to_tell(found.place()).unwrap().2, Timestamp(9));
    assert!(!index.touch(&found, Timestamp(10)));
    // Used since it was told: waits on. Not used since: the next use queues it.
    assert!(!index.rest(found.place(), Timestamp(9)) && index.rest(found.place(), Timestamp(10)));
    assert!(index.touch(&found, Timestamp(10)));
    // Another secret for the same key: the old one is nobody's.
    put(&index, KeyFacts { digest: digest(2), ..key(1, 4) });
    assert!(index.find(&digest(1)).is_none());
    assert_eq!(index.last_used(index.find(&digest(2)).unwrap().place()), Some(Timestamp(10)));
    assert_eq!(index.len(), 1);
}

#[test]
fn whose_workspace_or_owner_is_unknown_is_off() {
    let index = KeyIndex::default();
    put(&index, key(1, 1));
    let look = || index.find(&digest(1)).map(|key| (key.is_workspace_disabled, key.is_principal_disabled)).unwrap();
    assert_eq!(look(), (true, true));
    let workspace = |version, disabled| {
        Fact::Workspace(WorkspaceFacts { id: "ws".into(), version, disabled, billing: Billing::default() })
    };
    index.apply(workspace(2, false));
    index.apply(Fact::Principal(PrincipalFacts {
        id: "usr".into(),
        version: 1,
        disabled: false,
        is_admin: false,
        groups: Box::default(),
        cap: None,
    }));
    assert_eq!(look(), (false, false));
    index.apply(workspace(1, true));
    assert_eq!(look(), (false, false));
    index.apply(workspace(3, true));
    assert_eq!(look(), (true, false));
}

#[test]
fn foreign_forms_are_counted() {
    let index = KeyIndex::default();
    put(&index, KeyFacts { foreign: true, ..key(1, 1) });
    put(&index, KeyFacts { foreign: true, ..key(1, 2) });
    assert!(index.has_foreign());
    put(&index, KeyFacts { foreign: true, digest: digest(5), ..key(1, 3) });
    index.remove(&key(1, 1).id);
    assert!(!index.has_foreign() && index.is_empty());
}

proptest! {
    /// Against a map: whatever is put in, changed and taken out.
    #[test]
    fn the_index_is_a_map(steps in prop::collection::vec((0..3, 0_u64..40, 0_u64..3), 1..50)) {
        let (index, mut model) = (KeyIndex::default(), HashMap::new());
        for (number, (what, seed, secret)) in (1..).zip(steps) {
            let digest = digest(seed * 3 + secret);
            if what == 0 {
                index.remove(&key(seed, 0).id);
                model.remove(&seed);
            } else {
                put(&index, KeyFacts { digest, ..key(seed, number) });
                model.insert(seed, digest);
            }
            prop_assert_eq!(index.len(), model.len());
            for seed in 0..40 {
                let id = key(seed, 0).id;
                prop_assert_eq!(index.get(&id).map(|key| key.id()), model.get(&seed).map(|_| id.clone()));
                for secret in 0..3 {
                    let digest = super::tests::digest(seed * 3 + secret);
                    let here = model.get(&seed) == Some(&digest);
                    prop_assert_eq!(index.find(&digest).map(|key| key.id()), here.then(|| id.clone()));
                }
            }
        }
    }
}

/// Who has which role: against the rules written down plainly.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
struct Sharing {
    is_admin: bool,
    in_groups: Vec<usize>,
    live: [bool; 3],
    all: [bool; 3],
    everyone_all: bool,
    creator: bool,
    deleted: bool,
    direct: Option<Role>,
    through: [Option<Role>; 3],
    everyone: Option<Role>,
}

prop_compose! {
    fn sharings()(
        (is_admin, everyone_all, creator, deleted) in (rarely(), rarely(), rarely(), rarely()),
        in_groups in prop::sample::subsequence(vec![0, 1, 2], 0..=3),
        live in prop::array::uniform3(any::<bool>()),
        all in prop::array::uniform3(rarely()),
        direct in role(),
        through in prop::array::uniform3(role()),
        everyone in role(),
    ) -> Sharing {
        Sharing { is_admin, in_groups, live, all, everyone_all, creator, deleted, direct, through, everyone }
    }
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn role() -> impl Strategy<Value = Option<Role>> {
    prop::option::of(prop::sample::select(Role::ALL.to_vec()))
}

impl Sharing {
    fn tell(&self, index: &KeyIndex, version: i64) {
        let group = |number: usize| GroupId::from_bits(number as u128 + 100);
        let groups = self.in_groups.iter().map(|number| group(*number)).collect();
        let (id, disabled, is_admin, cap) = (PrincipalId::from_bits(7), false, self.is_admin, None);
        index.apply(Fact::Principal(PrincipalFacts { id: id.clone(), version, disabled, is_admin, groups, cap }));
        let facts = |id, deleted, all_resources| {
            Fact::Group(GroupFacts { workspace_id: "ws".into(), id, version, deleted, all_resources, cap })
        };
        for number in 0..3 {
            index.apply(facts(group(number), !self.live[number], self.all[number]));
        }
        index.apply(facts("default".into(), false, self.everyone_all));
        let through = self.through.iter().enumerate().map(|(number, role)| (number as u128 + 100, *role));
        let shares = [(7, self.direct), (EVERYONE, self.everyone)].into_iter().chain(through);
        index.apply(Fact::Resource(ResourceFacts {
            workspace_id: "ws".into(),
            kind: "voice".into(),
            id: "anna".into(),
            version,
            deleted: self.deleted,
            creator: self.creator.then_some(id),
            shares: shares.filter_map(|(grantee, role)| Some((grantee, role?))).collect(),
        }));
    }

    fn role(&self) -> Option<Role> {
        let live: Vec<_> = self.in_groups.iter().copied().filter(|number| self.live[*number]).collect();
        if self.deleted {
            return None;
        }
        if self.is_admin || self.creator || self.everyone_all || live.iter().any(|number| self.all[*number]) {
            return Some(Role::Admin);
        }
        let through = live.iter().map(|number| self.through[*number]);
        through.chain([self.direct, self.everyone]).max().flatten()
    }
}

proptest! {
    #[test]
    fn a_role_is_held_by_these_ways_and_no_other(
        history in prop::collection::vec(sharings(), 1..4),
        stale in sharings(),
    ) {
        let index = KeyIndex::default();
        put(&index, KeyFacts { principal_id: PrincipalId::from_bits(7), ..key(1, 1) });
        let asked = ResourceKey::new("voice", "anna");
        let held = || index.held(&index.find(&digest(1)).unwrap(), asked);
        prop_assert_eq!(held(), Held { role: None, via: Via::Unknown });
        for (version, sharing) in (1..).zip(&history) {
            sharing.tell(&index, version);
            prop_assert_eq!(held().role, sharing.role(), "{:?}", held());
        }
        // What is older changes nothing, and another resource is another one.
        stale.tell(&index, 1);
        let last = history.last().unwrap();
        prop_assert_eq!(held().role, last.role());
        let key = index.find(&digest(1)).unwrap();
        prop_assert_eq!(index.held(&key, ResourceKey::new("voice", "annb")).role, None);
        prop_assert_eq!(index.resources(), usize::from(!last.deleted));
        index.clear();
        index.filled();
        prop_assert_eq!(index.resources(), 0);
    }
}
