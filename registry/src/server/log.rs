//! One line of log for each request, written when its last byte has gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::Level;

use crate::api;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What the lines are filtered by.
const TARGET: &str = "wharf::request";

/// Gives a request an id (or keeps the one that it came with), lets `answer` answer it, and logs it
/// once it is over.
pub(super) async fn logged<F: Future<Output = Response>>(
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| id.len() <= 128 && id.to_str().is_ok())
        .cloned()
        .unwrap_or_else(new_id);
    if !tracing::enabled!(target: TARGET, Level::INFO) {
        let mut response = answer(request).await;
        response.headers_mut().insert(REQUEST_ID, id);
        return response;
    }
    let started = Instant::now();
    let received = Arc::new(AtomicU64::new(0));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = std::mem::take(request.body_mut());
    let counted = Counted {
        body,
        count: received.clone(),
        _line: None,
    };
    *request.body_mut() = Body::new(counted);

    let mut response = answer(request).await;
    response.headers_mut().insert(REQUEST_ID, id.clone());
    let line = Line {
        started,
        id,
        method,
        uri,
        status: response.status(),
        digest: response.headers().get("Docker-Content-Digest").cloned(),
        received,
        sent: Arc::new(AtomicU64::new(0)),
    };
    let count = line.sent.clone();
    response.map(|body| {
        Body::new(Counted {
            body,
            count,
            _line: Some(line),
        })
    })
}

/// What a line says. Dropping it writes it, whether the answer was taken to its end or not.
struct Line {
    started: Instant,
    id: HeaderValue,
    method: Method,
    uri: Uri,
    status: StatusCode,
    digest: Option<HeaderValue>,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Drop for Line {
    fn drop(&mut self) {
        tracing::info!(
            target: TARGET,
            id = %self.id.to_str().unwrap_or_default(),
            method = %self.method,
            path = self.uri.path(),
            repository = api::repository(self.uri.path()),
            digest = self.digest.as_ref().and_then(|digest| digest.to_str().ok()),
            status = self.status.as_u16(),
            received_bytes = self.received.load(Ordering::Relaxed),
            sent_bytes = self.sent.load(Ordering::Relaxed),
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
    }
}

/// A body that counts its bytes.
struct Counted {
    body: Body,
    count: Arc<AtomicU64>,
    /// Lives as long as the body.
    _line: Option<Line>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An id that no other request of this process has, and most likely none of another.
fn new_id() -> HeaderValue {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let random = crate::blobs::UploadId::random();
        random.map_or_else(|_| "0".to_owned(), |id| id.as_str()[..8].to_owned())
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}-{count:x}", *PROCESS);
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("0"))
}
