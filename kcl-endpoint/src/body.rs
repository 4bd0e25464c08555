//! What an answer is made of: all at once, or events as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::connection::Flight;
use crate::limits::{IDLE_EVENT_EVERY, PIECE_BYTES, SUBSCRIPTION_LIFE};

/// The content type of events.
pub(crate) const EVENTS: &str = "application/vnd.amazon.eventstream";

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All of it.
    Whole(Bytes),
    /// Frames of an event stream; it ends when the sender is dropped.
    Events(mpsc::Receiver<Bytes>),
}

/// A body on its way to the client, which has to take it.
pub(crate) struct Answering {
    reply: Reply,
    flight: Flight,
}

impl Answering {
    /// An answer of which the client has to take something soon; of events until their end.
    pub fn new(reply: Reply, flight: Flight, write: Duration) -> Self {
        match &reply {
            Reply::Whole(_) => flight.moved(),
            // Nothing may come for long. Their maker ends them, whether they are taken or not.
            Reply::Events(_) => flight.expect_within(SUBSCRIPTION_LIFE + IDLE_EVENT_EVERY + write),
        }
        Self { reply, flight }
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { reply, flight } = self.get_mut();
        match reply {
            Reply::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Reply::Whole(bytes) => {
                flight.moved();
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Reply::Events(events) => {
                events.poll_recv(context).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.reply, Reply::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reply {
            Reply::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Reply::Events(_) => SizeHint::default(),
        }
    }
}
