//! HTTP/2, which hyper serves.

use super::head::{MAX_HEAD, TOO_LARGE, most};
use super::timing::{Deadlines, Stop};
use super::{Service, answer};
use crate::http::actor::Peer;
use crate::metrics::Late;
use axum::body::Body;
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use stead_api::error::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many requests of a connection have begun, and how many have their answer.
#[derive(Default)]
struct Requests {
    begun: AtomicUsize,
    answered: AtomicUsize,
}

/// Serves a connection to its end. `read` is what was read of it before.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    read: Vec<u8>,
    service: Arc<Service>,
    peer: Option<IpAddr>,
    deadlines: Deadlines,
    mut stop: Stop,
) {
    let requests = Arc::new(Requests::default());
    let counted = requests.clone();
    let late = service.clone();
    let handle = service_fn(move |request| {
        let (service, requests) = (service.clone(), counted.clone());
        requests.begun.fetch_add(1, Ordering::Relaxed);
        async move {
            let response = respond(&service, request, peer, deadlines.body).await;
            requests.answered.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        // Streams opened only to be reset cost the client nothing and us something.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100);
    let io = TokioIo::new(Rewound { read, used: 0, stream });
    let mut connection = std::pin::pin!(builder.serve_connection(io, handle));
    let mut is_told = false;
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.told() => is_told = true,
        () = idle(&requests, &deadlines) => late.late(Late::Idle),
    }
    connection.as_mut().graceful_shutdown();
    // At the end of the server the listener says how long it waits.
    let left = if is_told { deadlines.drain } else { deadlines.write };
    drop(tokio::time::timeout(left, connection).await);
}

/// Done when nothing was asked for a while. Pings keep a connection alive whose client never asks anything.
async fn idle(requests: &Requests, deadlines: &Deadlines) {
    let mut patience = deadlines.first_byte;
    loop {
        let before = requests.begun.load(Ordering::Relaxed);
        tokio::time::sleep(patience).await;
        let begun = requests.begun.load(Ordering::Relaxed);
        if begun == before && begun == requests.answered.load(Ordering::Relaxed) {
            return;
        }
        patience = deadlines.idle;
    }
}

async fn respond(
    service: &Service,
    request: hyper::Request<Incoming>,
    peer: Option<IpAddr>,
    patience: Duration,
) -> Response {
    let (parts, body) = request.into_parts();
    let refuse = |code, message| answer::refused(&service.app, code, message);
    let body = match tokio::time::timeout(patience, Limited::new(body, most(parts.uri.path())).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return refuse(TOO_LARGE.code, TOO_LARGE.message),
        Ok(Err(_)) => return refuse(ErrorCode::BadRequest, "The body could not be read to its end."),
        Err(_) => return refuse(ErrorCode::RequestTimeout, "The request did not arrive in time."),
    };
    let mut request = axum::extract::Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(Peer(peer));
    answer::ask(&service.router, request).await
}

/// A stream of which something was read already, which is read once more.
struct Rewound<S> {
    read: Vec<u8>,
    used: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let left = &self.read[self.used..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.used += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
