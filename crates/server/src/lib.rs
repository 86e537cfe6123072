//! Stead as a library. Reading order:
//!
//! - [`config`], [`clock`], [`error`]: settings, time and randomness, failures
//! - [`data_dir`]: the directory with the pepper in it
//! - [`app`]: everything a request needs, built by one function
//! - [`store`]: the engine, none of the features' SQL
//! - [`feed`]: the change log: the one way to write, and how mirrors follow
//! - [`workspaces`], [`members`], [`invites`], [`groups`], [`resources`], [`accounts`], [`keys`], [`audit`],
//!   [`webhooks`]: the features: rules, SQL, HTTP
//! - [`mail`]: the outbox, and sending what lies there
//! - [`metrics`], [`traces`]: what is counted; spans for a collector
//! - [`verify`]: the life of a verification
//! - [`usage`]: what was verified, counted by key and time
//! - [`jobs`]: what happens by itself
//! - [`http`]: the table of routes, layers, extractors, answers
//! - [`doctor`]: checks an installation

pub mod accounts;
pub mod app;
pub mod audit;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod doctor;
pub mod error;
pub mod feed;
pub mod groups;
pub mod http;
pub mod invites;
pub mod jobs;
pub mod keys;
pub mod mail;
pub mod members;
pub mod metrics;
pub mod resources;
mod seal;
pub mod store;
pub mod traces;
pub mod usage;
pub mod verify;
pub mod webhooks;
pub mod workspaces;
