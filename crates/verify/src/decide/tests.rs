use super::*;
use crate::facts::{Fact, KeyFacts, PrincipalFacts, WorkspaceFacts};
use crate::index::KeyIndex;
use crate::limits::Account;
use crate::period::{Billing, Period};
use proptest::prelude::*;
use stead_api::id::{KeyId, LineageId};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
const MONTH: Period = Period { starts: Timestamp(0), ends: Timestamp::from_seconds(2_000_000) };

/// Which facts stand against the key, and what is asked of it.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
struct Case {
    revoked: bool,
    workspace_disabled: bool,
    account_disabled: bool,
    disabled: bool,
    expires_at: Option<Timestamp>,
    allowed_ips: Vec<&'static str>,
    permissions: Option<Vec<u8>>,
    /// Of ten seconds.
    rate: Option<u64>,
    uses: u64,
    at_once: Option<u64>,
    under_way: u64,
    character_limit: Option<u64>,
    used: u64,
    asks: Vec<u8>,
    ip: Option<&'static str>,
    cost: u64,
    /// The role asked for, and the one held.
    wants: Option<Role>,
    held: Option<Role>,
    /// What is left of shared credits.
    pool: Option<u64>,
}

impl Case {
    fn facts(&self) -> KeyFacts {
        let rate = |limit| RateLimit { name: "often".into(), limit, window_seconds: 10, per_lineage: false };
        KeyFacts {
            id: KeyId::from_bits(1),
            version: 1,
            workspace_id: "ws".into(),
            principal_id: "usr".into(),
            lineage_id: LineageId::from_bits(1),
            digest: [0; 32],
            foreign: false,
            revoked: self.revoked,
            disabled: self.disabled,
            expires_at: self.expires_at,
            permissions: self.permissions.as_ref().map(|places| places.iter().copied().collect()),
            allowed_ips: self.allowed_ips.iter().map(|net| net.parse().unwrap()).collect(),
            character_limit: self.character_limit,
            rate_limits: self.rate.map(rate).into_iter().collect(),
            concurrency: [self.at_once, None, None],
        }
    }

    fn record(&self) -> KeyRecord {
        let index = KeyIndex::default();
        let (disabled, billing) = (self.workspace_disabled, Billing::default());
        index.apply(Fact::Workspace(WorkspaceFacts { id: "ws".into(), version: 1, disabled, billing }));
        index.apply(Fact::Principal(PrincipalFacts {
            id: "usr".into(),
            version: 1,
            disabled: self.account_disabled,
            is_admin: false,
            groups: Box::default(),
            cap: None,
        }));
        index.apply(Fact::Key(Box::new(self.facts())));
        index.find(&[0; 32]).unwrap()
    }

    fn ask(&self) -> Ask {
        Ask {
            permissions: self.asks.iter().copied().collect(),
            ip: self.ip.map(|ip| ip.parse().unwrap()),
            cost: self.cost,
            concurrency: Some((Concurrency::Tts, 60)),
            resource: self.wants.map(|role| (ResourceKey::new("voice", "anna"), role)),
            ..Ask::default()
        }
    }

    /// As the key's limits stand after its uses.
    fn standing(&self, key: &KeyRecord) -> Standing {
        let mut account = Account::default();
        account.credits.turn(MONTH);
        if let Some(limits) = &key.limits {
            for _ in 0..self.uses {
                account.take(1, limits, &Ask { concurrency: None, ..self.ask() }, 0, 0);
            }
        }
        let standing = account.standing(1, key.limits.as_deref(), &self.ask(), 0);
        let pool = self.pool.map(|left| PoolState { kind: PoolKind::Account, cap: left + 7, spent: 7 });
        let held = Held { role: self.held, via: if self.held.is_some() { Via::Direct } else { Via::Nothing } };
        let (spent, used, under_way, frees_after) = (self.used, self.used, self.under_way, 5_000_000);
        Standing { spent, used, under_way, frees_after, pool, held, ..standing }
    }

    fn code(&self) -> DecisionCode {
        let key = self.record();
        decide(&key, &self.standing(&key), &self.ask(), NOW)
    }
}

