//! The clients. Each owns an account and all keys in it, so that what its keys must look like follows from
//! its own acknowledgements alone, whatever the others do at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use super::api::{self, Api, Reply};
use super::history::{Born, Change, Deadline, Intent, Key, Keys};
use super::oracle::{self, Answer, Fault, Finding, Judgement, Outcome, Seen};
use super::random::Random;

/// With more than this many living keys a client revokes before it makes more; the tombstones pile up freely.
const LIVING_KEYS: usize = 24;

/// How many revoked keys are asked about again in an ordinary comparison; a thorough one asks about all.
const OLD_REVOKED_KEYS: usize = 5;

const PERMISSIONS: [&str; 6] =
    ["text_to_speech", "speech_to_text", "speech_to_speech", "models_read", "voices_read", "voices_write"];

/// What was counted, to be added up over the clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Acknowledged changes by kind, and verifications that were answered as they must be.
    pub(crate) acknowledged: BTreeMap<&'static str, u64>,
    /// Unacknowledged changes that were wholly absent, and wholly there, after the restart.
    pub(crate) found_old: u64,
    pub(crate) found_new: u64,
    /// Unacknowledged changes asked for again, and acknowledged ones that were.
    pub(crate) retried: u64,
    pub(crate) replayed: u64,
    /// Retries that came too late for the secret, and were told so.
    pub(crate) told_too_late: u64,
    /// 503: the server itself did not know.
    pub(crate) unavailable: u64,
    pub(crate) findings: Vec<Finding>,
}

/// How much of an account a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The list: what there is, and that there is nothing more.
    List,
    /// The list, and verify for living keys, newly revoked ones and a few old ones.
    Usual,
    /// The list, and verify for every key there ever was.
    Thorough,
}

/// One client with its own account, connection and luck.
#[derive(Debug)]
pub(crate) struct Worker {
    index: usize,
    account: String,
    http: Client,
    random: Random,
    keys: Keys,
    /// Set before the first byte is sent, cleared after the last byte of the answer was read.
    pending: Option<Intent>,
    /// The last acknowledged change that made a key, with the key: asked for again, it must give the same.
    last_birth: Option<(Intent, String)>,
    /// Revoked keys that were seen refused after a restart.
    seen_revoked: BTreeSet<String>,
    requests: u64,
    pub(crate) tally: Tally,
}

impl Worker {
    /// Opens the client's account on a server that nothing disturbs yet.
    pub(crate) async fn open(index: usize, seed: u64, api: &Api) -> Result<Self, String> {
        let http = api::client();
        let name = format!("torture {index}");
        let body = match api.create_account(&http, &name).await {
            Reply::Done(body) => body,
            reply => return Err(format!("the account was not created: {reply:?}")),
        };
        let account = api::text(&body["service_account_id"]).ok_or("the account's answer has no id")?;
        Ok(Self {
            index,
            account,
            http,
            random: Random::new(seed),
            keys: Keys::new(),
            pending: None,
            last_birth: None,
            seen_revoked: BTreeSet::new(),
            requests: 0,
            tally: Tally::default(),
        })
    }

    /// Works until the server stops answering.
    pub(crate) async fn run(mut self, api: Api) -> Self {
        while self.step(&api).await {}
        self
    }

    /// One operation. False when its outcome is unknown: then the client knows no more until it has compared.
    async fn step(&mut self, api: &Api) -> bool {
        if self.random.chance(30) {
            let old_too = self.random.chance(20);
            let askable = self.select(|key| key.secret.is_some() && (old_too || !key.revoked));
            if let Some(key_id) = self.random.pick(&askable).cloned() {
                return self.verify(api, &key_id).await;
            }
        }
        let change = self.choose();
        self.perform(api, change).await
    }

    async fn verify(&mut self, api: &Api, key_id: &str) -> bool {
        let key = &self.keys[key_id];
        let Some(secret) = &key.secret else {
            return true;
        };
        let body = match api.verify(&self.http, secret).await {
            Reply::Done(body) => body,
            Reply::Unknown(why) => return self.unknown(&why),
            reply @ Reply::Refused(..) => return self.find(Fault::Answer, &format!("verify: {reply:?}")),
        };
        let wrong = match api::read_answer(&body) {
            Some(answer) => oracle::in_answer(key, &answer),
            None => Some(format!("verify: no answer in {body}")),
        };
        if let Some(wrong) = wrong {
            return self.find(Fault::Lost, &format!("{key_id} while the server ran: {wrong}"));
        }
        *self.tally.acknowledged.entry("verify").or_default() += 1;
        true
    }

