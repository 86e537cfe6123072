//! API keys (wire §7), with the brief's names beside the official ones.

use crate::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use crate::secret::{Secret, reveal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A key as lists and reads show it. The secret is never part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    /// 1–128 printable characters.
    pub name: String,
    /// The last four characters of the secret.
    pub hint: String,
    /// The id used in paths.
    pub key_id: KeyId,
    /// The same, by the brief's name.
    pub api_key_id: KeyId,
    /// The owner: a service account, or for a person's own key that person.
    pub service_account_user_id: PrincipalId,
    /// The same, by the brief's name.
    pub service_account_id: PrincipalId,
    /// An opaque hash, stable for the key's life. Nothing can be looked up or proved with it.
    pub hashed_xi_api_key: String,
    /// Free text.
    pub description: Option<String>,
    /// Seconds since the epoch.
    pub created_at_unix: i64,
    /// The same, by the brief's name.
    pub created_at: i64,
    /// Whether the key itself is disabled (its account may be, too).
    pub is_disabled: bool,
    /// `active`, `disabled`, `expired` or `revoked`.
    pub status: KeyStatus,
    /// Null means unrestricted.
    pub permissions: Option<Vec<String>>,
    /// `self_disabled`, `exposed_publicly`, `idle`, …; null for a key that an admin disabled.
    pub disable_reason: Option<String>,
    /// When its secret was last reported as found in public; seconds since the epoch.
    pub exposed_at: Option<i64>,
    /// Credits a month, shared with the predecessors and successors by rotation.
    pub character_limit: Option<i64>,
    /// Credits used this month.
    pub character_count: i64,
    /// Credits lost this month with a node that ended in the middle: held on lease, and counted as gone.
    pub character_forfeited: i64,
    /// How often the key may be used; null means as often as one likes.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// Networks the key may be used from; null means any.
    pub allowed_ips: Option<Vec<String>>,
    /// Whether the key's holder may disable it; null means that the workspace decides.
    pub third_party_disable_allowed: Option<bool>,
    /// Concurrency limits.
    pub platform_limits: Option<PlatformLimits>,
    /// Seconds since the epoch; null means never.
    pub expires_at_unix: Option<i64>,
    /// The same, by the brief's name.
    pub expires_at: Option<i64>,
    /// When the key was last accepted; seconds since the epoch.
    pub last_used_at: Option<i64>,
    /// When the key was revoked; seconds since the epoch.
    pub revoked_at: Option<i64>,
    /// The key and all its successors by rotation share it.
    pub lineage_id: LineageId,
    /// The key this one succeeded.
    pub rotated_from: Option<KeyId>,
    /// The key that succeeds this one.
    pub rotated_to: Option<KeyId>,
}

/// The answer of `GET /v1/api-keys/self`: the key that asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnApiKey {
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What its owner is called.
    pub service_account_name: Option<String>,
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
}

/// The life of a key, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Works, as far as the key itself goes.
    Active,
    /// Refused until it is enabled.
    Disabled,
    /// Refused since its time is over.
    Expired,
    /// Refused for good.
    Revoked,
}

impl KeyStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// At most `limit` uses at once, and `limit` more, evenly, in each window after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimit {
    /// What a denial calls it; unique within the key.
    pub name: String,
    /// Uses.
    pub limit: i64,
    /// Seconds, up to 31 days.
    pub window_seconds: i64,
    /// Whether each key has its own, or the key shares it with its predecessors and successors by rotation.
    #[serde(default)]
    pub per: RateLimitScope,
}

/// Whose uses a rate limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RateLimitScope {
    /// The key's own.
    #[default]
    Key,
    /// Those of the key, its predecessors and its successors.
    Lineage,
}

/// Wire §7.1. Null limits mean unlimited.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlatformLimits {
    /// Speech at once.
    pub concurrency: Limit,
    /// Dubbings at once.
    pub dubbing_concurrency: Limit,
    /// Music at once.
    pub music_concurrency: Limit,
}

