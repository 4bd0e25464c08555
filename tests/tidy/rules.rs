//! The rules, each on the text of one file.

/// What is wrong, and where.
pub type Finding = String;

/// Lines a file may have.
const FILE_LINES: usize = 500;
/// Lines a function may have.
const FUNCTION_LINES: usize = 70;
/// Columns a line may have.
const COLUMNS: usize = 100;

/// What nobody leaves behind. Put together here, or this file would break its own rule.
fn left_behind() -> [String; 5] {
    [("todo", "!("), ("unimplemented", "!("), ("#[ign", "ore"), ("TO", "DO"), ("FIX", "ME")]
        .map(|(a, b)| format!("{a}{b}"))
}

/// Folders of somebody's own machine.
fn machine_paths() -> [String; 4] {
    ["work", "home", "root", "Users"].map(|folder| format!("/{folder}/"))
}

/// What the pure crate must not name.
const IMPURE: [&str; 7] =
    ["HashMap", "HashSet", "Instant", "SystemTime", "tokio", "rand", "tracing"];

/// The words of a line of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Judges any text of the project.
pub fn text(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut begins = machine_paths().into_iter().filter(|path| {
            line.match_indices(path.as_str()).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*".contains(c))
            })
        });
        if let Some(path) = begins.next() {
            findings.push(format!("{name}:{}: {path} is a path of one machine", number + 1));
        }
    }
    findings
}

/// Judges a source file.
pub fn source(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_LINES {
        findings.push(format!("{name}: {} lines; which rooms does it want?", lines.len()));
    }
    let is_rules = name.ends_with("tidy/rules.rs");
    let is_pure = name.starts_with("kcl-protocol/src");
    for (number, line) in lines.iter().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if line.chars().count() > COLUMNS {
            findings.push(format!("{at}: longer than {COLUMNS} columns"));
        }
        if let Some((_, opened)) = line.split_once("select!").filter(|_| !is_rules)
            && let Some(opened) = opened.trim_start().strip_prefix(['{', '('])
        {
            let next = lines.get(number + 1).map_or("", |next| next.trim());
            let first = if opened.trim().is_empty() { next } else { opened.trim() };
            if !first.starts_with("biased;") {
                findings.push(format!("{at}: select! without biased; is not reproducible"));
            }
        }
        let code = line.split("//").next().unwrap_or("");
        if let Some(word) = words(code).find(|word| is_pure && IMPURE.contains(word)) {
            findings.push(format!("{at}: {word} in the pure crate"));
        }
        let is_unbounded = ["unbounded_", "mpsc::channel()"].iter().any(|word| code.contains(word));
        if is_unbounded && !is_rules {
            findings.push(format!("{at}: every queue is bounded (Q2)"));
        }
        if let Some(word) = left_behind().iter().find(|word| line.contains(word.as_str())) {
            findings.push(format!("{at}: {word} was left behind"));
        }
    }
    findings.extend(long_functions(name, &lines));
    findings
}

/// Does this line open a function, whatever stands before its `fn`?
fn opens_function(code: &str) -> bool {
    let code = match code.strip_prefix("pub(") {
        Some(rest) => rest.split_once(')').map_or("", |(_, rest)| rest.trim_start()),
        None => code,
    };
    let mut words = code.split(' ').skip_while(|word| {
        ["pub", "const", "async", "unsafe", "extern", "\"C\"", "default"].contains(word)
    });
    words.next() == Some("fn")
}

/// Functions that are too long, by their indentation: rustfmt closes each where it opened.
fn long_functions(name: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let is_function = opens_function(code);
        if !is_function {
            continue;
        }
        let closes = |line: &&str| line.starts_with(&format!("{}}}", " ".repeat(indent)));
        let length = lines[start..].iter().position(closes).unwrap_or(0);
        if length > FUNCTION_LINES {
            findings.push(format!("{name}:{}: a function of {length} lines", start + 1));
        }
    }
    findings
}

/// Crates that plug into the core: none of them may know another.
const PLUG_INS: [&str; 8] = [
    "kcl-records",
    "kcl-lease-local",
    "kcl-lease-dynamo",
    "kcl-stream-local",
    "kcl-stream-disk",
    "kcl-stream-kinesis",
    "kcl-producer",
    "kcl-core",
];

/// Crates that may name an AWS package only as an option: the first program builds none.
const AWS_IF_ASKED: [&str; 3] = ["examples", "kcl-records", "kcl-producer"];

/// Crates that may name an AWS package.
const AWS: [&str; 7] = [
    "tests/records",
    "kcl-drill",
    "kcl-lease-dynamo",
    "kcl-stream-kinesis",
    "kcl-cli",
    "tests/dynamo",
    "tests/kinesis",
];

