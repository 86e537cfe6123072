//! From a stored row to an entry of the wire (§11): a table and plain fields, nothing is looked up.

use super::activities::Class;
use super::{AuditRow, FAILED};
use crate::seal::hex;
use serde_json::Value;
use stead_api::audit::{
    AuditActor, AuditDevice, AuditHttpRequest, AuditLogEntry, AuditMetadata, AuditProduct, AuditTarget, AuditUrl,
    AuditUser, Unmapped,
};
use stead_api::id::WorkspaceId;

const OCSF: &str = "1.6.0";
/// Informational, and low: nobody need be woken by a refusal, but it may be looked for.
const SEVERITY: [i64; 2] = [1, 2];

/// A row of a workspace's log, as it goes out. A part that can't be read, because somebody wrote over it, is empty: the
/// chain tells of it, and the rest can still be read.
pub(super) fn entry(workspace: &WorkspaceId, row: &AuditRow) -> AuditLogEntry {
    let actor: Value = serde_json::from_str(&row.actor).unwrap_or_default();
    let target: AuditTarget = serde_json::from_str(&row.target).unwrap_or_default();
    let details: Value = serde_json::from_str(&row.details).unwrap_or_default();
    let text = |name: &str| actor[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let class = Class::of(row.class_uid);
    let (class_name, act) = class.map_or(("", "Unknown"), |class| (class.name(), class.act(row.activity_id)));
    let user = user(row, &actor);
    let http_request = text("method").zip(text("path")).map(|(http_method, path)| AuditHttpRequest {
        http_method,
        url: AuditUrl { path },
        user_agent: text("user_agent"),
    });
    AuditLogEntry {
        id: row.id.as_str().into(),
        activity_id: row.activity_id,
        activity_name: row.activity.clone(),
        status_id: row.status,
        message: message(row, &user, &target, &details),
        actor: AuditActor { user },
        time: row.at.div_euclid(1000),
        time_dt: instant(row.at),
        type_uid: row.class_uid.saturating_mul(100).saturating_add(row.activity_id),
        type_name: format!("{class_name}: {act}"),
        class_name: class_name.into(),
        class_uid: row.class_uid,
        category_name: "Identity & Access Management".into(),
        category_uid: 3,
        severity_id: SEVERITY[usize::from(row.status == FAILED)],
        metadata: AuditMetadata {
            version: OCSF.into(),
            product: AuditProduct {
                name: "Stead".into(),
                vendor_name: "Stead".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            profiles: vec!["datetime".into(), "host".into()],
            tenant_uid: workspace.clone(),
            sequence: row.seq,
        },
        device: text("ip").and_then(|ip| ip.parse().ok()).map(|ip| AuditDevice { ip, type_id: 99 }),
        http_request,
        unmapped: Unmapped {
            count: details["count"].as_i64().filter(|_| row.status == FAILED),
            key_id: text("key_id").map(Into::into),
            request_id: text("request_id").map(Into::into),
            hash: hex(&row.hash),
            target,
            details,
        },
    }
}

fn user(row: &AuditRow, actor: &Value) -> AuditUser {
    let (type_id, kind) = match actor["type"].as_str() {
        Some("user") if actor["is_admin"] == true => (2, "Admin"),
        Some("user") => (1, "User"),
        Some("system") => (3, "System"),
        Some("service_account") => (4, "Service"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    };
    let text = |name: &str| actor[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    AuditUser {
        name: text("name").or_else(|| text("email")),
        uid: Some(row.actor_id.clone()).filter(|id| !id.is_empty()),
        type_id,
        kind: kind.into(),
        email_addr: text("email"),
    }
}

/// The row in a sentence.
fn message(row: &AuditRow, user: &AuditUser, target: &AuditTarget, details: &Value) -> String {
    let who = user.name.as_deref().or(user.uid.as_deref()).unwrap_or("somebody");
    let what = if target.name.is_empty() { &target.id } else { &target.name };
    if row.status != FAILED {
        return format!("{}: {} “{what}”, by {who}", row.activity, target.kind);
    }
    let times = match details["count"].as_i64() {
        Some(count) if count > 1 => format!(" {count} times"),
        _ => String::new(),
    };
    let code = details["code"].as_str().unwrap_or("refused");
    format!("{}: {what}, by {who}{times}: {code}", row.activity)
}

/// Microseconds since the epoch as RFC 3339, in whole milliseconds like `time`.
pub(super) fn instant(at: i64) -> String {
    let instant = jiff::Timestamp::from_millisecond(at.div_euclid(1000)).unwrap_or(jiff::Timestamp::MIN);
    instant.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::DONE;
    use super::*;
    use serde_json::json;
    use stead_api::time::Timestamp;

    fn row(status: i64, activity: &str, actor: &Value, details: &Value) -> AuditRow {
        let target = json!({"type": "api_key", "id": "key_1", "name": "deploy"});
        let mut row =
            AuditRow::new(&"aud_1".into(), Timestamp(1_795_348_800_123_456), activity, status, actor, &target, details);
        (row.seq, row.hash) = (7, vec![1, 0xab]);
        row
    }

    #[test]
    fn a_change_is_an_entry_of_its_class() {
        let actor = json!({"type": "user", "is_admin": true, "id": "usr_1", "name": "Ada", "email": "ada@example.com", "key_id": "key_0",
            "ip": "2001:db8::1", "user_agent": "curl/8", "request_id": "req_1", "method": "POST", "path": "/v1/x"});
        let entry = entry(&"ws_1".into(), &row(DONE, "API Key Creation", &actor, &json!({"owner": "usr_2"})));
        let shown = serde_json::to_value(&entry).unwrap();
        let expected = json!({
            "id": "aud_1", "activity_id": 1, "activity_name": "API Key Creation", "status_id": 1,
            "message": "API Key Creation: api_key “deploy”, by Ada",
            "actor": {"user": {"name": "Ada", "uid": "usr_1", "type_id": 2, "type": "Admin", "email_addr": "ada@example.com"}},
            "time": 1_795_348_800_123_i64, "time_dt": "2026-11-22T12:00:00.123Z", "type_uid": 300_401,
            "type_name": "Entity Management: Create", "class_name": "Entity Management", "class_uid": 3004,
            "category_name": "Identity & Access Management", "category_uid": 3, "severity_id": 1,
            "metadata": {"version": "1.6.0", "product": {"name": "Stead", "vendor_name": "Stead", "version": env!("CARGO_PKG_VERSION")},
                "profiles": ["datetime", "host"], "tenant_uid": "ws_1", "sequence": 7},
            "unmapped": {"target": {"type": "api_key", "id": "key_1", "name": "deploy"}, "details": {"owner": "usr_2"},
                "key_id": "key_0", "request_id": "req_1", "hash": "01ab"},
            "device": {"ip": "2001:db8::1", "type_id": 99},
            "http_request": {"http_method": "POST", "url": {"path": "/v1/x"}, "user_agent": "curl/8"},
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_server_itself_and_what_was_refused() {
        let by_itself = entry(&"ws_1".into(), &row(DONE, "Workspace Creation", &json!({"type": "system"}), &json!({})));
        assert_eq!((by_itself.actor.user.type_id, by_itself.actor.user.uid.as_deref()), (3, Some("system")));
        assert!(by_itself.device.is_none() && by_itself.http_request.is_none() && by_itself.unmapped.count.is_none());
        let actor = json!({"type": "service_account", "id": "usr_1", "name": "ci", "email": ""});
        let refused =
            entry(&"ws_1".into(), &row(FAILED, "Access Refused", &actor, &json!({"count": 12, "code": "forbidden"})));
        assert_eq!((refused.status_id, refused.severity_id, refused.type_uid), (2, 2, 300_499));
        assert_eq!((refused.unmapped.count, refused.actor.user.kind.as_str()), (Some(12), "Service"));
        assert_eq!(refused.message, "Access Refused: deploy, by ci 12 times: forbidden");
        assert_eq!(refused.type_name, "Entity Management: Other");
    }

    #[test]
    fn what_somebody_wrote_over_is_shown_as_far_as_it_can_be_read() {
        let mut broken = row(DONE, "API Key Creation", &json!({}), &json!({}));
        (broken.actor, broken.target, broken.details) = ("{".into(), "[]".into(), String::new());
        (broken.class_uid, broken.activity_id, broken.at) = (i64::MAX, i64::MAX, i64::MAX);
        let entry = entry(&"ws_1".into(), &broken);
        assert_eq!((entry.actor.user.type_id, entry.class_name.as_str()), (0, ""));
        assert!(serde_json::to_value(entry).unwrap()["time_dt"].is_string());
    }
}
