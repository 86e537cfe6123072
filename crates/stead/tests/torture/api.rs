//! The few HTTP calls of the torture. Its own, and not the Rust SDK's: a retry or a cache inside a client
//! would hide just what is tested here.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::history::Intent;
use super::oracle::{Answer, Listed};

/// After this a request is a hang. A killed server closes its connections at once.
const HANG: Duration = Duration::from_secs(30);

/// The server as it runs now; its port changes with each start.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    base: String,
    admin_key: String,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 2xx, read to the last byte. The only acknowledgement.
    Done(Value),
    /// The connection ended first, or the server said 503: nobody knows.
    Unknown(String),
    Refused(StatusCode, Value),
}

/// A client that keeps one connection open, as a job would.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(1)
        .timeout(HANG)
        .build()
        .expect("a plain HTTP client can always be built")
}

impl Api {
    pub(crate) fn new(base: &str, admin_key: &str) -> Self {
        Self { base: base.to_owned(), admin_key: admin_key.to_owned() }
    }

    pub(crate) async fn create_account(&self, http: &Client, name: &str) -> Reply {
        self.send(http, "POST", "/v1/service-accounts", Some(json!({"name": name})), None).await
    }

    /// Sends a change, the first time or again: the same route, body and idempotency key.
    pub(crate) async fn change(&self, http: &Client, account: &str, intent: &Intent) -> Reply {
        let (method, below, body) = intent.change.request();
        let path = format!("/v1/service-accounts/{account}/api-keys{below}");
        let idempotency_key = (method == "POST").then_some(intent.idempotency_key.as_str());
        self.send(http, method, &path, body, idempotency_key).await
    }

    pub(crate) async fn list(&self, http: &Client, account: &str) -> Reply {
        let path = format!("/v1/service-accounts/{account}/api-keys");
        self.send(http, "GET", &path, None, None).await
    }

    pub(crate) async fn verify(&self, http: &Client, secret: &str) -> Reply {
        self.send(http, "POST", "/v1/api-keys/verify", Some(json!({"api_key": secret})), None).await
    }

    pub(crate) async fn show(&self, http: &Client, account: &str, key_id: &str) -> Reply {
        self.send(http, "GET", &format!("/v1/service-accounts/{account}/api-keys/{key_id}"), None, None).await
    }

    /// Charges a key; the same charge with the same id is made once.
    pub(crate) async fn charge(&self, http: &Client, secret: &str, cost: u64, request_id: Option<&str>) -> Reply {
        let mut body = json!({"api_key": secret, "cost": cost});
        if let Some(id) = request_id {
            body["request_id"] = id.into();
        }
        self.send(http, "POST", "/v1/api-keys/verify", Some(body), None).await
    }

    async fn send(
        &self,
        http: &Client,
        method: &str,
        path: &str,
        body: Option<Value>,
        idempotency_key: Option<&str>,
    ) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method of ours");
        let mut request = http.request(method, format!("{}{path}", self.base)).header("xi-api-key", &self.admin_key);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => Reply::Unknown(format!("{error:?}")),
        }
    }
}

async fn read(response: reqwest::Response) -> Reply {
    let status = response.status();
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return Reply::Unknown(format!("{error:?}")),
    };
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Reply::Unknown(format!("503 {body}")),
        status if status.is_success() => Reply::Done(body),
        status => Reply::Refused(status, body),
    }
}

/// A list's keys by id, or `None` when the body is no such list.
pub(crate) fn read_list(body: &Value) -> Option<Vec<(String, Listed)>> {
    let keys = body["api_keys"].as_array()?;
    keys.iter().map(|key| Some((text(&key["key_id"])?, listed(key)?))).collect()
}

fn listed(key: &Value) -> Option<Listed> {
    Some(Listed {
        name: text(&key["name"])?,
        permissions: names(&key["permissions"])?,
        character_limit: key["character_limit"].as_u64(),
        disabled: key["is_disabled"].as_bool()?,
        rotated_from: text(&key["rotated_from"]),
        rotated_to: text(&key["rotated_to"]),
        deadlines: [&key["expires_at"], &key["expires_at_unix"]].into_iter().filter_map(moment).collect(),
    })
}

/// Verify's answer, or `None` when the body is none.
pub(crate) fn read_answer(body: &Value) -> Option<Answer> {
    Some(Answer {
        valid: body["valid"].as_bool()?,
        code: text(&body["code"])?,
        permissions: names(&body["permissions"]),
    })
}

pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A moment in a form that can be compared: to the second, since `expires_at` may tell fractions or not.
pub(crate) fn moment(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take("2030-01-02T03:04:05".len()).collect()),
        Value::Number(seconds) => Some(seconds.to_string()),
        _ => None,
    }
}

fn names(value: &Value) -> Option<BTreeSet<String>> {
    value.as_array()?.iter().map(text).collect()
}
