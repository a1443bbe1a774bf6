//! Bodies on their way into uploads.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::session::{Claim, Session};
use super::{Error, Result};
use crate::blobs::UploadWriter;
use crate::limits;
use crate::transfers::Transfer;

/// A request's body as it arrives.
pub type Content<'a> =
    Pin<&'a mut (dyn Stream<Item = std::result::Result<Bytes, ContentError>> + Send)>;

/// Why a request's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The connection broke, or the body broke HTTP's rules.
    #[error("the body ended early")]
    CutOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("the body did not go on for {} seconds", .0.as_secs())]
    Idle(Duration),
}

/// Moves a body into an upload. While one piece is written and hashed, the next is gathered, so
/// that network and disk work at the same time.
pub(super) async fn copy(
    claim: &mut Claim<'_>,
    writer: &mut dyn UploadWriter,
    transfer: &Transfer,
    mut body: Content<'_>,
    expected: Option<u64>,
) -> Result<()> {
    let limit = expected.unwrap_or(u64::MAX);
    let mut received = 0;
    let mut piece = claim
        .unless_superseded(gather(transfer, body.as_mut(), limit, &mut received))
        .await?;
    while piece.end.is_none() {
        let append = append(claim.session, writer, piece.frames);
        let gather = claim.unless_superseded(gather(transfer, body.as_mut(), limit, &mut received));
        let (appended, gathered) = tokio::join!(append, gather);
        appended?;
        piece = gathered?;
    }
    append(claim.session, writer, piece.frames).await?;
    piece.end.unwrap_or(Ok(()))?;
    match expected {
        Some(expected) if expected != received => Err(Error::ChunkSize {
            expected,
            actual: received,
        }),
        _ => Ok(()),
    }
}

async fn append(
    session: &Session,
    writer: &mut dyn UploadWriter,
    frames: Vec<Bytes>,
) -> Result<()> {
    writer.append(frames).await?;
    session.publish_size(writer.size());
    Ok(())
}

/// Some of a body.
struct Piece {
    frames: Vec<Bytes>,
    /// How the body ended behind the frames, if it did.
    end: Option<Result<()>>,
}

/// Takes about [`limits::WRITE_BYTES`] from a body, or what comes of it in a while. (Only what comes
/// soon is worth to be waited for, and who sends a little and then nothing must not fill the memory.)
async fn gather(
    transfer: &Transfer,
    mut body: Content<'_>,
    limit: u64,
    received: &mut u64,
) -> Piece {
    let (mut frames, mut size) = (Vec::new(), 0);
    let due = tokio::time::sleep(limits::WRITE_WAIT);
    tokio::pin!(due);
    let end = loop {
        if size >= transfer.bytes(limits::WRITE_BYTES) || frames.len() >= limits::WRITE_FRAMES {
            break None;
        }
        let next = tokio::select! {
            biased;
            next = body.next() => next,
            () = &mut due, if !frames.is_empty() => break None,
        };
        match next {
            Some(Ok(frame)) => {
                let total = *received + frame.len() as u64;
                if total > limit {
                    break Some(Err(Error::ChunkSize {
                        expected: limit,
                        actual: total,
                    }));
                }
                *received = total;
                size += frame.len();
                frames.push(frame);
            }
            Some(Err(error)) => break Some(Err(error.into())),
            None => break Some(Ok(())),
        }
    };
    Piece { frames, end }
}
