//! Connections inside others. What stands between client and server may speak HTTP alone, as a
//! cluster's API server does: it carries bytes both ways from a request on that was upgraded
//! (RFC 9110, 7.8). What follows the answer is a connection like any other, whose requests are
//! checked and logged one by one.

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::net::TcpStream;

use super::accept::Io;

/// What a client asks to upgrade to, and the server agrees to in its `101 Switching Protocols`.
pub const PROTOCOL: &str = "wharf-tunnel";

/// What becomes of a connection that may be upgraded.
#[derive(Debug, Default)]
pub(super) struct Tunnel(Mutex<Option<OnUpgrade>>);

impl Tunnel {
    /// Agrees to the upgrade that a request asks for.
    pub(super) fn open(&self, request: &mut Request<Incoming>) -> Response {
        let upgrade = hyper::upgrade::on(request);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        response
    }

    /// The connection as it goes on, once the one that was upgraded has ended.
    pub(super) async fn stream(&self) -> Option<TcpStream> {
        let upgrade = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let parts = upgrade?.await.ok()?.downcast::<Io>().ok()?;
        // Whoever speaks before the answer has come cannot know that it was yes.
        let stream = parts.io.into_inner().into_inner().into_inner().0;
        parts.read_buf.is_empty().then_some(stream)
    }
}

/// Whether an upgrade to a tunnel is asked for.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes() == PROTOCOL.as_bytes())
}
