//! Request bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Body as _;
use tokio::time::{Instant, Sleep};

use super::Result;
use crate::limits;
use crate::registry::{Content, ContentError};

/// A request's body: a stream of its bytes that ends with an error when nothing comes for too long.
pub(super) struct RequestBody {
    body: Body,
    idle: Duration,
    /// When the body counts as silent, once somebody waits for it. Boxed, because a timer may not
    /// move.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The client waits for `100 Continue` before it sends anything.
    unsent: bool,
    ended: bool,
}

impl RequestBody {
    /// A body that may be silent for `idle`.
    pub(super) fn new(parts: &Parts, body: Body, idle: Duration) -> Self {
        let expects = parts
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value == HeaderValue::from_static("100-continue"));
        Self {
            ended: body.is_end_stream(),
            body,
            idle,
            deadline: None,
            unsent: expects,
        }
    }

    /// The body, for a rule to read.
    pub(super) fn content(&mut self) -> Content<'_> {
        let body: Pin<&mut Self> = Pin::new(self);
        body
    }

    /// Adds the body to `whole`, up to the frame with which that has more than `limit` bytes. Says
    /// whether that was all.
    ///
    /// # Errors
    /// Where it breaks off.
    pub(super) async fn collect(&mut self, whole: &mut BytesMut, limit: usize) -> Result<bool> {
        let expected = usize::try_from(self.least()).unwrap_or(usize::MAX);
        // Where the length is known: growing would take twice as much.
        if whole.len().saturating_add(expected) <= limit {
            whole.reserve(expected);
        } else if whole.is_empty() {
            return Ok(false);
        }
        while let Some(frame) = self.next().await {
            whole.extend_from_slice(&frame.map_err(crate::registry::Error::from)?);
            if whole.len() > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many bytes are still to come, as far as that is known.
    pub(super) fn least(&self) -> u64 {
        self.body.size_hint().lower()
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

    /// Begins to wait anew.
    fn rewind(&mut self) {
        if let Some(deadline) = &mut self.deadline {
            deadline.as_mut().reset(Instant::now() + self.idle);
        }
    }

    fn deadline(&mut self) -> Pin<&mut Sleep> {
        let idle = self.idle;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        deadline.as_mut()
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
                ready!(self.deadline().poll(context));
                self.ended = true;
                return Poll::Ready(Some(Err(ContentError::Idle(self.idle))));
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
