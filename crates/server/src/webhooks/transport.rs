//! One delivery over the wire. The name is resolved now, every address of it is judged, and the connection goes to an
//! address that was judged and to no other: nothing is looked up again, no redirect is followed, no proxy is asked. Of the
//! answer only the status is kept.

use super::address::Allowed;
use super::target::{Host, Target};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// How long a delivery may take, from the name to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read, so that an honest receiver can end it; and how long.
const MAX_ANSWER: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);
/// Addresses of a name that are tried.
const TRIES: usize = 3;
/// Names that are looked up at a time: the system's resolver can't be interrupted, and each takes a thread.
const LOOKUPS: usize = 32;
/// The largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// The way out.
#[derive(Clone)]
pub struct Outward {
    /// What may be reached beyond the public Internet.
    pub allowed: Allowed,
    /// How long a delivery may take.
    pub timeout: Duration,
    tls: Arc<ClientConfig>,
    lookups: Arc<Semaphore>,
}

impl Outward {
    /// With the roots that browsers trust.
    pub fn new(allowed: Allowed) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("the provider knows the default versions"));
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { allowed, timeout: TIMEOUT, tls: Arc::new(tls), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

/// What goes out.
#[derive(Clone, Debug)]
pub struct Letter {
    /// As the webhook has it.
    pub url: String,
    /// The webhook's own headers.
    pub headers: BTreeMap<String, String>,
    /// The header `ElevenLabs-Signature`.
    pub signature: String,
    /// The same each time the event is sent.
    pub event_id: String,
    /// The signed bytes.
    pub body: String,
}

/// The status, if there was an answer, and a word for why that is no success.
pub type Unsent = (Option<u16>, &'static str);

/// Sends a letter; the status of a 2xx.
pub async fn send(outward: &Outward, letter: Letter) -> Result<u16, Unsent> {
    let sent = tokio::time::timeout(outward.timeout, attempt(outward, letter)).await;
    sent.unwrap_or(Err((None, "timeout")))
}

async fn attempt(outward: &Outward, letter: Letter) -> Result<u16, Unsent> {
    // Judged anew: the operator may have changed what is allowed.
    let target = Target::parse(&letter.url, &outward.allowed).map_err(|_| (None, "address_not_allowed"))?;
    let addresses = addresses(outward, &target).await?;
    let stream = connect(&addresses).await.ok_or((None, "connection_failed"))?;
    let request = request(&target, letter).ok_or((None, "invalid_request"))?;
    if !target.is_https {
        return exchange(stream, request).await;
    }
    let name = match &target.host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| (None, "tls_failed"))?,
        Host::Address(address) => ServerName::IpAddress((*address).into()),
    };
    let stream = TlsConnector::from(outward.tls.clone()).connect(name, stream).await;
    exchange(stream.map_err(|_| (None, "tls_failed"))?, request).await
}

/// The addresses of a target, if every one of them may be reached.
async fn addresses(outward: &Outward, target: &Target) -> Result<Vec<SocketAddr>, Unsent> {
    let found: Vec<IpAddr> = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            let unknown = (None, "name_not_found");
            let permit = outward.lookups.clone().acquire_owned().await.map_err(|_| unknown)?;
            let (name, port) = (name.clone(), target.port);
            // In a task of its own, which keeps the place until the resolver has answered, however long we wait.
            let lookup = tokio::spawn(async move {
                let _permit = permit;
                let found = tokio::net::lookup_host((name, port)).await;
                found.map(|found| found.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(|_| unknown)?.map_err(|_| unknown)?
        }
    };
    judge(target, &found, &outward.allowed)?;
    Ok(found.into_iter().take(TRIES).map(|address| SocketAddr::new(address, target.port)).collect())
}

/// One address that may not be reached spoils them all: whoever mixes them means no good.
fn judge(target: &Target, found: &[IpAddr], allowed: &Allowed) -> Result<(), Unsent> {
    if found.is_empty() {
        return Err((None, "name_not_found"));
    }
    let judged: Result<Vec<()>, _> = found.iter().map(|address| target.check(*address, allowed)).collect();
    judged.map(drop).map_err(|_| (None, "address_not_allowed"))
}

async fn connect(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        if let Ok(stream) = TcpStream::connect(address).await {
            stream.set_nodelay(true).ok();
            return Some(stream);
        }
    }
    None
}

fn request(target: &Target, letter: Letter) -> Option<Request<Full<Bytes>>> {
    let mut headers = HeaderMap::new();
    for (name, value) in &letter.headers {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    // Ours come last, and win.
    headers.insert(HOST, HeaderValue::from_str(&target.authority).ok()?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("Stead/", env!("CARGO_PKG_VERSION"))));
    headers.insert("elevenlabs-signature", HeaderValue::from_str(&letter.signature).ok()?);
    headers.insert("x-stead-event-id", HeaderValue::from_str(&letter.event_id).ok()?);
    let request = Request::builder().method(Method::POST).uri(&target.path);
    let mut request = request.body(Full::new(Bytes::from(letter.body))).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, Unsent>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |_| (None, "no_answer");
    let mut settings = http1::Builder::new();
    let (mut sender, connection) =
        settings.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // Ends with the sender, or with this task: dropped, it closes the connection in the middle.
    let connection = Abandoned(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(lost)?;
    let status = answer.status();
    let mut body = answer.into_body();
    let drain = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_ANSWER {
                break;
            }
        }
    };
    // What comes after the head changes nothing.
    tokio::time::timeout(LINGER, drain).await.ok();
    drop(connection);
    if status.is_success() { Ok(status.as_u16()) } else { Err((Some(status.as_u16()), "status")) }
}

/// A task that ends when nobody waits for it any more.
struct Abandoned(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
