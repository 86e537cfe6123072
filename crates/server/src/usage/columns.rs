//! What counts can be told apart and chosen by (wire §15.6). Of many of the wire's names Stead knows nothing, since it
//! sees keys and no voices or models: they are null in every row, and no mistake.

use super::counter::{OTHERS, UNKNOWN};
use super::outcome;
use crate::keys::{self, Attribution};
use crate::members;
use crate::store::{Error, Tx};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use stead_api::id::{KeyId, PrincipalId, WorkspaceId};

/// The one product: whatever asks about keys.
pub const PRODUCT: &str = "api";
/// Where requests come from: the hosted service tells its website from its API.
pub const SOURCE: &str = "api";
/// Where they were answered.
pub const REGION: &str = "self_hosted";

/// A column of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name on the wire.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Product,
    Source,
    Region,
    Workspace,
    Owner,
    Key,
    Hash,
    HasKey,
    Outcome,
    Nothing,
}

/// The wire's, then Stead's own.
const COLUMNS: [Column; 21] = [
    of("product_type", Kind::Product),
    of("model", Kind::Nothing),
    of("voice_id", Kind::Nothing),
    of("user_id", Kind::Owner),
    of("fiat_currency", Kind::Nothing),
    of("fiat_charge_type", Kind::Nothing),
    of("region", Kind::Region),
    of("reporting_workspace_id", Kind::Workspace),
    of("request_source", Kind::Source),
    of("resource_id", Kind::Nothing),
    of("subresource_id", Kind::Nothing),
    of("request_queue_type", Kind::Nothing),
    of("voice_multiplier", Kind::Nothing),
    of("hashed_xi_api_key", Kind::Hash),
    of("billing_group_id", Kind::Nothing),
    of("surface", Kind::Nothing),
    of("actor", Kind::Nothing),
    of("has_api_key", Kind::HasKey),
    of("key_id", Kind::Key),
    of("service_account_user_id", Kind::Owner),
    of("outcome", Kind::Outcome),
];

const fn of(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

impl Column {
    /// The column of this name.
    pub fn find(name: &str) -> Option<Self> {
        COLUMNS.into_iter().find(|column| column.name == name)
    }

    /// The type of its cells.
    pub fn kind(self) -> &'static str {
        if self.kind == Kind::HasKey { "Bool" } else { "String" }
    }

    /// Whether it says something of the key that only the store knows.
    pub fn needs_keys(self) -> bool {
        matches!(self.kind, Kind::Owner | Kind::Hash)
    }

    /// The column with its names for people.
    pub fn label(self) -> Option<&'static str> {
        match self.name {
            "user_id" => Some("user_label"),
            "service_account_user_id" => Some("service_account_name"),
            "reporting_workspace_id" => Some("reporting_workspace_name"),
            "key_id" | "hashed_xi_api_key" => Some("api_key_name"),
            _ => None,
        }
    }

    /// What it says of a count.
    pub fn value(self, workspace: &WorkspaceId, keys: &Keys, key: u128, number: u8) -> Value {
        let known = || keys.0.get(&key);
        match self.kind {
            Kind::Product => PRODUCT.into(),
            Kind::Source => SOURCE.into(),
            Kind::Region => REGION.into(),
            Kind::Workspace => workspace.as_str().into(),
            Kind::Owner => known().map(|known| known.principal_id.as_str()).into(),
            Kind::Hash => known().map(|known| known.hashed_xi_api_key.as_str()).into(),
            Kind::Key => (key != UNKNOWN && key != OTHERS).then(|| KeyId::from_bits(key).to_string()).into(),
            Kind::HasKey => (key != UNKNOWN).into(),
            Kind::Outcome => outcome(number).into(),
            Kind::Nothing => Value::Null,
        }
    }
}

/// The keys of a workspace, by the bits of their ids.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<u128, Attribution>);

impl Keys {
    /// All of them or all of one owner's, revoked ones included.
    pub fn read(tx: &mut Tx<'_>, workspace: &WorkspaceId, owner: Option<&PrincipalId>) -> Result<Self, Error> {
        let keys = keys::attributions(tx, workspace, owner)?.into_iter();
        Ok(Self(keys.filter_map(|key| Some((key.id.bits()?, key))).collect()))
    }

    /// Some of them.
    pub fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, ids: &BTreeSet<KeyId>) -> Result<Self, Error> {
        let mut found = HashMap::new();
        for id in ids {
            if let (Some(bits), Some(key)) = (id.bits(), keys::attribution(tx, workspace, id)?) {
                found.insert(bits, key);
            }
        }
        Ok(Self(found))
    }

    /// Whose it is.
    pub fn owner(&self, key: u128) -> Option<&PrincipalId> {
        self.0.get(&key).map(|key| &key.principal_id)
    }
}

/// Names for people, each read once.
pub struct Labels<'a> {
    workspace: &'a WorkspaceId,
    keys: Option<Keys>,
    /// Of keys, by id and by hash.
    key_names: Option<HashMap<String, String>>,
    owners: HashMap<String, Option<String>>,
}

impl<'a> Labels<'a> {
    /// Of a workspace, by its keys if they were read already.
    pub fn new(workspace: &'a WorkspaceId, keys: Option<Keys>) -> Self {
        Self { workspace, keys, key_names: None, owners: HashMap::new() }
    }

    /// What people call a value of a column; null where there is no name.
    pub fn of(&mut self, tx: &mut Tx<'_>, column: Column, value: &Value) -> Result<Value, Error> {
        let Some(text) = value.as_str() else { return Ok(Value::Null) };
        let name = match column.kind {
            Kind::Owner => {
                if !self.owners.contains_key(text) {
                    let name = members::name(tx, self.workspace, &text.into())?;
                    self.owners.insert(text.to_owned(), name);
                }
                self.owners.get(text).cloned().flatten()
            }
            Kind::Key | Kind::Hash => {
                if self.key_names.is_none() {
                    let keys = match self.keys.take() {
                        Some(keys) => keys,
                        None => Keys::read(tx, self.workspace, None)?,
                    };
                    let both =
                        |key: Attribution| [(key.id.to_string(), key.name.clone()), (key.hashed_xi_api_key, key.name)];
                    self.key_names = Some(keys.0.into_values().flat_map(both).collect());
                }
                self.key_names.as_ref().and_then(|names| names.get(text)).cloned()
            }
            Kind::Workspace => crate::workspaces::find(tx, self.workspace)?.map(|row| row.name),
            _ => None,
        };
        Ok(name.into())
    }
}
