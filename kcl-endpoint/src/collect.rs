//! The bodies of requests, collected within bounds; and of answers, counted.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::limits::{BODY_BYTES, SMALL_PIECE_BYTES};

/// The bytes that the bodies of all requests under way, or of answers, may have.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A body, counted until it is dropped.
pub(crate) struct Collected {
    pub bytes: Bytes,
    _counted: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes a part of it, which comes back when what is returned is dropped.
    pub fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let many = u32::try_from(bytes).map_err(|_| ApiError::too_large(BODY_BYTES))?;
        // Not waited for: who holds a part of the rest may wait for this one.
        Arc::clone(&self.0).try_acquire_many_owned(many).map_err(|_| ApiError::busy())
    }

    /// Collects a body. What counts is what came, not what a head announces.
    pub async fn collect(&self, mut body: Incoming) -> Result<Collected, ApiError> {
        if body.size_hint().lower() > BODY_BYTES as u64 {
            return Err(ApiError::too_large(BODY_BYTES));
        }
        let mut counted: Option<OwnedSemaphorePermit> = None;
        let mut pieces = Pieces::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::broken_off())?;
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            if pieces.length + data.len() > BODY_BYTES {
                return Err(ApiError::too_large(BODY_BYTES));
            }
            let more = self.take(data.len())?;
            match &mut counted {
                Some(counted) => counted.merge(more),
                None => counted = Some(more),
            }
            pieces.push(data);
        }
        Ok(Collected { bytes: pieces.joined(), _counted: counted })
    }
}

/// Bytes that count until the last piece of them was sent.
pub(crate) fn counted(bytes: Bytes, counted: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Counted { bytes, _counted: counted })
}

struct Counted {
    bytes: Bytes,
    _counted: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What came of a body.
#[derive(Default)]
struct Pieces {
    held: Vec<Bytes>,
    /// Small ones behind those.
    small: BytesMut,
    length: usize,
}

impl Pieces {
    fn push(&mut self, data: Bytes) {
        self.length += data.len();
        // The first is often all there is.
        if self.held.is_empty() || data.len() >= SMALL_PIECE_BYTES {
            self.hold_small();
            self.held.push(data);
        } else {
            self.small.extend_from_slice(&data);
        }
    }

    fn hold_small(&mut self) {
        if !self.small.is_empty() {
            self.held.push(self.small.split().freeze());
        }
    }

    fn joined(mut self) -> Bytes {
        self.hold_small();
        if self.held.len() <= 1 {
            return self.held.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.length);
        self.held.iter().for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_whole_and_a_byte_at_a_time_costs_no_more() {
        for sizes in [&[0; 0][..], &[3], &[1; 100_000], &[5000, 1, 2, 5000, 0, 7], &[0, 1, 1024, 1]]
        {
            let (mut pieces, mut expected) = (Pieces::default(), Vec::new());
            for (number, size) in sizes.iter().enumerate() {
                let piece = vec![number as u8; *size];
                expected.extend_from_slice(&piece);
                pieces.push(piece.into());
            }
            assert!(pieces.held.len() <= 5, "{} pieces", pieces.held.len());
            assert_eq!(pieces.length, expected.len());
            assert_eq!(pieces.joined(), expected);
        }
    }
}
