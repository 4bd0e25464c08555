//! What a client may take of the endpoint's time and memory.

use std::time::Duration;

use crate::limits::{
    ANSWERS_BYTES, BODIES_BYTES, BODY_TIMEOUT, CONNECTIONS, HANDSHAKE_TIMEOUT, HEADER_TIMEOUT,
    IDLE_TIMEOUT, REQUESTS_PER_CONNECTION, WRITE_TIMEOUT,
};

/// How long clients may take, and what all of them together may hold. The defaults are in
/// [`crate::limits`]; a connection beyond one of the times is ended, at most a quarter of the
/// shortest of them later. None may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For the handshake of TLS.
    pub handshake: Duration,
    /// For the head of a request: the first one counts from the beginning of the connection.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// Until the client takes more of an answer.
    pub write: Duration,
    /// Without a request under way.
    pub idle: Duration,
    /// Bytes of the bodies of all requests under way. Above that requests are refused, to be
    /// tried again.
    pub bodies_bytes: usize,
    /// Bytes of the answers to GetRecords that their clients have not taken yet. Above that reads
    /// are refused, to be tried again.
    pub answers_bytes: usize,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection, subscriptions included.
    pub requests: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE_TIMEOUT,
            head: HEADER_TIMEOUT,
            body: BODY_TIMEOUT,
            write: WRITE_TIMEOUT,
            idle: IDLE_TIMEOUT,
            bodies_bytes: BODIES_BYTES,
            answers_bytes: ANSWERS_BYTES,
            connections: CONNECTIONS,
            requests: REQUESTS_PER_CONNECTION,
        }
    }
}

impl Bounds {
    /// The name of the first that is 0, and so leaves clients nothing.
    pub(crate) fn first_zero(&self) -> Option<&'static str> {
        let Self { handshake, head, body, write, idle, .. } = *self;
        let Self { bodies_bytes, answers_bytes, connections, requests, .. } = *self;
        let amounts = [
            ("handshake", handshake.as_nanos()),
            ("head", head.as_nanos()),
            ("body", body.as_nanos()),
            ("write", write.as_nanos()),
            ("idle", idle.as_nanos()),
            ("bodies_bytes", bodies_bytes as u128),
            ("answers_bytes", answers_bytes as u128),
            ("connections", connections as u128),
            ("requests", requests.into()),
        ];
        amounts.into_iter().find(|(_, amount)| *amount == 0).map(|(name, _)| name)
    }
}