#[test]
fn the_first_failing_check_of_the_list_decides() {
    use DecisionCode as Code;
    let mut case = Case {
        revoked: true,
        workspace_disabled: true,
        account_disabled: true,
        disabled: true,
        expires_at: Some(NOW),
        allowed_ips: vec!["10.0.0.0/8"],
        permissions: Some(vec![1]),
        rate: Some(2),
        uses: 2,
        at_once: Some(3),
        under_way: 3,
        character_limit: Some(10),
        used: 8,
        asks: vec![1, 2],
        ip: Some("192.0.2.1"),
        cost: 3,
        wants: Some(Role::Editor),
        held: Some(Role::Commenter),
        pool: Some(1),
    };
    assert_eq!(case.code(), Code::Revoked);
    case.revoked = false;
    assert_eq!(case.code(), Code::WorkspaceDisabled);
    case.workspace_disabled = false;
    assert_eq!(case.code(), Code::AccountDisabled);
    case.account_disabled = false;
    assert_eq!(case.code(), Code::Disabled);
    case.disabled = false;
    assert_eq!(case.code(), Code::Expired);
    case.expires_at = Some(Timestamp(NOW.0 + 1));
    assert_eq!(case.code(), Code::IpNotAllowed);
    case.ip = Some("10.1.2.3");
    assert_eq!(case.code(), Code::InsufficientPermissions);
    case.asks = vec![1];
    assert_eq!(case.code(), Code::NoResourceAccess);
    case.held = Some(Role::Editor);
    let hits = |case: &Case| {
        let key = case.record();
        let (standing, ask) = (case.standing(&key), case.ask());
        let code = decide(&key, &standing, &ask, NOW);
        hit(&key, &standing, &ask, code, NOW)
            .map(|hit| (code, hit.name.to_owned(), hit.kind, hit.limit, hit.remaining, hit.retry_after))
    };
    assert_eq!(hits(&case), Some((Code::RateLimited, "often".into(), LimitKind::Rate, 2, 0, 5_000_000)));
    case.uses = 1;
    assert_eq!(hits(&case), Some((Code::RateLimited, "tts".into(), LimitKind::Concurrency, 3, 0, 1_000_000)));
    case.under_way = 2;
    let until = 1_000_000_000_000;
    assert_eq!(hits(&case), Some((Code::UsageExceeded, "character_limit".into(), LimitKind::Credits, 10, 2, until)));
    case.cost = 2;
    assert_eq!(hits(&case), Some((Code::UsageExceeded, "usage_limit".into(), LimitKind::Credits, 8, 1, until)));
    case.pool = Some(2);
    assert_eq!((case.code(), hits(&case)), (Code::Valid, None));
}

#[test]
fn an_expiry_is_the_first_instant_of_refusal() {
    let at = |micros| Case { expires_at: Some(Timestamp(NOW.0 + micros)), ..Case::default() }.code();
    assert_eq!(at(-1), DecisionCode::Expired);
    assert_eq!(at(0), DecisionCode::Expired);
    assert_eq!(at(1), DecisionCode::Valid);
}

#[test]
fn addresses_of_both_families_and_the_mapped_form() {
    let from = |ip| Case { allowed_ips: vec!["203.0.113.0/24", "2001:db8::/32"], ip, ..Case::default() }.code();
    for good in ["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"] {
        assert_eq!(from(Some(good)), DecisionCode::Valid, "{good}");
    }
    for bad in ["203.0.114.9", "2001:db9::1", "::ffff:203.0.114.9"] {
        assert_eq!(from(Some(bad)), DecisionCode::IpNotAllowed, "{bad}");
    }
    assert_eq!(from(None), DecisionCode::IpNotAllowed);
    assert_eq!(Case::default().code(), DecisionCode::Valid);
}

#[test]
fn an_empty_list_of_permissions_is_nothing_and_null_is_everything() {
    let with = |permissions| Case { permissions, asks: vec![5], ..Case::default() }.code();
    assert_eq!(with(Some(vec![])), DecisionCode::InsufficientPermissions);
    assert_eq!(with(None), DecisionCode::Valid);
    assert_eq!(Case { permissions: Some(vec![]), ..Case::default() }.code(), DecisionCode::Valid);
}

#[test]
fn no_cost_is_never_too_much_and_the_cap_itself_may_be_reached() {
    let charge = |used, cost| Case { character_limit: Some(100), used, cost, ..Case::default() }.code();
    assert_eq!(charge(100, 0), DecisionCode::Valid);
    assert_eq!(charge(99, 1), DecisionCode::Valid);
    assert_eq!(charge(100, 1), DecisionCode::UsageExceeded);
    assert_eq!(charge(u64::MAX, u64::MAX), DecisionCode::UsageExceeded);
    assert_eq!(Case { cost: u64::MAX, ..Case::default() }.code(), DecisionCode::Valid);
}

