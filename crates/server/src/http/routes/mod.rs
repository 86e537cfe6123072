//! All routes, an area a page. A row without saying who may call it, and about what, does not compile.

mod absent;
mod audit;
mod groups;
mod members;
mod resources;
mod service;
mod service_accounts;
mod usage;
mod verification;
mod webhooks;
mod workspaces;

use super::openapi::{Schema, schema};
use super::parameter::Parameter;
use crate::app::App;
use crate::members::{Access, Object};
use axum::http::Method;
use axum::routing::MethodRouter;
use std::sync::Arc;
use utoipa::ToSchema;

/// One route.
pub struct Route {
    /// The verb, the same in the handler, the operation and the clients.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// About what.
    pub object: Object,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The heading it stands under.
    pub tag: &'static str,
    /// The query's parameters.
    pub query: &'static [Parameter],
    /// The body's schema, if it takes one.
    pub body: Option<Schema>,
    /// The answer's schema; `None` for what has no fixed one.
    pub answer: Option<Schema>,
    /// What answers.
    pub handler: MethodRouter<Arc<App>>,
}

impl Route {
    fn new(
        id: &'static str,
        method: Method,
        path: &'static str,
        access: Access,
        object: Object,
        summary: &'static str,
        handler: MethodRouter<Arc<App>>,
    ) -> Self {
        Self { id, method, path, access, object, summary, tag: "", query: &[], body: None, answer: None, handler }
    }

    fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    fn body<T: ToSchema>(self) -> Self {
        Self { body: Some(schema::<T>), ..self }
    }

    fn answer<T: ToSchema>(self) -> Self {
        Self { answer: Some(schema::<T>), ..self }
    }
}

/// The heading of what the wire has and this server does without.
pub const ABSENT: &str = absent::TAG;

/// The table.
pub fn routes() -> Vec<Route> {
    let areas = [
        (service_accounts::TAG, service_accounts::rows()),
        (verification::TAG, verification::rows()),
        (members::TAG, members::rows()),
        (groups::TAG, groups::rows()),
        (resources::TAG, resources::rows()),
        (audit::TAG, audit::rows()),
        (usage::TAG, usage::rows()),
        (webhooks::TAG, webhooks::rows()),
        (workspaces::TAG, workspaces::rows()),
        (service::TAG, service::rows()),
        (absent::TAG, absent::rows()),
    ];
    areas.into_iter().flat_map(|(tag, rows)| rows.into_iter().map(move |row| Route { tag, ..row })).collect()
}
