//! Hints between processes: a connection each, one frame, no answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_protocol::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::replay::Seen;
use super::wire::{Frame, LONGEST};
use super::{HintAddress, local};
use crate::clock::Clock;
use crate::limits::{HINT_CONNECTIONS, HINT_PATIENCE, HINTS_PER_SECOND};
use crate::registration::within;

/// Sends frames, each apart; never waits.
pub(crate) struct Sender {
    slots: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl Sender {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { slots: Arc::new(Semaphore::new(HINT_CONNECTIONS)), clock: Arc::clone(clock) }
    }

    pub fn send(&self, address: &str, frame: Vec<u8>) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let (address, clock) = (address.to_owned(), Arc::clone(&self.clock));
        tokio::spawn(async move {
            let _slot = slot;
            let sending = async {
                let mut stream = TcpStream::connect(&address).await?;
                stream.write_all(&frame).await?;
                stream.shutdown().await
            };
            match within(&*clock, HINT_PATIENCE, sending).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(address, %error, "a hint was not sent"),
                None => tracing::debug!(address, "a hint was not sent in time"),
            }
        });
    }
}

/// Takes hints for the workers of this process, until dropped.
pub(crate) struct Listener {
    /// Where others reach it.
    pub address: String,
    gate: Arc<Gate>,
    _accepting: AbortOnDropHandle<()>,
}

/// What every connection has to pass.
struct Gate {
    clock: Arc<dyn Clock>,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    /// The table's key, once it was read.
    key: Option<u128>,
    seen: Seen,
    /// Hints taken since.
    taken: u32,
    since: Moment,
}

impl Listener {
    /// Listens from now on; hints pass once the key is known.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(at: &HintAddress, clock: &Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind(at.bind).await?;
        let bound = listener.local_addr()?;
        let address = match &at.host {
            Some(host) => format!("{host}:{}", bound.port()),
            None => bound.to_string(),
        };
        let gate = Arc::new(Gate { clock: Arc::clone(clock), state: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&gate)));
        Ok(Self { address, gate, _accepting: AbortOnDropHandle::new(accepting) })
    }

    pub fn set_key(&self, key: u128) {
        self.gate.state.lock().unwrap_or_else(PoisonError::into_inner).key = Some(key);
    }
}

async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let slots = Arc::new(Semaphore::new(HINT_CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, as a rule: that passes.
            gate.clock.sleep(HINT_PATIENCE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let gate = Arc::clone(&gate);
        tokio::spawn(async move {
            let _slot = slot;
            let mut bytes = Vec::new();
            let mut limited = stream.take(LONGEST as u64);
            let reading = limited.read_to_end(&mut bytes);
            if let Some(Ok(_)) = within(&*gate.clock, HINT_PATIENCE, reading).await {
                gate.pass(&bytes);
            }
        });
    }
}

impl Gate {
    fn pass(&self, bytes: &[u8]) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(frame) = state.key.and_then(|key| Frame::open(bytes, key)) else { return };
        if !state.seen.is_new(&frame.from, frame.sequence) {
            return;
        }
        if now.since(state.since) >= Duration::from_secs(1) {
            (state.since, state.taken) = (now, 0);
        }
        if state.taken < HINTS_PER_SECOND {
            state.taken += 1;
            local::send(&frame.to, frame.hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hint, Hints, Inlet, Told};
    use super::*;
    use crate::clock::SystemClock;
    use kcl_protocol::{Fence, LeaseKey, WorkerId};

    const KEY: u128 = 42;

    async fn listen(clock: &Arc<dyn Clock>) -> Listener {
        let any_port = HintAddress::new("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&any_port, clock).await.unwrap();
        listener.set_key(KEY);
        listener
    }

    fn wake(fence: u64) -> Hint {
        Hint::Wake { lease: LeaseKey::new("shardId-000000000001"), fence: Fence(fence) }
    }

    async fn write(address: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        // Closed by the other side once it has read them.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    #[tokio::test]
    async fn a_hint_crosses_and_a_forged_or_repeated_one_does_not() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listener = listen(&clock).await;
        let to = WorkerId::new("tcp-receiver");
        let mut inlet = Inlet::open(&to, true);
        let frame = |sequence| Frame {
            from: WorkerId::new("tcp-sender"),
            to: to.clone(),
            sequence,
            hint: wake(sequence),
        };
        for bytes in [
            frame(1).seal(KEY),
            frame(1).seal(KEY),
            frame(2).seal(KEY + 1),
            vec![0; 2 * LONGEST],
            Vec::new(),
            frame(3).seal(KEY),
        ] {
            write(&listener.address, &bytes).await;
        }
        assert_eq!(inlet.next().await, Some(wake(1)));
        assert_eq!(inlet.next().await, Some(wake(3)));
    }

    #[tokio::test]
    async fn a_worker_elsewhere_is_told_over_tcp_and_nobody_counts_on_it() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listener = listen(&clock).await;
        // Reached through a second name, as if it ran in another process.
        let (here, there) = (WorkerId::new("tcp-here"), WorkerId::new("tcp-there"));
        let hints = Hints::new(true, &here, KEY, &clock);
        assert_eq!(hints.send(&there, Some(&listener.address), wake(1)), Told::Perhaps);
        let mut inlet = Inlet::open(&there, true);
        let second = hints.send(&there, None, wake(2));
        assert_eq!(second, Told::Surely, "in the same process it has arrived");
        let mut got = vec![inlet.next().await];
        if got != [Some(wake(2))] {
            got.push(inlet.next().await);
        }
        assert!(got.contains(&Some(wake(2))), "{got:?}");
        assert_eq!(
            Hints::new(false, &here, KEY, &clock).send(&there, None, wake(3)),
            Told::Perhaps
        );
    }

    #[tokio::test]
    async fn a_flood_costs_no_more_than_its_rate() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listener = listen(&clock).await;
        let to = WorkerId::new("tcp-flooded");
        let _inlet = Inlet::open(&to, true);
        for sequence in 1..=u64::from(3 * HINTS_PER_SECOND) {
            let frame =
                Frame { from: WorkerId::new("f"), to: to.clone(), sequence, hint: Hint::Inbox };
            listener.gate.pass(&frame.seal(KEY));
        }
        let state = listener.gate.state.lock().unwrap();
        assert!(state.taken <= HINTS_PER_SECOND);
    }
}
