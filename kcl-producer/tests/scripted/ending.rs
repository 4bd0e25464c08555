//! How a producer ends while callers hold puts that they no longer look at.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kcl_core::Clock;
use kcl_producer::{Delivery, NewRecord, NotAccepted, Order, Producer, ProducerOptions, Shutdown};

use crate::sink::{Answer, Sink, fates, options, start};

type Put<'a> = Pin<Box<dyn Future<Output = Result<Delivery, NotAccepted>> + 'a>>;

/// More than ever waited between callers and the producer's task.
const MANY: usize = 5_000;

/// Room for all of them, and for a few.
const ROOM: [usize; 2] = [16 << 20, 100_000];

/// Puts that are looked at once, in this order: those that are through, and those that wait.
fn begin(producer: &Producer, count: usize) -> (Vec<Delivery>, Vec<Put<'_>>) {
    let (mut through, mut waiting) = (Vec::new(), Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    for number in 0..count {
        let put = producer.put(format!("k{number}"), "x");
        // The budget of the test's task is not what holds them up.
        let mut put: Put<'_> = Box::pin(tokio::task::unconstrained(put));
        match put.as_mut().poll(&mut context) {
            Poll::Ready(delivery) => through.push(delivery.unwrap()),
            Poll::Pending => waiting.push(put),
        }
    }
    (through, waiting)
}

async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends")
}

fn any_order(memory_bytes: usize) -> ProducerOptions {
    ProducerOptions { order: Order::Any, memory_bytes, ..options() }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_comes_to_its_deadline_whatever_puts_were_left_half_way() {
    for (memory_bytes, count) in ROOM.into_iter().flat_map(|room| [(room, 1_025), (room, MANY)]) {
        let sink = Sink::new((0..8).map(|_| Answer::Hang));
        let producer = start(&sink, any_order(memory_bytes));
        let (through, waiting) = begin(&producer, count);
        let ended = within_a_minute(producer.shutdown(Duration::from_secs(10))).await;
        assert!(matches!(ended, Shutdown::DeadlineReached { unknown: 1.., .. }), "{ended:?}");
        assert_eq!(sink.clock.wall_millis(), 10_000, "the deadline");
        assert!(fates(through).await.iter().all(Result::is_err));
        for put in waiting {
            assert_eq!(within_a_minute(put).await.unwrap_err(), NotAccepted::Closed);
        }
        assert_eq!(producer.metrics().waiting_records, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_nothing_left_to_put_waits_for_no_put_that_was_left_half_way() {
    for (memory_bytes, count) in ROOM.into_iter().flat_map(|room| [(room, 1_025), (room, MANY)]) {
        let sink = Sink::new([]);
        let producer = start(&sink, any_order(memory_bytes));
        let (through, waiting) = begin(&producer, count);
        let ended = within_a_minute(producer.shutdown(Duration::from_secs(10))).await;
        assert_eq!((ended, sink.clock.wall_millis()), (Shutdown::Flushed, 0));
        assert!(fates(through).await.iter().all(Result::is_ok), "what was taken in is put");
        for put in waiting {
            assert_eq!(within_a_minute(put).await.unwrap_err(), NotAccepted::Closed);
        }
    }
}

/// The race is between threads that put, the task that takes what they put, and whoever closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_threads_put_while_it_is_flushed_and_shut_down_has_its_fate() {
    for _ in 0..20 {
        let producer = start(&Sink::new([]), any_order(16 << 20));
        let put = |thread: u32| {
            let producer = producer.clone();
            tokio::task::spawn_blocking(move || {
                let records = (0..2_000).map(|n| NewRecord::new(format!("{thread} {n}"), "x"));
                let put = records.map_while(|record| producer.try_put(record).ok());
                put.collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..4).map(put).collect();
        within_a_minute(producer.flush()).await;
        let ended = within_a_minute(producer.shutdown(Duration::from_secs(50))).await;
        assert_eq!(ended, Shutdown::Flushed);
        for deliveries in threads {
            for delivery in deliveries.await.unwrap() {
                assert!(within_a_minute(delivery).await.is_ok());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_was_taken_in_and_for_no_put_that_was_left_half_way() {
    for memory_bytes in ROOM {
        let sink = Sink::new([]);
        let producer = start(&sink, any_order(memory_bytes));
        let (through, waiting) = begin(&producer, MANY);
        within_a_minute(producer.flush()).await;
        assert_eq!(producer.metrics().put_records as usize, through.len());
        for put in waiting {
            let delivery = within_a_minute(put).await.unwrap();
            assert!(within_a_minute(delivery).await.is_ok());
        }
    }
}
