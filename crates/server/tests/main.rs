//! Through the front door, on both stores: every test talks to the router that the server serves, over a real
//! database of its own.

#![allow(clippy::disallowed_methods, reason = "tests read their environment")]
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "a test that can't go on says so by panicking")]
#![allow(
    clippy::struct_excessive_bools,
    clippy::cast_possible_wrap,
    reason = "models and matrices are of small numbers and of facts that are independent of each other"
)]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is an interface")]

mod accounts;
mod audit;
mod audit_tampering;
mod authorization;
mod bad_input;
mod chains;
mod charges;
mod decisions;
mod description;
mod dice;
mod exposure;
mod forward_auth;
mod front;
mod groups;
mod harness;
mod idempotency;
mod integrity;
mod invites;
mod keys;
mod limits;
mod mail;
mod mass_assignment;
mod matrix;
mod members;
mod metrics;
mod model;
mod nodes;
mod peers;
mod policies;
mod power;
mod races;
mod receiver;
mod resources;
mod rotation;
mod sites;
mod store;
mod traces;
mod two_workspaces;
mod usage;
mod verify;
mod webhooks;
mod workspaces;
