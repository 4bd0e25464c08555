//! The bodies of requests, collected within bounds.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::limits::BODY_BYTES;

/// The bytes that the bodies of all requests under way may have.
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

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
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
        let (mut frames, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::broken_off())?;
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length > BODY_BYTES {
                return Err(ApiError::too_large(BODY_BYTES));
            }
            let more = self.take(data.len())?;
            match &mut counted {
                Some(counted) => counted.merge(more),
                None => counted = Some(more),
            }
            frames.push(data);
        }
        Ok(Collected { bytes: joined(frames, length), _counted: counted })
    }
}

fn joined(mut frames: Vec<Bytes>, length: usize) -> Bytes {
    if frames.len() <= 1 {
        return frames.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(length);
    frames.iter().for_each(|frame| all.extend_from_slice(frame));
    all.freeze()
}
