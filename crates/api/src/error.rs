//! Every error code Stead answers with, in one table: the HTTP status and the wire's `type` beside each (wire §3).
//! Never a free string at the place where an error is made.

use crate::id::DecisionId;
use crate::verify::{DecisionCode, LimitHit};
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $kind:literal;)*) => {
        /// What went wrong, as a caller's program tells it apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The `code` on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The `type` on the wire: the family of the code (wire §3.2).
            pub const fn kind(self) -> &'static str {
                match self { $(Self::$name => $kind,)* }
            }
        }
    };
}

codes! {
    /// The request itself is wrong in a way that has no code of its own.
    BadRequest = "bad_request", 400, "invalid_request";
    /// The body is not JSON, or nested too deeply.
    MalformedJson = "malformed_json", 400, "invalid_request";
    /// A page's cursor is none that this server gave for this list.
    InvalidCursor = "invalid_cursor", 400, "validation_error";
    /// One more than the workspace or the account may have.
    LimitReached = "limit_reached", 400, "invalid_request";
    /// It is there already: a member, an invite, a group's name.
    AlreadyExists = "resource_already_exists", 400, "invalid_request";
    /// Whoever made a resource keeps the role admin on it.
    CreatorKeepsAccess = "creator_keeps_access", 400, "invalid_request";
    /// The group of everybody can't be changed so.
    EverybodysGroup = "everybodys_group", 400, "invalid_request";
    /// The key's secret is public, so it can't be enabled again.
    ApiKeyExposed = "api_key_exposed", 400, "invalid_request";
    /// The key can't be rotated in the state it is in.
    NotRotatable = "not_rotatable", 400, "invalid_request";
    /// No credential came.
    MissingApiKey = "missing_api_key", 401, "authentication_error";
    /// `Authorization` instead of `xi-api-key`, or more than one key.
    InvalidAuthorizationHeader = "invalid_authorization_header", 401, "authentication_error";
    /// Not a key of this server.
    InvalidApiKey = "invalid_api_key", 401, "authentication_error";
    /// Was a key; is revoked for good.
    ApiKeyRevoked = "api_key_revoked", 401, "authentication_error";
    /// Is a key, but disabled.
    ApiKeyDisabled = "api_key_disabled", 401, "authentication_error";
    /// Is a key, but its time is over.
    ApiKeyExpired = "api_key_expired", 401, "authentication_error";
    /// The key's account is disabled or deleted.
    AccountDisabled = "account_disabled", 401, "authentication_error";
    /// The key's workspace is disabled.
    WorkspaceDisabled = "workspace_disabled", 401, "authentication_error";
    /// The key lacks a permission, or its owner lacks a right; the message names it.
    InsufficientPermissions = "insufficient_permissions", 403, "authorization_error";
    /// The change would make a key stronger than the one that asks for it.
    StrongerThanCaller = "stronger_than_caller", 403, "authorization_error";
    /// The row was changed behind the server's back, so nothing may be built on it. No 409, which the Python SDK
    /// would send again (wire §17.8).
    NotTrusted = "not_trusted", 403, "authorization_error";
    /// The key may not be used from this address.
    IpNotAllowed = "ip_not_allowed", 403, "authorization_error";
    /// A request's path or method has more than one reading, so that no rule can be applied to it.
    AmbiguousPath = "ambiguous_path", 403, "authorization_error";
    /// A request's headers could be somebody else's word than the proxy's.
    AmbiguousHeaders = "ambiguous_headers", 403, "authorization_error";
    /// The key's account lacks the role that is needed on the resource.
    NoResourceAccess = "no_resource_access", 403, "authorization_error";
    /// No path rule allows this method and path.
    PathNotAllowed = "path_not_allowed", 403, "authorization_error";
    /// The caller is not who may do this, whatever its key holds.
    Forbidden = "forbidden", 403, "authorization_error";
    /// The workspace's plan doesn't include it.
    FeatureNotAvailable = "feature_not_available", 403, "authorization_error";
    /// The key may not be disabled by its holder.
    SelfDisableNotAllowed = "self_disable_not_allowed", 403, "authorization_error";
    /// No such route.
    RouteNotFound = "route_not_found", 404, "not_found";
    /// No such person in the caller's workspace.
    UserNotFound = "user_not_found", 404, "not_found";
    /// No such group in the caller's workspace.
    GroupNotFound = "group_not_found", 404, "not_found";
    /// No such invite in the caller's workspace, or none any more.
    InviteNotFound = "invite_not_found", 404, "not_found";
    /// No such resource in the caller's workspace, or none that the caller may see.
    ResourceNotFound = "resource_not_found", 404, "not_found";
    /// No such webhook in the caller's workspace.
    WebhookNotFound = "webhook_not_found", 404, "not_found";
    /// No such workspace on this server.
    WorkspaceNotFound = "workspace_not_found", 404, "not_found";
    /// No such service account in the caller's workspace.
    ServiceAccountNotFound = "service_account_not_found", 404, "not_found";
    /// No such key in the caller's workspace.
    ApiKeyNotFound = "api_key_not_found", 404, "not_found";
    /// No such decision is kept any more.
    DecisionNotFound = "decision_not_found", 404, "not_found";
    /// No such place is held, or not any more.
    LeaseNotFound = "lease_not_found", 404, "not_found";
    /// The route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, "invalid_request";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, "invalid_request";
    /// The key already has a successor.
    AlreadyRotated = "already_rotated", 409, "conflict";
    /// The key has no rotation that could be undone.
    NotRotated = "not_rotated", 409, "conflict";
    /// A retry came after the minute in which a secret is repeated.
    SecretAlreadyShown = "secret_already_shown", 409, "conflict";
    /// The body is over the limit.
    RequestTooLarge = "request_too_large", 413, "invalid_request";
    /// The request's target is over the limit.
    UriTooLong = "uri_too_long", 414, "invalid_request";
    /// A body that doesn't say it is JSON.
    InvalidContentType = "invalid_content_type", 415, "invalid_request";
    /// `Expect` with anything but `100-continue`.
    ExpectationFailed = "expectation_failed", 417, "invalid_request";
    /// The `Idempotency-Key` was used with another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "validation_error";
    /// A check of the input failed; goes out as a list (wire §3.1 shape C).
    InvalidParameters = "invalid_parameters", 422, "validation_error";
    /// The credits of the month don't cover the cost.
    UsageExceeded = "usage_exceeded", 429, "rate_limit_error";
    /// Too many requests.
    RateLimitExceeded = "rate_limit_exceeded", 429, "rate_limit_error";
    /// The request's head is over a limit.
    HeadersTooLarge = "headers_too_large", 431, "invalid_request";
    /// A defect of the server.
    InternalError = "internal_error", 500, "internal_error";
    /// A method that no resource here has: CONNECT or TRACE.
    MethodNotImplemented = "method_not_implemented", 501, "invalid_request";
    /// The wire has this route, and this server does without it.
    NotImplemented = "not_implemented", 501, "invalid_request";
    /// A proxy asks forward-auth or ext_authz what can't be answered.
    ProxyMisconfigured = "proxy_misconfigured", 500, "internal_error";
    /// The store can't be reached.
    ServiceUnavailable = "service_unavailable", 503, "service_unavailable";
    /// The change may or may not have been made; ask again with the same `Idempotency-Key`, or read.
    OutcomeUnknown = "outcome_unknown", 503, "service_unavailable";
    /// The state asked for with `at_least` has not arrived here yet.
    NotYetAvailable = "not_yet_available", 503, "service_unavailable";
    /// A version of HTTP that is not spoken here.
    HttpVersionNotSupported = "http_version_not_supported", 505, "invalid_request";
}