/// Judges a manifest.
pub fn arrows(name: &str, text: &str) -> Vec<Finding> {
    let Some(room) = name.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{name}: not a manifest: {error}")],
    };
    let mut findings = Vec::new();
    for (package, is_optional) in dependencies(&manifest) {
        let may = AWS.contains(&room) || (is_optional && AWS_IF_ASKED.contains(&room));
        if package.starts_with("aws-") && !may {
            findings.push(format!("{name}: {package}: no AWS crate in this room"));
        }
        let is_ours = package.starts_with("kcl-");
        let is_allowed = match room {
            "kcl-protocol" => false,
            "kcl-core" => package == "kcl-protocol",
            "kcl-producer" => ["kcl-core", "kcl-records"].contains(&package.as_str()),
            // The engine's own producer is the one for every stream.
            "kcl-stream-local" => ["kcl-core", "kcl-producer"].contains(&package.as_str()),
            // It keeps the streams of that engine, and no other's.
            "kcl-stream-disk" => ["kcl-core", "kcl-stream-local"].contains(&package.as_str()),
            room if PLUG_INS.contains(&room) => {
                ["kcl-protocol", "kcl-core"].contains(&package.as_str())
            }
            _ => true,
        };
        if is_ours && !is_allowed {
            findings.push(format!("{name}: {package}: arrows point the other way"));
        }
    }
    findings.extend(breakable(room, text));
    findings.extend(for_tests_alone(room, &manifest));
    findings
}

/// Crates of tests need what they need in tests alone: a dependency of theirs for use would turn
/// its features on, breakable rules too, in every program of a build of the whole workspace.
fn for_tests_alone(room: &str, manifest: &toml::Table) -> Vec<Finding> {
    if room != "tests" && !room.starts_with("tests/") {
        return Vec::new();
    }
    let found = dependencies(manifest).into_iter();
    found.map(|(package, _)| format!("{room}: {package}: belongs in dev-dependencies")).collect()
}

/// The only lines of manifests that may name the feature with which rules can be broken.
const BREAKABLE: [(&str, &str); 3] = [
    ("kcl-protocol", "mutants = []"),
    ("kcl-core", "mutants = [\"kcl-protocol/mutants\"]"),
    ("kcl-testkit", "model = [\"dep:stateright\", \"kcl-core/mutants\"]"),
];

/// The only default features of a crate that has it.
const BY_DEFAULT: (&str, &str) = ("kcl-testkit", "default = [\"sim\"]");

/// Rules can be broken in tests alone: no default feature and no dependency asks for it.
fn breakable(room: &str, text: &str) -> Vec<Finding> {
    let is_bad = |line: &&str| {
        let names = line.contains("mutants") && !line.starts_with('#');
        let of_testkit = room == "kcl-testkit" || line.contains("kcl-testkit");
        let asks = room != "tests" && of_testkit && line.contains("\"model\"");
        let has_it = BREAKABLE.iter().any(|it| it.0 == room);
        let by_default = line.starts_with("default ") && has_it && (room, *line) != BY_DEFAULT;
        (names && !BREAKABLE.contains(&(room, line))) || asks || by_default
    };
    let bad = text.lines().map(str::trim).filter(is_bad);
    bad.map(|line| format!("{room}: {line}: only tests may break rules")).collect()
}

