//! One HTTP/1 connection: reads a request, has it answered, writes the answer, and so on, in order.

use super::chunks::Chunks;
use super::head::{Framing, Head, Persistence, Refusal, Search, bad, room};
use super::input::{Input, KEPT};
use super::timing::{Deadlines, Stop, Timer};
use super::writer::{self, Length};
use super::{Service, answer};
use crate::metrics::Late;
use crate::verify::quick;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use stead_api::error::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a client that speaks HTTP/2 without asking sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Answers are kept together up to this size while more requests are there already.
const TOGETHER: usize = 32 * 1024;
/// Most bytes that are read and dropped after the last answer.
const LINGER_BYTES: usize = 1024 * 1024;

const LATE: Refusal = Refusal { code: ErrorCode::RequestTimeout, message: "The request did not arrive in time." };
const CUT_OFF: Refusal = bad("The connection ended in the middle of the request.");

/// A connection that speaks HTTP/1 until it is known to speak HTTP/2.
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) service: Arc<Service>,
    pub(super) peer: Option<IpAddr>,
    pub(super) deadlines: Deadlines,
    pub(super) stop: Stop,
    timer: Timer,
    input: Input,
    chunks: Chunks,
    out: Vec<u8>,
}

/// Why no request comes of what was read.
enum Cut {
    /// The client hears why.
    Refused(Refusal),
    /// Nobody is there to hear it.
    Gone,
}

impl From<Refusal> for Cut {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What is waited for when a read has to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The first byte of a request: the connection may end at any time, without a word.
    Request,
    /// The rest of a request.
    Rest,
    /// Nothing more: what comes is dropped.
    Nothing,
}

enum Turn {
    Keep,
    Close,
    Http2,
}

/// What becomes of a request whose head is there.
enum Step {
    /// Its body is not there yet.
    Body { framing: Framing, expects_continue: bool },
    /// It is answered already.
    Answered(Persistence),
    /// The router answers it.
    Ask { request: Box<Request>, asked: Asked },
}

