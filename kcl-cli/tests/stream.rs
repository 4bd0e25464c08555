//! `kcl stream` as a person types it, on an endpoint.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["serve", "--port", "0", "--unlimited", "--transition-ms", "0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.arg("stream").args(arguments).args(["--endpoint-url", &self.url]);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints when all is well.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_stream_is_made_listed_shown_and_deleted() {
    let server = Server::start();
    assert_eq!(server.prints(&["create", "orders", "--shards", "2"]), "orders: created\n");
    server.prints(&["create", "clicks"]);
    assert_eq!(server.prints(&["list"]), "clicks\norders\n");
    assert_eq!(server.prints(&["list", "--json"]).lines().next(), Some(r#"{"stream":"clicks"}"#));
    let described = server.prints(&["describe", "orders"]);
    assert!(described.starts_with("orders  ACTIVE  2 open of 2 shards"), "{described}");
    let described: serde_json::Value =
        serde_json::from_str(&server.prints(&["describe", "orders", "--json"])).unwrap();
    assert_eq!(described["shards"].as_array().unwrap().len(), 2);
    let kept = server.run(&["delete", "orders"]);
    assert!(!kept.status.success());
    assert!(String::from_utf8_lossy(&kept.stderr).contains("--yes"));
    server.prints(&["delete", "orders", "--yes"]);
    assert_eq!(server.prints(&["list"]), "clicks\n");
    let missing = server.run(&["describe", "orders"]);
    assert!(!missing.status.success());
    let says = String::from_utf8_lossy(&missing.stderr);
    assert!(says.contains("ResourceNotFoundException"), "{says}");
}

#[test]
fn every_command_prints_an_object_a_line_when_asked() {
    let server = Server::start();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let printed = server.prints(&[arguments, &["--json"]].concat());
        assert_eq!(printed.lines().count(), 1, "{printed}");
        serde_json::from_str(&printed).unwrap()
    };
    let done = |did: &str| serde_json::json!({"stream": "orders", did: true});
    assert_eq!(json(&["create", "orders"]), done("created"));
    let put = json(&["put", "orders", "x"]);
    assert_eq!(put["shard"], "shardId-000000000000");
    let number = put["sequence_number"].as_str().unwrap();
    assert!(number.len() == 56 && number.bytes().all(|digit| digit.is_ascii_digit()), "{put}");
    assert_eq!(json(&["split", "orders", "shardId-000000000000"]), done("split"));
    let merge = ["merge", "orders", "shardId-000000000001", "shardId-000000000002"];
    assert_eq!(json(&merge), done("merged"));
    assert_eq!(json(&["describe", "orders"])["open_shards"], 1);
    assert_eq!(json(&["delete", "orders", "--yes"]), done("deleted"));
}

const COMMANDS: [&str; 8] =
    ["create", "list", "describe", "put", "tail", "split", "merge", "delete"];

fn kcl(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kcl")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_names_every_command_and_what_each_takes() {
    let help = kcl(&["stream", "--help"]);
    for (command, takes) in COMMANDS.iter().zip([
        "<STREAM> --shards",
        "--endpoint-url",
        "<STREAM>",
        "<STREAM> [DATA] --key",
        "<STREAM> --from --count",
        "<STREAM> <SHARD> --at",
        "<STREAM> <SHARD> <ADJACENT>",
        "<STREAM> --yes",
    ]) {
        let line = help.lines().find(|line| line.trim_start().starts_with(command));
        let about = line.unwrap_or_else(|| panic!("no {command} in {help}")).trim_start();
        let about = about[command.len()..].trim().split(['.', ':', ',']).next().unwrap();
        let own = kcl(&["stream", command, "--help"]);
        assert!(!about.is_empty() && own.starts_with(about), "{about}: {own}");
        for word in takes.split(' ') {
            let mut lines = own.lines().skip(1).map(str::trim_start);
            assert!(lines.any(|line| line.starts_with(word)), "no {word} in {own}");
        }
    }
}

