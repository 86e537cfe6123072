//! Webhooks (wire §13.3), and what Stead adds: one webhook, its deliveries, a test, a new secret.

use super::Route;
use crate::members::{Access, Object};
use crate::webhooks::routes as webhooks;
use axum::http::Method;
use axum::routing::{delete, get, patch, post};
use stead_api::account::Status;
use stead_api::permission::{WEBHOOKS_MANAGE, WEBHOOKS_WRITE};
use stead_api::webhook::{
    CreateWebhook, CreatedWebhook, RotateWebhookSecret, RotatedWebhookSecret, TestedWebhook, UpdateWebhook, Webhook,
    WebhookDeliveryPage, WebhookList,
};

/// The heading these stand under.
pub(super) const TAG: &str = "Webhooks";

/// The wire has one permission for all of it.
const MANAGE: Access = Access::Manager(WEBHOOKS_WRITE, WEBHOOKS_MANAGE);

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "list_webhooks",
            Method::GET,
            "/v1/workspace/webhooks",
            MANAGE,
            Object::Workspace,
            "List all webhooks",
            get(webhooks::list),
        )
        .query(webhooks::LIST)
        .answer::<WebhookList>(),
        Route::new(
            "create_webhook",
            Method::POST,
            "/v1/workspace/webhooks",
            MANAGE,
            Object::Workspace,
            "Create a webhook; the secret is in this answer and nowhere else",
            post(webhooks::create),
        )
        .body::<CreateWebhook>()
        .answer::<CreatedWebhook>(),
        Route::new(
            "get_webhook",
            Method::GET,
            "/v1/workspace/webhooks/{webhook_id}",
            MANAGE,
            Object::Webhook,
            "Read one webhook",
            get(webhooks::get),
        )
        .answer::<Webhook>(),
        Route::new(
            "update_webhook",
            Method::PATCH,
            "/v1/workspace/webhooks/{webhook_id}",
            MANAGE,
            Object::Webhook,
            "Change a webhook, disable or enable it",
            patch(webhooks::update),
        )
        .body::<UpdateWebhook>()
        .answer::<Status>(),
        Route::new(
            "delete_webhook",
            Method::DELETE,
            "/v1/workspace/webhooks/{webhook_id}",
            MANAGE,
            Object::Webhook,
            "Delete a webhook with what waits for it, for good",
            delete(webhooks::delete),
        )
        .answer::<Status>(),
        Route::new(
            "rotate_webhook_secret",
            Method::POST,
            "/v1/workspace/webhooks/{webhook_id}/rotate-secret",
            MANAGE,
            Object::Webhook,
            "Make a new secret, which signs after the grace period",
            post(webhooks::rotate_secret),
        )
        .body::<RotateWebhookSecret>()
        .answer::<RotatedWebhookSecret>(),
        Route::new(
            "test_webhook",
            Method::POST,
            "/v1/workspace/webhooks/{webhook_id}/test",
            MANAGE,
            Object::Webhook,
            "Send a `webhook.test` event",
            post(webhooks::test),
        )
        .answer::<TestedWebhook>(),
        Route::new(
            "list_webhook_deliveries",
            Method::GET,
            "/v1/workspace/webhooks/{webhook_id}/deliveries",
            MANAGE,
            Object::Webhook,
            "List what was sent and what waits, the newest first, page by page",
            get(webhooks::deliveries),
        )
        .query(webhooks::DELIVERIES)
        .answer::<WebhookDeliveryPage>(),
        Route::new(
            "redeliver_webhook_event",
            Method::POST,
            "/v1/workspace/webhooks/{webhook_id}/deliveries/{event_id}/redeliver",
            MANAGE,
            Object::Webhook,
            "Send an event once more, with the same id and the same bytes",
            post(webhooks::redeliver),
        )
        .answer::<Status>(),
    ]
}
