//! The workspace's settings and policies, and the operator's API.

use super::Route;

/// The heading these stand under.
pub(super) const TAG: &str = "Workspaces";

pub(super) fn rows() -> Vec<Route> {
    vec![]
}
