//! Webhooks (wire §13.3).

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Webhooks";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
