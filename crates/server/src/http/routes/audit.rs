//! The audit log (wire §11).

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Audit log";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
