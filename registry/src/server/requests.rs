//! What becomes of the requests of a connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hyper::body::Incoming;
use hyper::service::Service;

use super::guard::Hosts;
use super::log;
use super::tunnel::{self, Tunnel};
use crate::api::Api;

/// Answers the requests of one listener.
pub(super) struct Answering {
    pub(super) api: Arc<Api>,
    /// Which names it answers to.
    pub(super) hosts: Hosts,
    /// Whether connections may be upgraded to tunnels.
    pub(super) accepts_tunnels: bool,
}

/// Answers the requests of one connection, and says with the last one that the connection closes.
pub(super) struct Requests {
    answering: Arc<Answering>,
    left: AtomicUsize,
    tunnel: Option<Arc<Tunnel>>,
}

impl Requests {
    /// Of a connection that may become a tunnel if there is one.
    pub(super) fn new(
        answering: Arc<Answering>,
        tunnel: Option<Arc<Tunnel>>,
        requests: usize,
    ) -> Self {
        Self {
            answering,
            left: AtomicUsize::new(requests),
            tunnel,
        }
    }
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        if let Some(tunnel) = &self.tunnel
            && tunnel::is_wanted(request.headers())
        {
            return ready(Ok(tunnel.open(&mut request))).boxed();
        }
        // hyper asks for nothing more once it has said that it closes.
        let is_last = self.left.fetch_sub(1, Ordering::Relaxed) <= 1;
        let answering = self.answering.clone();
        let answer = async move {
            let mut response = answering.answer(request.map(Body::new)).await;
            if is_last {
                let headers = response.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        };
        answer.boxed()
    }
}

impl Answering {
    async fn answer(&self, request: Request) -> Response {
        // Probes come every few seconds under any name; they tell nothing that is worth stealing,
        // and say nothing to the log while all is well.
        if matches!(request.uri().path(), "/healthz" | "/readyz") {
            return self.api.answer(request).await;
        }
        // What is refused is logged as well.
        log::logged(request, |request| async {
            match self.hosts.check(&request) {
                Ok(()) => self.api.answer(request).await,
                Err(message) => self.api.refuse(request, message).await,
            }
        })
        .await
    }
}