#[test]
fn an_explanation_tells_every_check_and_its_reason() {
    let case = Case {
        permissions: Some(vec![0]),
        asks: vec![0, 1],
        ip: Some("192.0.2.1"),
        allowed_ips: vec!["10.0.0.0/8"],
        ..Case::default()
    };
    let key = case.record();
    let trail = explain(&key, &case.standing(&key), &case.ask(), NOW, &Catalogue::default());
    let failed: Vec<_> =
        trail.iter().filter(|check| !check.passed).map(|check| (&*check.check, &*check.reason)).collect();
    assert_eq!(
        failed,
        [
            ("address", "192.0.2.1 (from the question) is not in the key's allowlist (10.0.0.0/8)"),
            ("permissions", "the key lacks speech_to_speech"),
        ]
    );
    assert_eq!(trail.len(), CHECKS.len());
}

prop_compose! {
    fn cases()(
        flags in prop::array::uniform4(any::<bool>()),
        expires in prop::option::of(-5_i64..5),
        nets in prop::sample::subsequence(vec!["10.0.0.0/8", "192.0.2.0/24", "::1/128"], 0..3),
        permissions in prop::option::of(prop::collection::vec(0_u8..4, 0..4)),
        limit in prop::option::of(0_u64..20),
        used in 0_u64..20,
        rate in prop::option::of(0_u64..4),
        uses in 0_u64..4,
        at_once in prop::option::of(0_u64..3),
        under_way in 0_u64..3,
        asks in prop::collection::vec(0_u8..4, 0..3),
        ip in prop::option::of(prop::sample::select(vec!["10.1.1.1", "192.0.2.7", "::1", "8.8.8.8"])),
        (cost, pool) in (0_u64..10, prop::option::of(0_u64..10)),
        (wants, held) in (prop::option::of(prop::sample::select(Role::ALL.to_vec())),
            prop::option::of(prop::sample::select(Role::ALL.to_vec()))),
    ) -> Case {
        Case {
            revoked: flags[0], workspace_disabled: flags[1], account_disabled: flags[2], disabled: flags[3],
            expires_at: expires.map(|s| NOW.plus_seconds(s)), allowed_ips: nets, permissions, rate, uses, at_once,
            under_way, character_limit: limit, used, asks, ip, cost,
            wants, held, pool,
        }
    }
}

proptest! {
    /// Whatever is made stricter, a refused key stays refused.
    #[test]
    fn denied_stays_denied_when_a_fact_gets_stricter(case in cases(), which in 0..16) {
        let mut stricter = case.clone();
        match which {
            0 => stricter.revoked = true,
            1 => stricter.workspace_disabled = true,
            2 => stricter.account_disabled = true,
            3 => stricter.disabled = true,
            4 => stricter.expires_at = Some(case.expires_at.map_or(NOW, |end| end.plus_seconds(-1))),
            5 => stricter.asks.push(3),
            6 => stricter.used += 1,
            7 => stricter.uses += 1,
            8 => stricter.rate = Some(case.rate.unwrap_or(20).saturating_sub(1)),
            9 => stricter.under_way += 1,
            10 => stricter.at_once = Some(case.at_once.unwrap_or(20).saturating_sub(1)),
            12 => stricter.wants = Some(Role::Admin),
            13 => stricter.held = None,
            14 => stricter.pool = Some(case.pool.unwrap_or(20).saturating_sub(1)),
            11 => stricter.permissions = Some(case.permissions.clone().unwrap_or_default().into_iter().skip(1).collect()),
            _ => stricter.character_limit = Some(case.character_limit.unwrap_or(20).saturating_sub(1)),
        }
        prop_assert!(case.code() == DecisionCode::Valid || stricter.code() != DecisionCode::Valid);
    }

    /// The trail and the decision are made by the same checks.
    #[test]
    fn the_trail_agrees_with_the_decision(case in cases()) {
        let key = case.record();
        let trail = explain(&key, &case.standing(&key), &case.ask(), NOW, &Catalogue::default());
        prop_assert_eq!(trail.iter().all(|check| check.passed), case.code() == DecisionCode::Valid);
    }

    /// What the mirror holds decides as the facts do: a record that was changed over and over, and one made at once.
    #[test]
    fn a_mirrored_record_decides_like_a_fresh_one(before in prop::collection::vec(cases(), 0..4), last in cases()) {
        let index = KeyIndex::default();
        for (version, case) in (1..).zip(before.iter().chain([&last])) {
            let (disabled, billing) = (case.workspace_disabled, Billing::default());
            index.apply(Fact::Workspace(WorkspaceFacts { id: "ws".into(), version, disabled, billing }));
            index.apply(Fact::Principal(PrincipalFacts { id: "usr".into(), version, disabled: case.account_disabled, is_admin: false, groups: Box::default(), cap: None }));
            index.apply(Fact::Key(Box::new(KeyFacts { version, ..case.facts() })));
        }
        let kept = index.find(&[0; 32]).unwrap();
        prop_assert_eq!(decide(&kept, &last.standing(&kept), &last.ask(), NOW), last.code());
    }
}
