//! The key ring in KMS.

use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use kcl_core::{PartitionKey, SystemClock};
use kcl_records::envelope::{KeyRing, KeyRingError, KmsKeyRing, OpenError};
use kcl_records::{Opener, Sealer};

fn client(url: &str) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(aws_sdk_kms::config::retry::RetryConfig::disabled())
        .endpoint_url(url);
    Client::from_conf(config.build())
}

async fn new_key(client: &Client) -> String {
    let made = client.create_key().send().await.expect("a key is made");
    made.key_metadata.and_then(|key| key.arn).expect("a key has an ARN")
}

fn sealer(ring: &Arc<KmsKeyRing>) -> Sealer {
    Sealer::new(Arc::clone(ring) as Arc<dyn KeyRing>, "orders", Arc::new(SystemClock))
}

fn opener(ring: &Arc<KmsKeyRing>, stream: &str) -> Opener {
    Opener::new(Arc::clone(ring) as Arc<dyn KeyRing>, stream, Arc::new(SystemClock))
}

/// Panics with the fact that does not hold.
pub async fn check(url: &str) {
    let client = client(url);
    let (first, second) = (new_key(&client).await, new_key(&client).await);
    let one = Arc::new(KmsKeyRing::new(client.clone(), &first));
    let two = Arc::new(KmsKeyRing::new(client.clone(), &second).also_opens(&first));
    let key = PartitionKey::from("order-1");

    let old = sealer(&one).seal(&key, b"two apples").await.expect("it is sealed");
    let new = sealer(&two).seal(&key, b"three pears").await.expect("it is sealed");
    let both = opener(&two, "orders");
    assert_eq!(both.open(&key, &old).await.as_deref(), Ok(&b"two apples"[..]));
    assert_eq!(both.open(&key, &new).await.as_deref(), Ok(&b"three pears"[..]));
    println!("a ring opens what its former primary key sealed");

    let untrusted = opener(&one, "orders").open(&key, &new).await;
    assert_eq!(untrusted, Err(OpenError::Ring(KeyRingError::UnknownKey(second))));
    println!("a key that is not on the list is not used");

    let moved = opener(&one, "refunds").open(&key, &old).await;
    assert!(matches!(moved, Err(OpenError::Ring(KeyRingError::Refused(_)))), "{moved:?}");
    println!("a data key is bound to its stream");

    let mut changed = old.to_vec();
    let inside_the_wrapped_key = 4 + 3 + first.len() + 2 + 60;
    changed[inside_the_wrapped_key] ^= 1;
    let changed = opener(&one, "orders").open(&key, &changed.into()).await;
    assert!(changed.as_ref().is_err_and(|error| !error.is_transient()), "{changed:?}");
    println!("a changed data key is refused");

    for wrapped in [0_u16, 7_000] {
        let start = 4 + 3 + first.len();
        let mut forged = old[..start].to_vec();
        forged.extend(wrapped.to_be_bytes());
        forged.extend(vec![7; usize::from(wrapped) + 200]);
        let forged = opener(&one, "orders").open(&key, &forged.into()).await;
        assert!(matches!(forged, Err(OpenError::Ring(KeyRingError::Refused(_)))), "{forged:?}");
    }
    println!("no data key of a length that KMS does not make is waited for");

    let short = client.generate_data_key().key_id(&first).number_of_bytes(16);
    let short = short.encryption_context("kcl:stream", "orders").send().await.expect("it is made");
    let short = short.ciphertext_blob.expect("it is wrapped").into_inner();
    let short = one.unwrap(&first, &short, "orders").await.map(drop);
    assert!(matches!(short, Err(KeyRingError::Refused(_))), "{short:?}");
    println!("a data key of another length is refused");

    let nobody = Arc::new(KmsKeyRing::new(self::client("http://127.0.0.1:9"), &first));
    let away = opener(&nobody, "orders").open(&key, &old).await;
    assert!(away.as_ref().is_err_and(OpenError::is_transient), "{away:?}");
    println!("a KMS that cannot be reached is waited for");
}