#[test]
fn the_example_of_the_help_works() {
    let server = Server::start();
    let help = kcl(&["stream", "--help"]);
    let (_, example) = help.split_once("Example").unwrap();
    let lines = example.lines().skip(1).map(str::trim);
    let script: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(script.len(), 4, "{example}");
    // The tail of the example goes on until somebody ends it.
    let script = format!("trap 'kill $!' EXIT\n{}\nread _", script.join("\n"));
    let script = script.replace("http://127.0.0.1:4566", &server.url);
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kcl")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env("PATH", path);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"] {
        shell.env_remove(name);
    }
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(shell.stdout.take().unwrap());
    let (told, lines) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || output.lines().try_for_each(|line| told.send(line.unwrap())));
    let (mut followed, mut receipts) = (std::collections::BTreeSet::new(), 0);
    while followed.len() < 10 || receipts < 10 {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("the example stands still");
        match line.split(' ').collect::<Vec<_>>()[..] {
            [_, number] if number.len() == 56 => receipts += 1,
            [shard, .., data] if shard.starts_with("shardId-") => {
                followed.insert(data.parse::<u32>().unwrap());
            }
            _ => assert_eq!(line, "orders: created"),
        }
    }
    assert_eq!(followed, (1..=10).collect());
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

#[test]
fn tail_follows_a_stream_through_a_split_and_a_merge() {
    let server = Server::start();
    server.prints(&["create", "orders"]);
    let mut tail = server.command(&["tail", "orders", "--from", "trim-horizon", "--count", "9"]);
    let tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let put = |numbers: &[&str]| {
        let mut put = server.command(&["put", "orders", "--key", "k"]);
        let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let text = numbers.iter().map(|number| format!("{number}\n")).collect::<String>();
        put.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(put.wait().unwrap().success());
    };
    put(&["1", "2", "3"]);
    server.prints(&["split", "orders", "shardId-000000000000"]);
    put(&["4", "5", "6"]);
    server.prints(&["merge", "orders", "shardId-000000000001", "shardId-000000000002"]);
    put(&["7", "8"]);
    server.prints(&["put", "orders", "9", "--key", "k"]);
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let data: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(data, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let shards: std::collections::BTreeSet<_> =
        text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    let json =
        server.prints(&["tail", "orders", "--from", "trim-horizon", "--count", "1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["data"], &json["partition_key"]), (&"1".into(), &"k".into()));
}

#[test]
fn lines_of_a_mebibyte_are_put_in_calls_that_the_service_takes() {
    let server = Server::start();
    server.prints(&["create", "orders"]);
    let put =
        server.command(&["put", "orders"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut put = put.unwrap();
    // Twelve of the largest, and after them more small ones than one call takes.
    let line = "x".repeat((1 << 20) - 10);
    let mut input = put.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..12 {
            writeln!(input, "{line}").unwrap();
        }
        for number in 0..1001 {
            writeln!(input, "{number}").unwrap();
        }
    });
    let output = put.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1013);
}

#[test]
fn a_line_is_put_while_the_pipe_it_came_through_stays_open() {
    let server = Server::start();
    server.prints(&["create", "orders"]);
    let mut put = server.command(&["put", "orders"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = put.stdin.take().unwrap();
    let (told, receipts) = std::sync::mpsc::sync_channel(8);
    let output = BufReader::new(put.stdout.take().unwrap());
    std::thread::spawn(move || output.lines().try_for_each(|line| told.send(line.unwrap())));
    for line in ["one", "two"] {
        writeln!(input, "{line}").unwrap();
        let receipt = receipts.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(receipt.starts_with("shardId-"), "{receipt}");
    }
    drop(input);
    assert!(put.wait().unwrap().success());
}

/// What bash offers for the last of these words.
fn completed(script: &str, words: &[&str]) -> Vec<String> {
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let ask = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}\n_kcl kcl '{last}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let script = kcl(&["completions", "bash"]);
    let offered = completed(&script, &["kcl", "stream", ""]);
    for command in COMMANDS {
        assert!(offered.iter().any(|word| word == command), "no {command} in {offered:?}");
    }
    assert_eq!(completed(&script, &["kcl", "stream", "sp"]), ["split"]);
    assert_eq!(completed(&script, &["kcl", "stream", "tail", "--f"]), ["--from"]);
    assert_eq!(completed(&script, &["kcl", "stream", "delete", "--y"]), ["--yes"]);
    assert_eq!(completed(&script, &["kcl", "serve", "--mem"]), ["--memory-mib"]);
}

#[test]
fn a_reader_that_has_enough_of_the_completions_is_no_failure() {
    let mut kcl = Command::new(env!("CARGO_BIN_EXE_kcl"));
    let kcl = kcl.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kcl = kcl.spawn().unwrap();
    drop(kcl.stdout.take());
    let output = kcl.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn help_has_what_stands_at_the_arguments() {
    for (command, said) in [
        ("drill", ["Exit codes: 0, all is well", "nothing is lost", "--rounds"]),
        ("serve", ["The first line of output is `listening on URL`", "orders:4", "a name alone"]),
        ("stream", ["made-up ones serve", "AWS_ENDPOINT_URL_KINESIS", "of anything that speaks"]),
        ("table", ["made-up ones serve", "accept-restored", "lease table on DynamoDB"]),
    ] {
        let help = kcl(&[command, "--help"]);
        for said in said {
            assert!(help.contains(said), "no {said:?} in {help}");
        }
        let short = kcl(&["--help"]);
        let line = short.lines().find(|line| line.trim_start().starts_with(command)).unwrap();
        assert!(line.len() <= 100 && help.starts_with(line.trim_start()[6..].trim()), "{line}");
    }
    assert!(kcl(&["table", "show", "--help"]).contains("AWS_ENDPOINT_URL_DYNAMODB"));
}

#[test]
fn zsh_and_fish_get_every_command_with_what_it_does() {
    let help = kcl(&["stream", "--help"]);
    for shell in ["zsh", "fish"] {
        let script = kcl(&["completions", shell]);
        for command in COMMANDS {
            let line = help.lines().find(|line| line.trim_start().starts_with(command)).unwrap();
            let about = line.trim_start()[command.len()..].trim().split([',', ':']).next().unwrap();
            let offers = |line: &str| match shell {
                "zsh" => line.starts_with(&format!("'{command}:{about}")),
                _ => {
                    line.contains("subcommand stream")
                        && line.contains(&format!("-a \"{command}\" -d '{about}"))
                }
            };
            assert!(script.lines().any(offers), "{shell}: no {command} ({about})");
        }
    }
}

#[test]
fn a_service_that_is_not_there_is_told_in_one_line() {
    for (url, why) in [("http://127.0.0.1:1", "refused"), ("nonsense", "scheme")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["stream", "list", "--endpoint-url", url]).stdin(Stdio::null());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.lines().count() == 1, "{told}");
        assert!(told.contains(why) && told.contains("--endpoint-url"), "{told}");
    }
}

#[test]
fn without_an_endpoint_or_credentials_one_line_says_what_to_give() {
    for (arguments, url) in [
        (&["stream", "list"][..], "--endpoint-url http://127.0.0.1:4566"),
        (&["table", "show", "app"], "--endpoint-url http://127.0.0.1:8000"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(arguments).args(["--region", "us-east-1"]).stdin(Stdio::null()).env_clear();
        let output = command.env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.lines().count() == 1, "{told}");
        assert!(told.contains(url) && told.contains("AWS_ENDPOINT_URL"), "{told}");
    }
}

#[test]
fn the_environment_names_another_service_its_own_name_first() {
    let server = Server::start();
    let list = |own: &str, all: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
        command.args(["stream", "list"]).stdin(Stdio::null()).env_clear();
        command.env("AWS_ENDPOINT_URL_KINESIS", own).env("AWS_ENDPOINT_URL", all);
        command.output().unwrap().status.success()
    };
    assert!(list(&server.url, "http://127.0.0.1:1"));
    assert!(list("", &server.url));
    assert!(!list("http://127.0.0.1:1", &server.url));
}