/// One limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limit {
    /// Null means unlimited.
    pub limit: Option<i64>,
}

/// The answer of `GET …/api-keys`: one list under the official and the brief's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeyList {
    /// The official name.
    #[serde(rename = "api-keys")]
    pub hyphenated: Vec<ApiKey>,
    /// The brief's name.
    pub api_keys: Vec<ApiKey>,
}

/// The answer of `GET /v1/api-keys`: a page of all the workspace's keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeyPage {
    /// The official spelling.
    #[serde(rename = "api-keys")]
    pub hyphenated: Vec<ApiKey>,
    /// The brief's spelling.
    pub api_keys: Vec<ApiKey>,
    /// Whether there is a further page.
    pub has_more: bool,
    /// To be given back as `cursor`.
    pub next_cursor: Option<String>,
}

/// What a key may do, as requests say it: the word `all`, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Unrestricted, as far as its maker is.
    All,
    /// These and no others.
    List(Vec<String>),
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::List(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(word) if word == "all" => Ok(Self::All),
            list => serde_json::from_value(list).map(Self::List).map_err(de::Error::custom),
        }
    }
}

/// A new value, or none: the wire's token `"clear"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The new value.
    Set(T),
    /// `"clear"`: no value from here on.
    Clear,
}

impl<T> Change<T> {
    /// What the field is afterwards.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Clear => None,
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::Clear => serializer.serialize_str("clear"),
        }
    }
}

/// The body of `POST …/api-keys` (wire §7.2).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateApiKey {
    /// 1–128 printable characters.
    pub name: String,
    /// Absent means all that its maker holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::PermissionsOrAll>))]
    pub permissions: Option<Permissions>,
    /// Up to 1,000 printable characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Any second in the future. `expires_at` is another name for it; two different values are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_unix: Option<i64>,
    /// Credits a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub character_limit: Option<i64>,
    /// 1–100 addresses or networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<Vec<String>>,
    /// Up to 8 rate limits, each with a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<RateLimit>>,
    /// May the key's holder disable it; absent means that the workspace decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub third_party_disable_allowed: Option<bool>,
    /// Speech at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tts_concurrency_limit: Option<i64>,
    /// Dubbings at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dubbing_concurrency_limit: Option<i64>,
    /// Music at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub music_concurrency_limit: Option<i64>,
}

