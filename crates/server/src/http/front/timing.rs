//! When a connection's patience ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take for what. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// To the first byte of a connection.
    pub first_byte: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// From there to the last byte of the body.
    pub body: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// To take an answer in.
    pub write: Duration,
    /// After the last answer of a connection: so long what still comes is read and dropped, since closing at once
    /// could throw away the answer on its way.
    pub linger: Duration,
    /// For the requests under way at a shutdown.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(5),
            body: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            drain: Duration::from_secs(10),
        }
    }
}

/// The one timer of a connection. Setting a timer takes a lock, so it is left alone while it rings too early: with
/// requests coming one after the other it is set anew once an idle deadline, not once a request.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(first: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(first)) }
    }

    /// Ready once `due` has passed. The caller asks again whenever it is woken.
    pub(super) fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if self.sleep.deadline() >= due {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}

/// The end of the server, as one connection hears of it.
pub(super) struct Stop {
    told: watch::Receiver<bool>,
    wait: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stop {
    /// `told` changes once, and never back.
    pub(super) fn new(told: &watch::Receiver<bool>) -> Self {
        let mut waiting = told.clone();
        let wait = Box::pin(async move { drop(waiting.changed().await) });
        Self { told: told.clone(), wait }
    }

    pub(super) fn is_told(&self) -> bool {
        // Compares two numbers; reading the value would take a lock that all connections share.
        self.told.has_changed().unwrap_or(true)
    }

    /// Ready once it is told.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_told() { Poll::Ready(()) } else { self.wait.as_mut().poll(context) }
    }

    pub(super) async fn told(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}
