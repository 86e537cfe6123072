//! Groups (wire §9.1–9.3).

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Groups";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
