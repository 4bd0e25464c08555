//! TLS and keys at the door.

use std::net::SocketAddr;
use std::sync::Arc;

use kcl_endpoint::{AccessKeys, Endpoint, EndpointConfig, StartError, TlsFiles};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const KEYS: &str = "[[key]]\nid = \"AK\"\nsecret = \"0123456789abcdef\"";

struct Made {
    _folder: tempfile::TempDir,
    files: TlsFiles,
    roots: RootCertStore,
}

fn certificate() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificates: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificates, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Made { _folder: folder, files, roots }
}

fn everywhere() -> SocketAddr {
    "0.0.0.0:0".parse().unwrap()
}

#[tokio::test]
async fn other_machines_are_let_in_with_keys_and_tls_only() {
    let made = certificate();
    let auth = Some(AccessKeys::from_toml(KEYS).unwrap());
    let tls = Some(made.files);
    for (auth, tls) in [(None, None), (auth.clone(), None), (None, tls.clone())] {
        let config = EndpointConfig { bind: everywhere(), auth, tls, ..EndpointConfig::default() };
        let refused = Endpoint::start(config).await;
        assert!(matches!(refused, Err(StartError::NotLoopback(_))));
    }
    let config = EndpointConfig { bind: everywhere(), auth, tls, ..EndpointConfig::default() };
    assert!(Endpoint::start(config).await.unwrap().url().starts_with("https://"));
}

#[tokio::test]
async fn files_for_tls_that_are_wrong_are_named() {
    let made = certificate();
    let nowhere = made.files.key.with_file_name("nowhere.pem");
    let none = TlsFiles { certificates: nowhere.clone(), ..made.files.clone() };
    let swapped = TlsFiles { certificates: made.files.key.clone(), key: nowhere };
    for (files, name) in [(none, "nowhere.pem"), (swapped, "key.pem")] {
        let config = EndpointConfig { tls: Some(files), ..EndpointConfig::default() };
        let error = Endpoint::start(config).await.err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[tokio::test]
async fn an_unsigned_request_over_tls_is_refused_by_name() {
    let made = certificate();
    let config = EndpointConfig {
        auth: Some(AccessKeys::from_toml(KEYS).unwrap()),
        tls: Some(made.files),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).await.unwrap();
    let address = endpoint.url().strip_prefix("https://").unwrap().to_owned();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(made.roots).with_no_client_auth();
    let stream = TcpStream::connect(&address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Kinesis_20131202.ListStreams\
                   \r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\n\
                   Connection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may come without a farewell of TLS.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
    // Plain HTTP is not answered there.
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}
