//! The torture of a running server: a load that remembers what was acknowledged, a blow, and a comparison.
//!
//! - `campaign`: start, load, strike, restart, compare; the totals. The kill and power-cut tests are written in it
//! - `workload`: the clients; each knows exactly what its own keys must look like
//! - `history`: what a client knows: its keys, and the change that is under way
//! - `oracle`: history against what the server shows after the restart. Pure; it has tests of its own
//! - `api`: the few HTTP calls
//! - `process`: the server as a child process: start, freeze, kill, stop, doctor
//! - `spender`, `books`: clients that charge keys, and the books they are compared with
//! - `disk`: a filesystem whose power can be cut
//! - `random`: numbers that come again with the same seed
//!
//! What is absent: the oracle does no I/O and knows no clock, nothing but `books` opens the server's
//! database, and no test here passes or fails by how long something took.

pub(crate) mod api;
pub(crate) mod books;
pub(crate) mod campaign;
pub(crate) mod disk;
pub(crate) mod history;
pub(crate) mod oracle;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod spender;
pub(crate) mod workload;

use std::io::Write as _;

/// A whole number from the environment, or `otherwise`. Something that is no number is a mistake worth stopping for.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")),
        Err(_) => otherwise,
    }
}

/// Tells the figures of a run. Straight to standard error, because the test runner swallows what a passing
/// test prints, and figures that nobody sees are not reported.
pub(crate) fn report(text: &str) {
    // A closed standard error must not fail a run that lost nothing.
    writeln!(std::io::stderr(), "{text}").ok();
}
