//! Request bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Body as _;
use tokio::time::{Instant, Sleep};

use super::Result;
use super::error::ApiError;
use crate::limits;
use crate::registry::{Content, ContentError};

/// A request's body: a stream of its bytes that ends with an error when nothing comes for too long.
pub(super) struct RequestBody {
    body: Body,
    /// When the body counts as silent. Boxed, because a timer may not move.
    deadline: Pin<Box<Sleep>>,
    /// The client waits for `100 Continue` before it sends anything.
    unsent: bool,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(parts: &Parts, body: Body) -> Self {
        let expects = parts
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value == HeaderValue::from_static("100-continue"));
        Self {
            ended: body.is_end_stream(),
            body,
            deadline: Box::pin(tokio::time::sleep(limits::BODY_IDLE)),
            unsent: expects,
        }
    }

    /// The body, for a rule to read.
    pub(super) fn content(&mut self) -> Content<'_> {
        let body: Pin<&mut Self> = Pin::new(self);
        body
    }

    /// The whole body.
    ///
    /// # Errors
    /// Where it has more than `limit` bytes, or breaks off.
    pub(super) async fn collect(&mut self, limit: usize) -> Result<Bytes> {
        if self.body.size_hint().lower() > limit as u64 {
            return Err(ApiError::too_large(limit));
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = self.next().await {
            let frame = frame.map_err(crate::registry::Error::from)?;
            if whole.len() + frame.len() > limit {
                return Err(ApiError::too_large(limit));
            }
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    }

    /// Reads and drops what is left of the body, within limits, so that the client has sent
    /// everything before it gets its answer.
    pub(super) async fn drain(&mut self) {
        if self.unsent {
            return;
        }
        let _ = tokio::time::timeout(limits::DRAIN_WAIT, async {
            let mut dropped = 0;
            while let Some(Ok(frame)) = self.next().await {
                dropped += frame.len() as u64;
                if dropped > limits::DRAIN_BYTES {
                    break;
                }
            }
        })
        .await;
    }

    fn rewind(&mut self) {
        self.deadline
            .as_mut()
            .reset(Instant::now() + limits::BODY_IDLE);
    }
}

impl Stream for RequestBody {
    type Item = std::result::Result<Bytes, ContentError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.unsent = false;
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                ready!(self.deadline.as_mut().poll(context));
                self.ended = true;
                return Poll::Ready(Some(Err(ContentError::Idle)));
            };
            match frame {
                // Trailers say nothing to us.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rewind();
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(ContentError::CutOff(error.into_inner()))));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
