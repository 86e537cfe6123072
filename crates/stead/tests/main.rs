//! The integration tests of the executable, in one binary.

#![allow(clippy::disallowed_methods, reason = "tests read the real environment and the real clock")]

mod audit;
mod charges;
mod client;
mod conformance;
mod first_start;
mod harness;
mod index;
mod kill;
mod power_cut;
mod proxies;
mod schemathesis;
mod slow_clients;
mod torture;
mod webhooks;
mod why;
mod workspaces;
