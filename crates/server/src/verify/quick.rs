//! Verification without the router: straight from the bytes of an HTTP/1 request to those of its answer.

use crate::app::App;
use crate::http::Door;
use crate::http::front::Head;
use std::net::IpAddr;

/// Answers a request if it is an ordinary verification: then a complete HTTP/1.1 response was appended to `out`
/// ([`crate::http::front::write_head`] writes its head). Otherwise nothing was, and the router answers.
///
/// Runs in the connection's own task: it must neither wait nor block.
pub fn answer(app: &App, door: Door, peer: Option<IpAddr>, head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) -> bool {
    let _ = (app, door, peer, head, body, out);
    false
}
