//! HTTP: the only place, with the features' `routes.rs`, that names the framework.
//!
//! - [`routes`]: the table of all routes, each with who may call it
//! - [`router`]: from the table to a service: layers in order
//! - [`actor`]: from a request to its caller
//! - [`fields`], [`extract`]: reading input, all mistakes at once
//! - [`reply`]: from a failure to an answer
//! - [`openapi`]: the description, made from the table
//! - [`health`], [`metrics`]: probes, counts
//! - [`front`]: listeners, connections, HTTP/1 itself, and the gate in front of everything

/// Which listener a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For everybody: each request brings its own key.
    Public,
    /// A trusted network or a Unix socket: whoever gets there may ask about the keys of every workspace.
    Verification,
}

pub mod absent;
pub mod actor;
pub mod docs;
pub mod extract;
pub mod fields;
pub mod front;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod pages;
pub mod parameter;
pub mod reply;
pub mod router;
pub mod routes;
