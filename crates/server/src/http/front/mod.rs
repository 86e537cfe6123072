//! The front: listeners, connections, and HTTP/1 itself. hyper serves HTTP/2 and nothing else.
//!
//! - [`listener`]: the places to listen at, and the accept loop; [`caps`]: how many connections; [`tls`]
//! - [`apart`]: a listener on threads of its own
//! - [`connection`]: one HTTP/1 connection, from its first byte to its last; [`input`]: what it has read
//! - [`head`], [`target`], [`chunks`]: the gate: what has more than one meaning is refused
//! - [`answer`]: to the router and back; [`writer`]: answers as bytes
//! - [`http2`]: how hyper is used
//! - [`timing`]: deadlines, and the end of the server

use super::{Door, router};
use crate::app::App;
use crate::metrics::Late;
use axum::Router;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

mod answer;
mod apart;
mod caps;
mod chunks;
mod connection;
mod head;
mod http2;
mod input;
mod listener;
mod target;
#[cfg(test)]
mod tests;
mod timing;
mod tls;
mod writer;

pub use apart::{Apart, Serving};
pub use caps::connections;
pub use head::{Field, Framing, Head, Header, MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_TARGET, Persistence};
pub use listener::Listener;
pub use timing::Deadlines;
pub use tls::tls;
pub use writer::{date, number, write_head};

/// What answers requests.
pub struct Service {
    /// The server.
    pub app: Arc<App>,
    /// What answers whatever is no plain verification.
    pub router: Router,
    /// Which listener.
    pub door: Door,
}

impl Service {
    /// The routes of a listener.
    pub fn new(app: Arc<App>, door: Door) -> Self {
        Self { router: router::router(app.clone(), door), app, door }
    }

    /// Counts a connection that is closed by a deadline.
    fn late(&self, why: Late) {
        self.app.metrics.connections(self.door).late(why);
    }
}

/// How a listener serves.
pub struct Front {
    /// What answers.
    pub service: Service,
    /// For HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// How long clients may take.
    pub deadlines: Deadlines,
    /// Most connections at a time; half of them from one address.
    pub connections: usize,
}