/// The body of `PATCH …/api-keys/{id}` (wire §7.3): what is absent, null or `"no_update"` stays; `"clear"` removes.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateApiKey {
    /// False disables, true enables.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::Switch>))]
    pub is_enabled: Option<bool>,
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new description; the empty string removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A list or `"all"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::PermissionsChange>))]
    pub permissions: Option<Permissions>,
    /// Credits a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::IntegerChange>))]
    pub character_limit: Option<Change<i64>>,
    /// 1–100 addresses or networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::StringsChange>))]
    pub allowed_ips: Option<Change<Vec<String>>>,
    /// Up to 8 rate limits; the empty list removes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::RateLimitsChange>))]
    pub rate_limits: Option<Change<Vec<RateLimit>>>,
    /// May the key's holder disable it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::BooleanChange>))]
    pub third_party_disable_allowed: Option<Change<bool>>,
    /// Speech at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::IntegerChange>))]
    pub tts_concurrency_limit: Option<Change<i64>>,
    /// Dubbings at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::IntegerChange>))]
    pub dubbing_concurrency_limit: Option<Change<i64>>,
    /// Music at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::IntegerChange>))]
    pub music_concurrency_limit: Option<Change<i64>>,
    /// Any second in the future; `expires_at` is another name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<schema::IntegerChange>))]
    pub expires_at_unix: Option<Change<i64>>,
}

/// The body of `POST …/api-keys/{id}/rotate`.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotateApiKey {
    /// How long the old key goes on; 0 ends it now, absent means 24 hours, at most 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
}

/// The answer of create: the only place, with rotate's, where a secret appears.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedApiKey {
    /// The secret, shown this once.
    #[serde(rename = "xi-api-key", serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub xi_api_key: Secret,
    /// The same, by the brief's name.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub api_key: Secret,
    /// The id used in paths.
    pub key_id: KeyId,
    /// The same, by the brief's name.
    pub api_key_id: KeyId,
    /// The owner.
    pub service_account_user_id: PrincipalId,
    /// As asked for.
    pub name: String,
    /// As asked for.
    pub description: Option<String>,
    /// Null means unrestricted.
    pub permissions: Option<Vec<String>>,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// The same by the wire's name.
    pub created_at_unix: i64,
    /// Seconds since the epoch; null means never.
    pub expires_at: Option<i64>,
    /// The same by the wire's name.
    pub expires_at_unix: Option<i64>,
    /// The key and all its successors by rotation share it.
    pub lineage_id: LineageId,
    /// Only after a rotation.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = MaybeRotation))]
    pub rotation: Option<Rotation>,
}

/// What the answer of rotate says more than that of create.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rotation {
    /// The old key.
    pub rotated_from: KeyId,
    /// When the old key stops working; seconds since the epoch.
    pub old_key_expires_at: i64,
    /// When the old key was last accepted: whether somebody still uses it. Seconds since the epoch.
    pub old_key_last_used_at: Option<i64>,
}

/// What a rotation adds to the answer of create.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct MaybeRotation {
    /// After a rotation: the old key.
    rotated_from: Option<KeyId>,
    /// After a rotation: when the old key stops working; seconds since the epoch.
    old_key_expires_at: Option<i64>,
    /// After a rotation: when the old key was last accepted; seconds since the epoch.
    old_key_last_used_at: Option<i64>,
}

#[cfg(feature = "openapi")]
pub(crate) mod schema {
    //! Unions of a value and the wire's tokens, which no derive describes.

    use std::borrow::Cow;
    use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, Type};
    use utoipa::openapi::{Ref, RefOr};
    use utoipa::{PartialSchema, ToSchema};

    fn word(words: &[&str]) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().map(ToString::to_string)))
    }

    fn strings() -> ArrayBuilder {
        ArrayBuilder::new().items(plain(Type::String))
    }

    fn plain(kind: Type) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(kind)
    }

    /// Types that are only described: each stands for a field's type where that can't describe itself.
    macro_rules! described {
        ($($name:ident = $schema:expr;)*) => {$(
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    RefOr::T(Schema::from($schema))
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )*};
    }

    const TOKENS: [&str; 2] = ["clear", "no_update"];

    described! {
        PermissionsOrAll = AnyOfBuilder::new().item(strings()).item(word(&["all"]));
        PermissionsChange = AnyOfBuilder::new().item(strings()).item(word(&["all", "no_update"]));
        Switch = AnyOfBuilder::new().item(plain(Type::Boolean)).item(word(&["no_update"]));
        BooleanChange = AnyOfBuilder::new().item(plain(Type::Boolean)).item(word(&TOKENS));
        IntegerChange = AnyOfBuilder::new().item(plain(Type::Integer)).item(word(&TOKENS));
        UsageLimitChange = AnyOfBuilder::new().item(plain(Type::Integer)).item(word(&["unlimited", "clear", "no_update"]));
        StringsChange = AnyOfBuilder::new().item(strings()).item(word(&TOKENS));
        RateLimitsChange = AnyOfBuilder::new()
            .item(ArrayBuilder::new().items(Ref::from_schema_name("RateLimit")))
            .item(word(&TOKENS));
        Cell = AnyOfBuilder::new()
            .item(plain(Type::String))
            .item(plain(Type::Number))
            .item(plain(Type::Boolean))
            .item(plain(Type::Null));
        Step = AnyOfBuilder::new().item(plain(Type::String)).item(plain(Type::Integer));
    }
}
