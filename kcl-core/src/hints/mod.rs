//! Hints between workers: "look now" instead of "look at your next heartbeat".
//!
//! A hint is never the truth. The receiver reads the table, so a hint that is lost, repeated or
//! forged costs a read and no more.

mod local;
mod replay;
mod tcp;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kcl_protocol::{Fence, LeaseKey, WorkerId};

pub(crate) use local::Inlet;
pub(crate) use tcp::{Listener, Sender};
use wire::Frame;

use crate::clock::Clock;

/// What a worker should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This lease was handed to you at this fence.
    Wake {
        /// The lease.
        lease: LeaseKey,
        /// Its new fence.
        fence: Fence,
    },
    /// Your inbox has a new entry.
    Inbox,
    /// A worker was declared dead: its leases are to be taken.
    Fenced,
}

/// Where a worker listens for hints of other processes, over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintAddress {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The host under which others reach it, if that is not the address it listens on.
    pub host: Option<String>,
}

impl HintAddress {
    /// Listens on, and is reached under, this address; port 0 takes a free one.
    pub fn new(bind: SocketAddr) -> Self {
        Self { bind, host: None }
    }
    /// Is reached under this host name or address instead.
    #[must_use]
    pub fn reached_under(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }
}

/// Whether a hint has surely arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The worker runs in this process, and has it.
    Surely,
    /// It may come, or not.
    Perhaps,
}

/// Sends the hints of one registration.
pub(crate) struct Hints {
    is_on: bool,
    me: WorkerId,
    key: u128,
    sent: AtomicU64,
    sender: Sender,
}

impl Hints {
    pub fn new(is_on: bool, me: &WorkerId, key: u128, clock: &Arc<dyn Clock>) -> Self {
        let sender = Sender::new(clock);
        Self { is_on, me: me.clone(), key, sent: AtomicU64::new(0), sender }
    }

    /// Sends a hint to a worker of this process, or else to the address in its row.
    pub fn send(&self, to: &WorkerId, address: Option<&str>, hint: Hint) -> Told {
        if !self.is_on {
            return Told::Perhaps;
        }
        if local::send(to, hint.clone()) {
            return Told::Surely;
        }
        if let Some(address) = address {
            let sequence = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
            let frame = Frame { from: self.me.clone(), to: to.clone(), sequence, hint };
            self.sender.send(address, frame.seal(self.key));
        }
        Told::Perhaps
    }
}
