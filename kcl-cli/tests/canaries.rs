//! What a served endpoint and its client tell when asked for everything: no payload, no secret, no
//! signature.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

const SECRET: &str = "canary-secret-of-a-key-0123456789";
const TOKEN: &str = "canary-session-token-0123456789";
const PAYLOAD: &str = "canary-payload-of-a-record";
const PARTITION_KEY: &str = "canary-partition-key";

fn kcl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
    command.stdin(Stdio::null()).env("RUST_LOG", "trace").env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "AKCANARY").env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_SESSION_TOKEN", TOKEN);
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL"] {
        command.env_remove(name);
    }
    command
}

/// All ways in which a text may be written in a log.
fn writings(text: &str) -> Vec<String> {
    use base64::Engine as _;
    let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    // As `Debug` has bytes. In base64 the last group depends on what follows.
    let bytes = text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let whole = text.len() / 3 * 3;
    let base64 = base64::engine::general_purpose::STANDARD.encode(&text[..whole]);
    vec![text.to_owned(), hex, bytes, base64]
}

#[test]
fn logs_at_trace_hold_no_payload_no_secret_and_no_signature() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.toml");
    let statement = "[[key.statement]]\nEffect = \"Allow\"\nAction = \"*\"\nResource = \"*\"";
    let text = format!(
        "[[key]]\nid = \"AKCANARY\"\nsecret = \"{SECRET}\"\nsession_token = \"{TOKEN}\"\n\
         {statement}"
    );
    std::fs::write(&keys, text).unwrap();
    let mut serve = kcl();
    serve.args(["serve", "--port", "0", "--transition-ms", "0", "--streams", "s:1", "--auth"]);
    serve.arg(&keys).arg("--data").arg(folder.path().join("data"));
    let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = serve.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut told = Vec::new();
        errors.read_to_end(&mut told).unwrap();
        String::from_utf8_lossy(&told).into_owned()
    });
    let mut line = String::new();
    BufReader::new(serve.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let mut told = String::new();
    let mut stream = |arguments: &[&str]| {
        let mut command = kcl();
        let output = command.arg("stream").args(arguments).args(["--endpoint-url", &url]).output();
        let output = output.unwrap();
        // Its own line tells the one who asked what was wrong with the request.
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let logged = errors.lines().filter(|line| !line.starts_with("kcl: "));
        told.extend(logged.flat_map(|line| [line, "\n"]));
        output.status.success()
    };
    assert!(stream(&["put", "s", PAYLOAD, "--key", PARTITION_KEY]));
    assert!(stream(&["tail", "s", "--from", "trim-horizon", "--count", "1"]));
    // Refusals have words of their own, with what was asked in them.
    assert!(!stream(&["put", "nowhere", PAYLOAD, "--key", PARTITION_KEY]));
    assert!(!stream(&["put", "s", PAYLOAD, "--key", &PARTITION_KEY.repeat(20)]));
    Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap();
    assert!(serve.wait().unwrap().success());
    let served = reader.join().unwrap();
    assert!(served.contains("PutRecords") && served.contains("status=400"), "{served}");
    for (who, told) in [("kcl serve", served), ("kcl stream", told)] {
        for canary in [SECRET, TOKEN, PAYLOAD, PARTITION_KEY] {
            for writing in writings(canary) {
                let found = told.lines().find(|line| line.contains(&writing));
                assert!(found.is_none(), "{who} tells {canary} as {writing}: {found:?}");
            }
        }
        let signature = told.lines().find(|line| line.contains("Signature="));
        assert!(signature.is_none(), "{who}: {signature:?}");
    }
}