/// Shape A: `{"detail":{…}}` for application errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What happened.
    pub detail: ErrorDetail,
}

/// What shape A holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDetail {
    /// The family, as in `authorization_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code for programs.
    pub code: String,
    /// The sentence for people. Never echoes an id or a secret.
    pub message: String,
    /// The same as `code`; the wire's older name for it.
    pub status: String,
    /// Equal to the headers `x-request-id` and `x-trace-id`.
    pub request_id: String,
    /// The one parameter to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// The permissions that are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_permissions: Option<Vec<String>>,
    /// The key that a retried request made, when its secret can't be shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Why the key was denied, where a proxy asked about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DenialDetail>,
}

/// What a denial comes from. For the key's holder: a stranger gets none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DenialDetail {
    /// As `POST /v1/api-keys/verify` would say it.
    pub code: DecisionCode,
    /// To ask about it later.
    pub decision_id: DecisionId,
    /// The client's address as it was seen; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Where the address was taken from, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_from: Option<String>,
    /// The limit that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
}

impl DenialDetail {
    /// A code with nothing to add.
    pub fn new(code: DecisionCode, decision_id: DecisionId) -> Self {
        Self { code, decision_id, ip: None, ip_from: None, limit: None }
    }
}

/// Shape C: `{"detail":[…]}`, HTTP 422 only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ValidationBody {
    /// Every mistake of the request, not just the first.
    pub detail: Vec<FieldError>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where: `["body","name"]`, with numbers for places in a list.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::key::schema::Step>))]
    pub loc: Vec<serde_json::Value>,
    /// What, for people.
    pub msg: String,
    /// What, for programs.
    #[serde(rename = "type")]
    pub kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_fit_their_family() {
        let names: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let statuses: &[u16] = match code.kind() {
                "invalid_request" => &[400, 405, 408, 413, 414, 415, 417, 431, 501, 505],
                "validation_error" => &[400, 422],
                "authentication_error" => &[401],
                "authorization_error" => &[403],
                "not_found" => &[404],
                "conflict" => &[409],
                "rate_limit_error" => &[429],
                "internal_error" => &[500],
                "service_unavailable" => &[503],
                other => panic!("{other} is no family of the wire"),
            };
            assert!(statuses.contains(&code.status()), "{code:?}");
        }
    }
}