    async fn perform(&mut self, api: &Api, change: Change) -> bool {
        self.requests += 1;
        let intent = Intent { change, idempotency_key: format!("torture-{}-{}", self.index, self.requests) };
        self.pending = Some(intent.clone());
        match api.change(&self.http, &self.account, &intent).await {
            Reply::Done(body) => {
                self.pending = None;
                self.acknowledge(&intent, &body)
            }
            Reply::Unknown(why) => self.unknown(&why),
            reply @ Reply::Refused(..) => self.find(Fault::Answer, &format!("{:?}: {reply:?}", intent.change)),
        }
    }

    /// The change is promised from here on.
    fn acknowledge(&mut self, intent: &Intent, body: &Value) -> bool {
        let born = match birth(&self.keys, &intent.change, body) {
            Ok(born) => born,
            Err(what) => return self.find(Fault::Answer, &format!("{:?}: {what} in {body}", intent.change)),
        };
        intent.change.apply(&mut self.keys, born.as_ref());
        *self.tally.acknowledged.entry(intent.change.kind()).or_default() += 1;
        if let Some(born) = born {
            self.last_birth = Some((intent.clone(), born.key_id));
        }
        true
    }

    /// Notes that nobody knows what became of a request. 503 is told apart from a broken connection.
    fn unknown(&mut self, why: &str) -> bool {
        self.tally.unavailable += u64::from(why.starts_with("503"));
        false
    }

    fn note(&mut self, fault: Fault, text: &str) {
        self.tally.findings.push(Finding { fault, text: format!("client {}: {text}", self.index) });
    }

    /// Notes what must not be, and stops the client.
    fn find(&mut self, fault: Fault, text: &str) -> bool {
        self.note(fault, text);
        false
    }

    fn verifiable(&self) -> Vec<String> {
        self.select(|key| key.secret.is_some())
    }

    fn select(&self, fits: impl Fn(&Key) -> bool) -> Vec<String> {
        self.keys.iter().filter(|(_, key)| fits(key)).map(|(key_id, _)| key_id.clone()).collect()
    }

    /// Chooses what to do next; making a key is always possible, so there always is something.
    fn choose(&mut self) -> Change {
        let living = self.select(|key| !key.revoked).len();
        let roll = if living >= LIVING_KEYS { 99 } else { self.random.below(100) };
        let fits: fn(&Key) -> bool = match roll {
            0..25 => return self.creation(),
            25..50 => |key| !key.revoked,
            50..65 => |key| !key.revoked && !key.disabled,
            65..78 => |key| !key.revoked && key.disabled,
            78..90 => |key| !key.revoked && !key.disabled && key.rotated_to.is_none(),
            _ => |key| !key.revoked,
        };
        let Some(key_id) = self.random.pick(&self.select(fits)).cloned() else {
            return self.creation();
        };
        match roll {
            0..50 => self.update(key_id),
            50..65 => Change::Disable { key_id, by_update: self.random.chance(25) },
            65..78 => Change::Enable { key_id },
            78..90 => Change::Rotate { key_id },
            _ => Change::Revoke { key_id },
        }
    }

    fn creation(&mut self) -> Change {
        let character_limit = self.random.chance(50).then(|| self.random.between(1, 1_000_000));
        Change::Create { name: self.new_name(), permissions: self.permissions(), character_limit }
    }

    /// A new name always, so that it is never a no-op; the limit only of a key that shares it with no other.
    fn update(&mut self, key_id: String) -> Change {
        let key = &self.keys[&key_id];
        let alone = key.rotated_from.is_none() && key.rotated_to.is_none();
        let character_limit = (alone && self.random.chance(50)).then(|| self.random.between(1, 1_000_000));
        let permissions = self.random.chance(50).then(|| self.permissions());
        Change::Update { key_id, name: self.new_name(), permissions, character_limit }
    }

    /// Never used before: a key is recognised by it when its creation was not answered.
    fn new_name(&self) -> String {
        format!("key {} of client {}", self.requests, self.index)
    }

    fn permissions(&mut self) -> BTreeSet<String> {
        let count = self.random.between(1, 3);
        (0..count).filter_map(|_| self.random.pick(&PERMISSIONS)).map(|name| (*name).to_owned()).collect()
    }

