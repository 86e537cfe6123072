//! Usage and analytics (wire §12).

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Usage";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