/// The packages a crate needs when it is built for use, for any target, by their own names.
fn dependencies(manifest: &toml::Table) -> Vec<(String, bool)> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let targets = targets.into_iter().flat_map(|targets| targets.values());
    let places = targets.filter_map(|target| target.as_table()).chain([manifest]);
    let mut found = Vec::new();
    for place in places {
        for kind in ["dependencies", "build-dependencies"] {
            let table = place.get(kind).and_then(|table| table.as_table());
            for (name, value) in table.into_iter().flatten() {
                let renamed = value.get("package").and_then(|package| package.as_str());
                let optional = value.get("optional").and_then(|optional| optional.as_bool());
                found.push((renamed.unwrap_or(name).to_owned(), optional.unwrap_or(false)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_fail() {
        let select = "fn f() {\n    tokio::select! {\n        a => {}\n    }\n}\n";
        assert_eq!(source("a.rs", select).len(), 1);
        let biased = select.replace("select! {", "select! {\n        biased;");
        assert_eq!(source("a.rs", &biased), Vec::<Finding>::new());
        assert_eq!(source("a.rs", &"x".repeat(101)).len(), 1);
        assert_eq!(source("a.rs", &"\n".repeat(501)).len(), 1);
        assert_eq!(source("kcl-protocol/src/a.rs", "use std::collections::HashMap;").len(), 1);
        assert_eq!(source("kcl-core/src/a.rs", "use std::collections::HashMap;").len(), 0);
        assert_eq!(source("a.rs", &format!("{})", left_behind()[0])).len(), 1);
        assert_eq!(source("a.rs", "let (a, b) = mpsc::channel();").len(), 1);
        assert_eq!(source("a.rs", "let (a, b) = unbounded_channel();").len(), 1);
        for one_line in ["tokio::select! { a => {} }", "select! {", "select!(a => {}"] {
            assert_eq!(source("a.rs", one_line).len(), 1, "{one_line}");
        }
        assert_eq!(source("a.rs", "select! { biased; a => {} }").len(), 0);
        assert_eq!(source("kcl-protocol/src/a.rs", "use std::time::{Duration, Instant};").len(), 1);
        assert_eq!(source("a.rs", &format!("// {} later", left_behind()[3])).len(), 1);
        assert_eq!(text("a.md", &format!("see {}x", machine_paths()[0])).len(), 1);
        assert_eq!(text("a.md", &format!("see https://a.b{}x", machine_paths()[0])).len(), 0);
        for opening in ["fn a", "pub(in a) async fn a", "pub const unsafe fn a", "async fn a"] {
            assert!(opens_function(opening), "{opening}");
        }
        let long = format!("fn f() {{\n{}}}\n", "    let a = 1;\n".repeat(71));
        assert_eq!(source("a.rs", &long).len(), 1);
    }

    #[test]
    fn rules_that_can_be_broken_outside_of_tests_are_found() {
        for (room, manifest) in [
            ("examples", "[dependencies]\nkcl-core = { path = \"a\", features = [\"mutants\"] }\n"),
            ("kcl-core", "[features]\ndefault = [\"mutants\"]\nmutants = []\n"),
            ("kcl-core", "[features]\ndefault = []\nmutants = []\n"),
            ("kcl-lease-local", "[features]\nchaos = [\"kcl-core/mutants\"]\n"),
            ("kcl-testkit", "[features]\ndefault = [\"sim\"]\nsim = [\"model\"]\n"),
        ] {
            assert!(!arrows(&format!("{room}/Cargo.toml"), manifest).is_empty(), "{manifest}");
        }
        let own = "[features]\n# Has mutants.\nmutants = [\"kcl-protocol/mutants\"]\n";
        assert_eq!(arrows("kcl-core/Cargo.toml", own), Vec::<Finding>::new());
    }

    #[test]
    fn a_crate_of_tests_that_needs_something_outside_of_tests_is_found() {
        let model = "kcl-testkit = { workspace = true, features = [\"model\"] }\n";
        for room in ["tests", "tests/records"] {
            for table in ["dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"] {
                let manifest = format!("[{table}]\nkcl-core.workspace = true\n");
                let found = arrows(&format!("{room}/Cargo.toml"), &manifest);
                assert_eq!(found.len(), 1, "{room}: {manifest}");
            }
        }
        let found = |table| arrows("tests/Cargo.toml", &format!("[{table}]\n{model}"));
        assert_eq!(found("dependencies").len(), 1);
        assert_eq!(found("dev-dependencies"), Vec::<Finding>::new());
        let other = arrows("tests/dynamo/Cargo.toml", &format!("[dev-dependencies]\n{model}"));
        assert_eq!(other.len(), 1, "the model is for one crate");
    }

    #[test]
    fn an_arrow_against_the_direction_is_found() {
        let plug_in = "[dependencies]\nkcl-stream-local.workspace = true\n";
        assert_eq!(arrows("kcl-lease-local/Cargo.toml", plug_in).len(), 1);
        assert_eq!(arrows("examples/Cargo.toml", plug_in).len(), 0);
        assert_eq!(arrows("kcl-stream-disk/Cargo.toml", plug_in).len(), 0);
        let other = "[dependencies]\nkcl-lease-local.workspace = true\n";
        assert_eq!(arrows("kcl-stream-disk/Cargo.toml", other).len(), 1);
        let aws = "[dependencies]\naws-sdk-kinesis = \"1\"\n";
        assert_eq!(arrows("kcl-core/Cargo.toml", aws).len(), 1);
        let optional = "[dependencies]\naws-sdk-kinesis = { version = \"1\", optional = true }\n";
        let in_examples = [aws, optional].map(|text| arrows("examples/Cargo.toml", text).len());
        assert_eq!(in_examples, [1, 0]);
        for aws in [
            "[dependencies.aws-sdk-kinesis]\nversion = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\naws-sdk-kinesis = \"1\"\n",
            "[dependencies]\nk = { package = \"aws-sdk-kinesis\", version = \"1\" }\n",
        ] {
            assert_eq!(arrows("kcl-core/Cargo.toml", aws).len(), 1, "{aws}");
        }
        assert_eq!(arrows("kcl-core/Cargo.toml", "[dependencies").len(), 1);
        let dev = "[dev-dependencies]\nkcl-stream-local.workspace = true\n";
        assert_eq!(arrows("kcl-lease-local/Cargo.toml", dev).len(), 0);
    }
}
