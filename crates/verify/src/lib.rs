//! May this key do that? Reading order:
//!
//! - [`decide`]: the list of checks, and the decision that follows from facts, a question and an instant
//! - [`facts`]: what a decision reads, as the store hands it over
//! - [`index`]: every key of the store in memory, found by digest
//! - [`limits`]: rate limits, concurrency and credits of a lineage, taken in one step
//! - [`credits`]: what a lineage has used this month, spent from a lease
//! - [`permissions`]: sets of permissions as four machine words
//! - [`pepper`]: from a secret to its digest, and seals over what the store keeps
//! - [`period`]: months, from billing day to billing day
//!
//! What is absent: async, I/O, HTTP, a clock and randomness. A decision is a pure function; the index holds facts
//! and never a decision.

pub mod credits;
pub mod decide;
pub mod facts;
pub mod index;
pub mod limits;
pub mod pepper;
pub mod period;
pub mod permissions;
