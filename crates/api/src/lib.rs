//! What goes over Stead's wire, for both ends of it. Reading order:
//!
//! - [`id`]: ids of different things are different types
//! - [`time`]: the one instant type
//! - [`secret`]: the full key string: its form, its check, a type that can't be printed
//! - [`permission`]: the catalogue of what a key may do
//! - [`error`]: every error code with its HTTP status, in one table
//! - [`account`], [`key`], [`verify`], [`user`], [`member`], [`group`], [`resource`], [`audit`], [`usage`],
//!   [`workspace`], [`webhook`]: requests and responses of the routes
//!
//! This crate knows nothing of HTTP, of a database or of a decision.

pub mod account;
pub mod audit;
pub mod error;
pub mod group;
pub mod id;
pub mod key;
pub mod member;
pub mod permission;
pub mod resource;
pub mod secret;
pub mod time;
pub mod usage;
pub mod user;
pub mod verify;
pub mod webhook;
pub mod workspace;
