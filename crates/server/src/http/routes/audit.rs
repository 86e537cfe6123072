//! The audit log (wire §11).

use super::Route;
use crate::audit;
use crate::members::{Access, Object};
use axum::http::Method;
use axum::routing::get;
use stead_api::audit::{AuditChain, AuditLogPage};
use stead_api::permission::AUDIT_LOG_READ;

/// The heading these stand under.
pub(super) const TAG: &str = "Audit log";

/// A workspace admin, or a member of a group that may; the key must hold the permission of the same name.
const READ: Access = Access::Manager(AUDIT_LOG_READ, AUDIT_LOG_READ);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "list_audit_logs",
            Method::GET,
            "/v1/workspace/audit-logs",
            READ,
            Object::Workspace,
            "List what was done in the workspace, and what was refused, newest first, page by page",
            get(audit::routes::list),
        )
        .query(audit::routes::QUERY)
        .answer::<AuditLogPage>(),
        Route::new(
            "check_audit_chain",
            Method::GET,
            "/v1/workspace/audit-logs/chain",
            READ,
            Object::Workspace,
            "Check that every entry of the log is there and as it was written",
            get(audit::routes::chain),
        )
        .answer::<AuditChain>(),
    ]
}
