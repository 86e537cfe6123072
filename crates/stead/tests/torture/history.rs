//! What one client knows: how each of its keys must look, and the one change that is under way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Every key the client ever made, by key id; revoked ones stay, since they must stay revoked.
pub(crate) type Keys = BTreeMap<String, Key>;

/// A key as its maker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Unknown only when the answer was lost and the retry came too late to have it repeated.
    pub(crate) secret: Option<String>,
    /// `None` until the server has told it: a rotation answers with the successor's name.
    pub(crate) name: Option<String>,
    pub(crate) permissions: BTreeSet<String>,
    pub(crate) character_limit: Option<u64>,
    pub(crate) disabled: bool,
    pub(crate) revoked: bool,
    pub(crate) rotated_from: Option<String>,
    pub(crate) rotated_to: Option<String>,
    pub(crate) deadline: Deadline,
}

/// When a key ends by itself. The workload makes keys without expiry, so only a rotation sets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    Never,
    /// There must be one, but nobody has said which.
    Untold,
    At(String),
}

/// One thing a client may ask for. Never a no-op: old and new state always differ, so that the oracle can tell.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create {
        name: String,
        permissions: BTreeSet<String>,
        character_limit: Option<u64>,
    },
    /// Several fields in one request, because half of them would be the mistake to find.
    Update {
        key_id: String,
        name: String,
        permissions: Option<BTreeSet<String>>,
        character_limit: Option<u64>,
    },
    /// `by_update` uses `PATCH {"is_enabled": false}` in place of `POST …/disable`.
    Disable {
        key_id: String,
        by_update: bool,
    },
    Enable {
        key_id: String,
    },
    Rotate {
        key_id: String,
    },
    Revoke {
        key_id: String,
    },
}

/// A change with the id under which it may be asked for again.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) change: Change,
    pub(crate) idempotency_key: String,
}

/// What only the answer (or the listing) can tell about a key that a change brought into being.
#[derive(Clone, Debug)]
pub(crate) struct Born {
    pub(crate) key_id: String,
    pub(crate) secret: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) old_deadline: Deadline,
}

impl Change {
    /// The verb, for totals.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Change::Create { .. } => "create",
            Change::Update { .. } => "update",
            Change::Disable { .. } => "disable",
            Change::Enable { .. } => "enable",
            Change::Rotate { .. } => "rotate",
            Change::Revoke { .. } => "revoke",
        }
    }

    /// The key it is about; a creation has none yet.
    pub(crate) fn subject(&self) -> Option<&str> {
        match self {
            Change::Create { .. } => None,
            Change::Update { key_id, .. }
            | Change::Disable { key_id, .. }
            | Change::Enable { key_id }
            | Change::Rotate { key_id }
            | Change::Revoke { key_id } => Some(key_id),
        }
    }

    /// Whether it makes a key.
    pub(crate) fn bears(&self) -> bool {
        matches!(self, Change::Create { .. } | Change::Rotate { .. })
    }

    /// Whether a retry is promised to give the first outcome (management POSTs).
    pub(crate) fn repeatable(&self) -> bool {
        self.bears() || matches!(self, Change::Disable { by_update: false, .. })
    }

    /// Method, path below the account's `api-keys`, and body.
    pub(crate) fn request(&self) -> (&'static str, String, Option<Value>) {
        match self {
            Change::Create { name, permissions, character_limit } => (
                "POST",
                String::new(),
                Some(with_limit(json!({"name": name, "permissions": permissions}), *character_limit)),
            ),
            Change::Update { key_id, name, permissions, character_limit } => {
                let mut body = with_limit(json!({"name": name}), *character_limit);
                if let Some(permissions) = permissions {
                    body["permissions"] = json!(permissions);
                }
                ("PATCH", format!("/{key_id}"), Some(body))
            }
            Change::Disable { key_id, by_update: false } => ("POST", format!("/{key_id}/disable"), None),
            Change::Disable { key_id, by_update: true } => {
                ("PATCH", format!("/{key_id}"), Some(json!({"is_enabled": false})))
            }
            Change::Enable { key_id } => ("PATCH", format!("/{key_id}"), Some(json!({"is_enabled": true}))),
            Change::Rotate { key_id } => {
                ("POST", format!("/{key_id}/rotate"), Some(json!({"grace_period_seconds": 86_400})))
            }
            Change::Revoke { key_id } => ("DELETE", format!("/{key_id}"), None),
        }
    }

    /// Brings the keys into the state after the change. `born` belongs to a change that makes a key.
    pub(crate) fn apply(&self, keys: &mut Keys, born: Option<&Born>) {
        match self {
            Change::Create { permissions, character_limit, .. } => {
                let born = born.expect("a creation bears a key");
                keys.insert(born.key_id.clone(), first_of_lineage(born, permissions, *character_limit));
            }
            Change::Rotate { key_id } => rotate(keys, key_id, born.expect("a rotation bears a key")),
            Change::Update { key_id, name, permissions, character_limit } => edit(keys, key_id, |key| {
                key.name = Some(name.clone());
                if let Some(permissions) = permissions {
                    key.permissions.clone_from(permissions);
                }
                key.character_limit = character_limit.or(key.character_limit);
            }),
            Change::Disable { key_id, .. } => edit(keys, key_id, |key| key.disabled = true),
            Change::Enable { key_id } => edit(keys, key_id, |key| key.disabled = false),
            Change::Revoke { key_id } => edit(keys, key_id, |key| key.revoked = true),
        }
    }
}

fn with_limit(mut body: Value, character_limit: Option<u64>) -> Value {
    if let Some(limit) = character_limit {
        body["character_limit"] = json!(limit);
    }
    body
}

fn edit(keys: &mut Keys, key_id: &str, change: impl FnOnce(&mut Key)) {
    change(keys.get_mut(key_id).expect("clients change only keys they made"));
}

fn first_of_lineage(born: &Born, permissions: &BTreeSet<String>, character_limit: Option<u64>) -> Key {
    Key {
        secret: born.secret.clone(),
        name: born.name.clone(),
        permissions: permissions.clone(),
        character_limit,
        disabled: false,
        revoked: false,
        rotated_from: None,
        rotated_to: None,
        deadline: Deadline::Never,
    }
}

/// The successor inherits everything as it was; the old key gets its end.
fn rotate(keys: &mut Keys, old_id: &str, born: &Born) {
    edit(keys, old_id, |old| old.rotated_to = Some(born.key_id.clone()));
    let successor = Key {
        secret: born.secret.clone(),
        name: born.name.clone(),
        rotated_from: Some(old_id.to_owned()),
        rotated_to: None,
        ..keys[old_id].clone()
    };
    edit(keys, old_id, |old| old.deadline = born.old_deadline.clone());
    keys.insert(born.key_id.clone(), successor);
}
