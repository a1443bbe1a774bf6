//! How many requests one connection gets.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

/// Answers a connection's requests, and says with the last one that the connection closes.
pub(super) struct Requests {
    router: TowerToHyperService<Router>,
    left: AtomicUsize,
}

impl Requests {
    pub(super) fn new(router: Router, requests: usize) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            left: AtomicUsize::new(requests),
        }
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = MapOk<
        <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future,
        fn(Response) -> Response,
    >;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // hyper asks for nothing more once it has said that it closes.
        let is_last = self.left.fetch_sub(1, Ordering::Relaxed) <= 1;
        self.router
            .call(request)
            .map_ok(if is_last { closing } else { going_on })
    }
}

fn closing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn going_on(response: Response) -> Response {
    response
}