/// What an answer's form depends on.
#[derive(Clone, Copy)]
struct Asked {
    is_head: bool,
    is_http_10: bool,
    persistence: Persistence,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        service: Arc<Service>,
        peer: Option<IpAddr>,
        deadlines: Deadlines,
        stop: Stop,
    ) -> Self {
        let timer = Timer::new(Instant::now() + deadlines.first_byte);
        let (input, chunks, out) = (Input::new(), Chunks::default(), Vec::new());
        Self { stream, service, peer, deadlines, stop, timer, input, chunks, out }
    }

    /// Serves the connection to its end, or until it speaks HTTP/2: then gives it back, with what was read of it.
    pub(super) async fn run(mut self, may_switch: bool) -> Option<(Self, Vec<u8>)> {
        let (mut patience, mut may_switch) = (self.deadlines.first_byte, may_switch);
        loop {
            match self.turn(patience, may_switch).await {
                Ok(Turn::Keep) => {}
                Ok(Turn::Close) => break,
                Ok(Turn::Http2) => {
                    let read = self.input.unread().to_vec();
                    return Some((self, read));
                }
                Err(Cut::Gone) => return None,
                Err(Cut::Refused(refusal)) => {
                    tracing::debug!(code = refusal.code.as_str(), "a request was refused: {}", refusal.message);
                    let response = answer::refused(&self.service.app, refusal.code, refusal.message);
                    // Nobody knows what the rest of the connection would mean.
                    let asked = Asked { is_head: false, is_http_10: false, persistence: Persistence::Close };
                    if self.send(response, asked).await.is_err() {
                        return None;
                    }
                    break;
                }
            }
            (patience, may_switch) = (self.deadlines.idle, false);
        }
        if self.flush().await.is_ok() {
            self.linger().await;
        }
        None
    }

    /// One request, from its first byte to its answer, which may still wait in `out` for those that follow.
    async fn turn(&mut self, patience: Duration, may_switch: bool) -> Result<Turn, Cut> {
        let Some(length) = self.head(patience, may_switch).await? else { return Ok(Turn::Http2) };
        let mut step = self.examine(length)?;
        if let Step::Body { framing, expects_continue } = step {
            self.body(length, framing, expects_continue).await?;
            step = self.examine(length)?;
        }
        let persistence = match step {
            Step::Body { .. } => return Err(Cut::Gone),
            Step::Answered(persistence) => persistence,
            // In a box, so that the many connections that wait don't keep room for it.
            Step::Ask { request, asked } => Box::pin(self.ask(*request, asked)).await?,
        };
        if self.out.len() > TOGETHER {
            self.flush().await?;
        }
        Ok(if persistence == Persistence::Close { Turn::Close } else { Turn::Keep })
    }

    /// Waits for a whole head and gives its length; `None` if the connection speaks HTTP/2.
    async fn head(&mut self, patience: Duration, may_switch: bool) -> Result<Option<usize>, Cut> {
        let mut search = Search::default();
        let (mut idle_until, mut head_until) = (None, None);
        let (mut may_switch, mut may_begin_empty) = (may_switch, true);
        loop {
            let bytes = self.input.unread();
            may_switch = may_switch && PREFACE.starts_with(&bytes[..bytes.len().min(PREFACE.len())]);
            if may_switch && bytes.len() >= PREFACE.len() {
                return Ok(None);
            }
            if may_begin_empty && bytes.starts_with(b"\r\n") {
                self.input.consume(2);
                (search, may_begin_empty) = (Search::default(), false);
                continue;
            }
            if !may_switch && let Some(length) = search.end(bytes)? {
                return Ok(Some(length));
            }
            self.flush().await?;
            let (due, wait) = if self.input.is_empty() {
                self.shrink();
                (*idle_until.get_or_insert_with(|| Instant::now() + patience), Wait::Request)
            } else {
                (*head_until.get_or_insert_with(|| Instant::now() + self.deadlines.head), Wait::Rest)
            };
            self.fill(due, wait).await?;
        }
    }

    /// Reads until the body is whole; a chunked one is put together in `chunks`.
    async fn body(&mut self, head: usize, framing: Framing, mut expects_continue: bool) -> Result<(), Cut> {
        let due = Instant::now() + self.deadlines.body;
        loop {
            let is_whole = match framing {
                Framing::Length(length) => self.input.unread().len() >= head + length,
                Framing::Chunked(most) => {
                    let taken = self.chunks.take(&self.input.unread()[head..], most)?;
                    self.input.cut(head, taken);
                    self.chunks.is_done()
                }
            };
            if is_whole {
                return Ok(());
            }
            if std::mem::take(&mut expects_continue) && self.input.unread().len() == head && self.chunks.is_untouched()
            {
                self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.flush().await?;
            self.fill(due, Wait::Rest).await?;
        }
    }

    /// Reads the head and, if the body is there, has the request answered or makes it ready for the router. The head is
    /// read once more after a body had to be waited for: it points into the buffer, which reading may move.
    fn examine(&mut self, length: usize) -> Result<Step, Refusal> {
        let mut room = room();
        let (bytes, rest) = self.input.unread().split_at(length);
        let mut head = Head::read(bytes, &mut room)?;
        let (body, used) = match head.framing {
            Framing::Length(body) if body <= rest.len() => (&rest[..body], length + body),
            Framing::Chunked(_) if self.chunks.is_done() => (&self.chunks.body[..], length),
            framing => return Ok(Step::Body { framing, expects_continue: head.expects_continue }),
        };
        if self.stop.is_told() {
            head.persistence = Persistence::Close;
        }
        let Service { app, door, .. } = &*self.service;
        let written = self.out.len();
        let quick = catch_unwind(AssertUnwindSafe(|| quick::answer(app, *door, self.peer, &head, body, &mut self.out)));
        let step = match quick {
            Ok(true) => Step::Answered(head.persistence),
            Ok(false) => Step::Ask {
                request: Box::new(answer::request(&head, body, self.peer)?),
                asked: Asked {
                    is_head: head.method == "HEAD",
                    is_http_10: head.is_http_10,
                    persistence: head.persistence,
                },
            },
            // Not passed on to the router: the question may have been charged for already.
            Err(_) => {
                self.out.truncate(written);
                return Err(Refusal { code: ErrorCode::InternalError, message: "Something is wrong with the server." });
            }
        };
        self.input.consume(used);
        self.chunks.clear();
        Ok(step)
    }

    /// Has the router answer.
    async fn ask(&mut self, request: Request, mut asked: Asked) -> Result<Persistence, Cut> {
        let response = answer::ask(&self.service.router, request).await;
        if self.stop.is_told() {
            asked.persistence = Persistence::Close;
        }
        self.send(response, asked).await
    }

    /// Writes a response of the router's.
    async fn send(&mut self, response: Response, mut asked: Asked) -> Result<Persistence, Cut> {
        let (parts, body) = response.into_parts();
        let has_no_body = matches!(parts.status.as_u16(), 204 | 304);
        let length = match answer::length(&parts.headers, &body, asked.is_head) {
            _ if has_no_body => Length::Unsaid,
            Some(length) => Length::Bytes(length),
            None if asked.is_http_10 => {
                asked.persistence = Persistence::Close;
                Length::Unsaid
            }
            None => Length::Chunked,
        };
        let now = self.service.app.clock.now();
        writer::begin(&mut self.out, parts.status.as_u16(), now, asked.persistence, length);
        for (name, value) in &parts.headers {
            if !answer::is_ours(name) {
                writer::field(&mut self.out, name.as_str(), value.as_bytes());
            }
        }
        writer::end(&mut self.out);
        if !asked.is_head && !has_no_body {
            self.send_body(body, length).await?;
        }
        Ok(asked.persistence)
    }

    async fn send_body(&mut self, mut body: Body, length: Length) -> Result<(), Cut> {
        let mut left = match length {
            Length::Bytes(bytes) => Some(bytes),
            Length::Chunked | Length::Unsaid => None,
        };
        while let Some(frame) = body.frame().await {
            // Half an answer is told from a whole one by the end of the connection only.
            let Ok(data) = frame.map_err(|_| Cut::Gone)?.into_data() else { continue };
            if let Some(left) = &mut left {
                *left = left.checked_sub(data.len() as u64).ok_or(Cut::Gone)?;
            }
            match length {
                Length::Chunked if data.is_empty() => {}
                Length::Chunked => writer::chunk(&mut self.out, &data),
                Length::Bytes(_) | Length::Unsaid => self.out.extend_from_slice(&data),
            }
            // What comes in pieces is not kept back: the next may take its time.
            if self.out.len() > TOGETHER || left.is_none() {
                self.flush().await?;
            }
        }
        if length == Length::Chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        if left.unwrap_or(0) == 0 { Ok(()) } else { Err(Cut::Gone) }
    }

    /// Reads something. The deadline is looked at only if nothing is there.
    async fn fill(&mut self, due: Instant, wait: Wait) -> Result<(), Cut> {
        let Self { stream, service, stop, timer, input, .. } = self;
        let read = std::future::poll_fn(|context| {
            let mut buffer = ReadBuf::new(input.room());
            if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                return Poll::Ready(read.map(|()| buffer.filled().len()).map_err(|_| Cut::Gone));
            }
            if wait == Wait::Request && stop.poll(context).is_ready() {
                return Poll::Ready(Err(Cut::Gone));
            }
            ready!(timer.poll(due, context));
            Poll::Ready(Err(match wait {
                Wait::Rest => {
                    service.late(Late::Request);
                    Cut::Refused(LATE)
                }
                Wait::Request => {
                    service.late(Late::Idle);
                    Cut::Gone
                }
                Wait::Nothing => Cut::Gone,
            }))
        });
        match read.await? {
            0 => Err(if wait == Wait::Rest { Cut::Refused(CUT_OFF) } else { Cut::Gone }),
            count => {
                input.filled(count);
                Ok(())
            }
        }
    }

    /// Writes what waits in `out`.
    async fn flush(&mut self) -> Result<(), Cut> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Self { stream, service, timer, out, deadlines, .. } = self;
        let (mut written, mut due) = (0, None);
        let done = std::future::poll_fn(|context| {
            loop {
                let step = match &out[written..] {
                    [] => Pin::new(&mut *stream).poll_flush(context).map_ok(|()| None),
                    rest => Pin::new(&mut *stream).poll_write(context, rest).map_ok(Some),
                };
                match step {
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(Some(0)) | Err(_)) => return Poll::Ready(Err(Cut::Gone)),
                    Poll::Ready(Ok(Some(count))) => written += count,
                    Poll::Pending => {
                        let due = *due.get_or_insert_with(|| Instant::now() + deadlines.write);
                        ready!(timer.poll(due, context));
                        service.late(Late::Write);
                        return Poll::Ready(Err(Cut::Gone));
                    }
                }
            }
        });
        done.await?;
        out.clear();
        Ok(())
    }

    /// Ends the connection so that the client sees the last answer: a socket closed with unread bytes is reset, and a
    /// reset throws away what is on its way.
    async fn linger(&mut self) {
        let due = Instant::now() + self.deadlines.linger;
        let Self { stream, timer, .. } = self;
        let shut = std::future::poll_fn(|context| match Pin::new(&mut *stream).poll_shutdown(context) {
            Poll::Ready(shut) => Poll::Ready(shut.is_ok()),
            Poll::Pending => timer.poll(due, context).map(|()| false),
        });
        let (is_shut, mut dropped) = (shut.await, 0);
        while is_shut && dropped < LINGER_BYTES {
            dropped += self.input.unread().len();
            self.input.consume(usize::MAX);
            if self.fill(due, Wait::Nothing).await.is_err() {
                return;
            }
        }
    }

    fn shrink(&mut self) {
        self.input.shrink();
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
    }
}
