//! Failures. Knows nothing of HTTP: `http/` turns a failure into an answer. A failure has two texts, one for the caller
//! and, where there is more to know, one for the log; there is no `Display` that could mix them up.

use crate::store;
use serde_json::Value;
use stead_api::error::{DenialDetail, ErrorCode, FieldError};
use stead_api::id::KeyId;

/// Why an operation was not done.
#[derive(Debug)]
pub enum Failure {
    /// A rule says no; `message` is for the caller and never echoes an id or a secret.
    Refused(Box<Refusal>),
    /// The input has mistakes; all of them.
    Invalid(Vec<FieldError>),
    /// The store failed.
    Store(store::Error),
    /// It is not known whether a write was committed.
    OutcomeUnknown,
    /// A defect of ours; the text is for the log.
    Defect(String),
}

/// What a refusal says.
#[derive(Debug)]
pub struct Refusal {
    /// The code for programs.
    pub code: ErrorCode,
    /// The sentence for people.
    pub message: String,
    /// The one parameter to blame.
    pub param: Option<&'static str>,
    /// The permissions that are missing.
    pub missing: Option<Vec<String>>,
    /// The key a retried request made.
    pub key_id: Option<KeyId>,
    /// Why a key was denied, for its holder.
    pub decision: Option<Box<DenialDetail>>,
    /// Seconds after which it may go otherwise.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A code and a message, with nothing to add.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
            missing: None,
            key_id: None,
            decision: None,
            retry_after: None,
        }
    }
}

impl Failure {
    /// A refusal with nothing to add.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refusal::new(code, message)))
    }

    /// A refusal that one parameter is to blame for.
    pub fn param(code: ErrorCode, param: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refusal { param: Some(param), ..Refusal::new(code, message) }))
    }

    /// The caller lacks permissions.
    pub fn lacks(message: impl Into<String>, missing: Vec<String>) -> Self {
        let code = ErrorCode::InsufficientPermissions;
        Self::Refused(Box::new(Refusal { missing: Some(missing), ..Refusal::new(code, message) }))
    }

    /// One mistake in the input.
    pub fn invalid(loc: &[&str], kind: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![field_error(loc, kind, message)])
    }
}

/// One mistake, in the wire's shape C.
pub fn field_error(loc: &[&str], kind: &str, message: impl Into<String>) -> FieldError {
    FieldError { loc: loc.iter().map(|part| Value::from(*part)).collect(), msg: message.into(), kind: kind.to_owned() }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl store::StoreFailure for Failure {
    fn store_error(&self) -> Option<&store::Error> {
        if let Self::Store(error) = self { Some(error) } else { None }
    }
}
