//! What the wire has and this server does without: said by a status of its own, where a 404 would look like a typing error.

use crate::error::Failure;
use stead_api::error::ErrorCode;

/// Connections to other services, for the hosted product's agents (wire §13.5).
pub async fn auth_connections() -> Failure {
    let message = "This server holds no connections to other services: it is about who may call yours.";
    Failure::refused(ErrorCode::NotImplemented, message)
}

/// Tokens for one use, for the hosted product's websockets (wire §13.4).
pub async fn single_use_tokens() -> Failure {
    let message = "This server makes no single-use tokens: make an API key that expires soon.";
    Failure::refused(ErrorCode::NotImplemented, message)
}
