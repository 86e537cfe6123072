//! Resources and sharing (wire §10).

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Resources";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
