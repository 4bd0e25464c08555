//! The flights job within the limits of the service.

use kcl_endpoint::{Endpoint, EndpointConfig};
use kcl_stream_kinesis::FanOut;

use crate::flights_job::{STREAM, ServedStream, run};

async fn served() -> Endpoint {
    let config =
        EndpointConfig { streams: vec![(STREAM.to_owned(), 4)], ..EndpointConfig::default() };
    Endpoint::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_counted_right_by_polling_within_the_limits_of_the_service() {
    let endpoint = served().await;
    run(ServedStream { url: endpoint.url(), fan_out: None }, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_counted_right_by_fan_out_within_the_limits_of_the_service() {
    let endpoint = served().await;
    let fan_out = Some(FanOut::register("flights"));
    run(ServedStream { url: endpoint.url(), fan_out }, 3).await;
}