    /// Compares the account with the history, resolves what is open, and compares again.
    ///
    /// `patience` is how long an open change may take to settle (see `Campaign`); none is given to anything
    /// acknowledged.
    pub(crate) async fn compare(mut self, api: Api, depth: Depth, patience: Duration) -> Self {
        let Some((seen, judgement)) = self.settled_judgement(&api, depth, patience).await else {
            return self;
        };
        if !judgement.findings.is_empty() {
            for finding in judgement.findings {
                self.note(finding.fault, &finding.text);
            }
            return self;
        }
        self.note_revoked(&seen);
        let repeated = match self.pending.take() {
            Some(intent) => self.resolve(&api, &intent, &judgement.outcome, judgement.born.as_ref()).await,
            None => self.replay(&api).await,
        };
        if repeated && let Some(seen) = self.observe(&api, Depth::List).await {
            let after = oracle::judge(&self.keys, None, &seen);
            for finding in after.findings {
                self.note(finding.fault, &format!("after a retry: {}", finding.text));
            }
        }
        self.learn(&api).await;
        self
    }

    async fn settled_judgement(&mut self, api: &Api, depth: Depth, patience: Duration) -> Option<(Seen, Judgement)> {
        let since = Instant::now();
        loop {
            let seen = self.observe(api, depth).await?;
            let pending = self.pending.as_ref().map(|intent| &intent.change);
            let judgement = oracle::judge(&self.keys, pending, &seen);
            if judgement.findings.is_empty() || pending.is_none() || since.elapsed() >= patience {
                return Some((seen, judgement));
            }
        }
    }

    /// What the server shows of this account. `None` when it shows nothing, which has been noted.
    async fn observe(&mut self, api: &Api, depth: Depth) -> Option<Seen> {
        let listed = match api.list(&self.http, &self.account).await {
            Reply::Done(body) => api::read_list(&body),
            Reply::Refused(StatusCode::NOT_FOUND, _) => {
                self.note(Fault::Lost, "the account is gone");
                return None;
            }
            reply => {
                self.note(Fault::Answer, &format!("list: {reply:?}"));
                return None;
            }
        };
        let Some(listed) = listed else {
            self.note(Fault::Answer, "list: a key without its fields");
            return None;
        };
        let mut seen = Seen { listed: listed.into_iter().collect(), ..Seen::default() };
        for key_id in self.choose_to_verify(depth) {
            let answer = self.ask(api, &key_id).await?;
            seen.answers.insert(key_id, answer);
        }
        Some(seen)
    }

    async fn ask(&mut self, api: &Api, key_id: &str) -> Option<Answer> {
        let secret = self.keys[key_id].secret.as_deref().unwrap_or_default();
        let reply = api.verify(&self.http, secret).await;
        let answer = match &reply {
            Reply::Done(body) => api::read_answer(body),
            Reply::Unknown(_) | Reply::Refused(..) => None,
        };
        if answer.is_none() {
            self.note(Fault::Answer, &format!("verify: {reply:?}"));
        }
        answer
    }

    fn choose_to_verify(&mut self, depth: Depth) -> Vec<String> {
        match depth {
            Depth::List => Vec::new(),
            Depth::Thorough => self.verifiable(),
            Depth::Usual => {
                let old: Vec<_> = self.seen_revoked.iter().cloned().collect();
                let some = (0..OLD_REVOKED_KEYS).filter_map(|_| self.random.pick(&old).cloned());
                let some: BTreeSet<_> = some.collect();
                let mut chosen = self.verifiable();
                chosen.retain(|key_id| !self.seen_revoked.contains(key_id) || some.contains(key_id));
                chosen
            }
        }
    }

    fn note_revoked(&mut self, seen: &Seen) {
        let revoked = seen.answers.keys().filter(|key_id| self.keys[*key_id].revoked);
        self.seen_revoked.extend(revoked.cloned());
    }

    /// Counts what became of the open change, and asks for it again where a retry is promised to give one
    /// outcome. True when something was sent, so that the account has to be looked at again.
    async fn resolve(&mut self, api: &Api, intent: &Intent, outcome: &Outcome, born: Option<&Born>) -> bool {
        match outcome {
            Outcome::Old => self.tally.found_old += 1,
            Outcome::New => self.tally.found_new += 1,
        }
        if intent.change.repeatable() {
            self.tally.retried += 1;
            self.retry(api, intent, born).await;
            return true;
        }
        if *outcome == Outcome::New {
            intent.change.apply(&mut self.keys, None);
        }
        false
    }

