//! HTTP in, one call of a rule, HTTP out. The only place that knows status codes and the
//! specification's error codes.

mod blobs;
mod body;
mod error;
mod lists;
mod manifests;
mod response;
pub(crate) mod route;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http_body::Body as _;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use oci_spec::distribution::ErrorCode;

use crate::limits;
use crate::registry::{Access, Registry};
use body::RequestBody;
use error::ApiError;
use route::Target;

/// What a request is answered with.
type Result<T = Response> = std::result::Result<T, ApiError>;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A registry as clients see it.
pub(crate) struct Api {
    registry: Arc<Registry>,
    /// How long a request's body may be silent.
    body_idle: Duration,
    /// What there is beside the specification's resources.
    pages: TowerToHyperService<Router>,
}

impl Api {
    pub(crate) fn new(registry: Arc<Registry>, body_idle: Duration) -> Self {
        let pages = Router::new()
            .route("/", get(StatusCode::OK))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .method_not_allowed_fallback(refuse_method)
            .with_state(registry.clone());
        Self {
            registry,
            body_idle,
            pages: TowerToHyperService::new(pages),
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        if matches!(request.uri().path(), "/" | "/healthz" | "/readyz") {
            let Ok(response) = self.pages.call(request).await;
            return response;
        }
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body, self.body_idle);
        let only_reads = matches!(parts.method, Method::GET | Method::HEAD);
        let answer = answer(self.registry.clone(), parts, body);
        // A panic fails this request alone.
        let answered = if only_reads {
            AssertUnwindSafe(answer).catch_unwind().await.ok()
        } else {
            // To the end, even when the client goes away: what has arrived of an upload is then
            // stored, and no half-done work is dropped in the middle.
            tokio::spawn(answer).await.ok()
        };
        answered.unwrap_or_else(|| {
            tracing::error!("a request failed in an unforeseen way");
            ApiError::internal().into_response()
        })
    }

    /// Refuses a request before it gets to the registry, in the way in which all requests are refused.
    pub(crate) async fn refuse(&self, request: Request, message: String) -> Response {
        let (parts, body) = request.into_parts();
        RequestBody::new(&parts, body, self.body_idle).drain().await;
        ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message).into_response()
    }
}

/// Says that the server is alive, and which registry it is.
async fn health(State(registry): State<Arc<Registry>>) -> Response {
    let status = serde_json::json!({"status": "ok", "instance": registry.instance(), "version": env!("CARGO_PKG_VERSION")});
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(status)).into_response()
}

/// Says whether pushes and pulls are served. A full disk is said and not held against it: pulls and
/// deletes go on, and traffic that was led elsewhere would find nothing there.
async fn ready(State(registry): State<Arc<Registry>>) -> Response {
    let (code, status) = match (registry.is_read_only(), registry.is_full()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "read-only"),
        (false, true) => (StatusCode::OK, "disk-full"),
        (false, false) => (StatusCode::OK, "ok"),
    };
    let status = axum::Json(serde_json::json!({"status": status}));
    (code, [(header::CACHE_CONTROL, "no-store")], status).into_response()
}

/// The repository that a path is about.
pub(crate) fn repository(path: &str) -> Option<String> {
    route::parse(path)
        .ok()?
        .repository()
        .map(|name| name.as_str().to_owned())
}

/// Refuses to do anything with a page but to read it.
async fn refuse_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    RequestBody::new(&parts, body, limits::IDLE).drain().await;
    ApiError::only_get().into_response()
}

/// Answers the requests of the distribution specification.
async fn answer(registry: Arc<Registry>, parts: Parts, mut body: RequestBody) -> Response {
    let answer = dispatch(&registry, &parts, &mut body).await;
    // Refused or not needed, it is on its way; and dumb proxies in between give up on both directions
    // when one is reset.
    body.drain().await;
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            if error.is_ours() {
                tracing::error!(method = %parts.method, path = parts.uri.path(), error = %error.chain(), "a request failed");
            }
            error.into_response()
        }
    };
    let length = response.body().size_hint().exact();
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if parts.method == Method::HEAD {
        // What a `GET` would have said.
        if let (header::Entry::Vacant(entry), Some(length)) =
            (headers.entry(header::CONTENT_LENGTH), length)
        {
            entry.insert(length.into());
        }
        *response.body_mut() = Body::empty();
    }
    response
}

async fn dispatch(registry: &Registry, parts: &Parts, body: &mut RequestBody) -> Result {
    let access = &Access::anonymous();
    let target = route::parse(parts.uri.path())?;
    match (&parts.method, &target) {
        (&Method::GET | &Method::HEAD, Target::Version) => {
            Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response())
        }
        (&Method::GET | &Method::HEAD, Target::Blob { name, digest }) => {
            blobs::get(registry, access, parts, name, digest).await
        }
        (&Method::POST, Target::Uploads { name }) => {
            uploads::start(registry, access, parts, name, body).await
        }
        (&Method::GET | &Method::HEAD, Target::Upload { name, upload }) => {
            uploads::status(registry, access, name, upload)
        }
        (&Method::PATCH, Target::Upload { name, upload }) => {
            uploads::append(registry, access, parts, name, upload, body).await
        }
        (&Method::PUT, Target::Upload { name, upload }) => {
            uploads::finish(registry, access, parts, name, upload, body).await
        }
        (&Method::DELETE, Target::Upload { name, upload }) => {
            uploads::cancel(registry, access, name, upload).await
        }
        (&Method::GET | &Method::HEAD, Target::Manifest { name, reference }) => {
            manifests::get(registry, access, parts, name, reference).await
        }
        (&Method::PUT, Target::Manifest { name, reference }) => {
            manifests::put(registry, access, parts, name, reference, body).await
        }
        (&Method::DELETE, Target::Manifest { name, reference }) => {
            manifests::delete(registry, access, name, reference).await
        }
        (&Method::DELETE, Target::Blob { name, digest }) => {
            blobs::delete(registry, access, name, digest).await
        }
        (&Method::GET | &Method::HEAD, Target::Tags { name }) => {
            lists::tags(registry, access, parts, name).await
        }
        (&Method::GET | &Method::HEAD, Target::Referrers { name, digest }) => {
            lists::referrers(registry, access, parts, name, digest).await
        }
        (&Method::GET | &Method::HEAD, Target::Catalog) => {
            lists::catalog(registry, access, parts).await
        }
        (_, target) => Err(ApiError::method_not_allowed(target)),
    }
}