    /// Asks again for a change that was never answered. A second key shows up as a stray in the next look.
    async fn retry(&mut self, api: &Api, intent: &Intent, born: Option<&Born>) {
        match api.change(&self.http, &self.account, intent).await {
            Reply::Done(body) => {
                self.acknowledge(intent, &body);
            }
            Reply::Refused(StatusCode::CONFLICT, body) if intent.change.bears() && too_late(&body).is_some() => {
                self.tally.told_too_late += 1;
                let born = born.filter(|born| Some(&born.key_id) == too_late(&body).as_ref());
                match born {
                    Some(born) => intent.change.apply(&mut self.keys, Some(born)),
                    None => self.note(Fault::Answer, &format!("retry names a key that is not listed: {body}")),
                }
            }
            reply => self.note(Fault::Answer, &format!("retry of {:?}: {reply:?}", intent.change)),
        }
    }

    /// Asks again for the last acknowledged birth: the same key, and the same secret while it is repeated.
    async fn replay(&mut self, api: &Api) -> bool {
        let Some((intent, key_id)) = self.last_birth.take() else {
            return false;
        };
        if self.keys[&key_id].revoked {
            return false;
        }
        self.tally.replayed += 1;
        let told = match api.change(&self.http, &self.account, &intent).await {
            Reply::Done(body) => {
                let secret = self.keys[&key_id].secret.clone();
                let same = secret.is_none() || secret == api::text(&body["api_key"]);
                api::text(&body["key_id"]).filter(|_| same)
            }
            Reply::Refused(StatusCode::CONFLICT, body) => {
                self.tally.told_too_late += 1;
                too_late(&body)
            }
            reply => {
                self.note(Fault::Answer, &format!("replay of {:?}: {reply:?}", intent.change));
                return true;
            }
        };
        if told.as_ref() != Some(&key_id) {
            self.note(Fault::Stray, &format!("replay of {:?} gives {told:?} in place of {key_id}", intent.change));
        }
        true
    }

    /// Takes over what only the list can tell about keys whose answer was lost; from then on it must stay so.
    async fn learn(&mut self, api: &Api) {
        if self.select(|key| !key.revoked && (key.name.is_none() || key.deadline == Deadline::Untold)).is_empty() {
            return;
        }
        let Some(seen) = self.observe(api, Depth::List).await else {
            return;
        };
        for (key_id, listed) in seen.listed {
            let Some(key) = self.keys.get_mut(&key_id) else {
                continue;
            };
            key.name.get_or_insert(listed.name);
            if key.deadline == Deadline::Untold
                && let Some(moment) = listed.deadlines.into_iter().next()
            {
                key.deadline = Deadline::At(moment);
            }
        }
    }
}

/// What the answer tells about the key that was made: nothing for other changes.
fn birth(keys: &Keys, change: &Change, body: &Value) -> Result<Option<Born>, &'static str> {
    let (name, old_deadline) = match change {
        Change::Create { name, .. } => (Some(name.clone()), Deadline::Never),
        Change::Rotate { key_id } => {
            if body["rotated_from"].as_str() != Some(key_id) {
                return Err("another rotated_from");
            }
            let deadline = api::moment(&body["old_key_expires_at"]).ok_or("no old_key_expires_at")?;
            (api::text(&body["name"]), Deadline::At(deadline))
        }
        _ => return Ok(None),
    };
    let key_id = api::text(&body["key_id"]).ok_or("no key_id")?;
    if keys.contains_key(&key_id) {
        return Err("the id of another key");
    }
    let secret = Some(api::text(&body["api_key"]).ok_or("no api_key")?);
    Ok(Some(Born { key_id, secret, name, old_deadline }))
}

/// The key id of a 409 `secret_already_shown`, wherever in the error's shape it stands.
fn too_late(body: &Value) -> Option<String> {
    let detail = &body["detail"];
    let code = [&detail["code"], &detail["status"], &body["code"]].into_iter().find_map(Value::as_str);
    let key_id = [&detail["key_id"], &body["key_id"]].into_iter().find_map(Value::as_str);
    key_id.filter(|_| code == Some("secret_already_shown")).map(str::to_owned)
}
