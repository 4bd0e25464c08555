//! The rules, each on the text of one file.

/// What is wrong, and where.
pub type Finding = String;

/// Lines a file may have.
const FILE_LINES: usize = 500;
/// Lines a function may have.
const FUNCTION_LINES: usize = 70;
/// Columns a line may have.
const COLUMNS: usize = 100;

/// Words that nobody leaves behind. Put together here, or this file would break its own rule.
fn left_behind() -> [String; 5] {
    ["todo", "unimplemented"]
        .map(|name| format!("{name}!("))
        .into_iter()
        .chain(
            ["#[ign", "TO", "FIX"]
                .into_iter()
                .zip(["ore", "DO:", "ME:"])
                .map(|(a, b)| format!("{a}{b}")),
        )
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_default()
}

/// What the pure crate must not name.
const IMPURE: [&str; 7] =
    ["HashMap", "HashSet", "std::time::Instant", "SystemTime", "tokio", "rand::", "tracing"];

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
        if line.contains("select!") && line.trim_end().ends_with('{') && !is_rules {
            let next = lines.get(number + 1).map_or("", |next| next.trim());
            if !next.starts_with("biased;") {
                findings.push(format!("{at}: select! without biased; is not reproducible"));
            }
        }
        let code = line.split("//").next().unwrap_or("");
        if let Some(word) = IMPURE.iter().find(|word| is_pure && code.contains(**word)) {
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

/// Functions that are too long, by their indentation: rustfmt closes each where it opened.
fn long_functions(name: &str, lines: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let is_function = [
            "fn ",
            "pub fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) fn ",
            "pub(crate) async fn ",
            "pub(super) fn ",
            "const fn ",
            "pub const fn ",
        ]
        .iter()
        .any(|opening| code.starts_with(opening));
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
const PLUG_INS: [&str; 6] = [
    "kcl-lease-local",
    "kcl-lease-dynamo",
    "kcl-stream-local",
    "kcl-stream-kinesis",
    "kcl-producer",
    "kcl-core",
];

/// Crates that may name an AWS package.
const AWS: [&str; 6] = [
    "kcl-lease-dynamo",
    "kcl-stream-kinesis",
    "kcl-producer",
    "kcl-cli",
    "tests/dynamo",
    "tests/drill",
];

/// Judges a manifest.
pub fn arrows(name: &str, text: &str) -> Vec<Finding> {
    let Some(room) = name.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let mut findings = Vec::new();
    let mut is_normal = false;
    for line in text.lines() {
        if line.starts_with('[') {
            is_normal = line.starts_with("[dependencies");
        }
        let Some(package) = line.split(['=', '.', ' ']).next().filter(|_| is_normal) else {
            continue;
        };
        if package.starts_with("aws-") && !AWS.contains(&room) {
            findings.push(format!("{name}: {package}: no AWS crate in this room"));
        }
        let is_ours = package.starts_with("kcl-");
        let is_allowed = match room {
            "kcl-protocol" => false,
            "kcl-core" => package == "kcl-protocol",
            room if PLUG_INS.contains(&room) => ["kcl-protocol", "kcl-core"].contains(&package),
            _ => true,
        };
        if is_ours && !is_allowed {
            findings.push(format!("{name}: {package}: arrows point the other way"));
        }
    }
    findings
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
        let long = format!("fn f() {{\n{}}}\n", "    let a = 1;\n".repeat(71));
        assert_eq!(source("a.rs", &long).len(), 1);
    }

    #[test]
    fn an_arrow_against_the_direction_is_found() {
        let plug_in = "[dependencies]\nkcl-stream-local.workspace = true\n";
        assert_eq!(arrows("kcl-lease-local/Cargo.toml", plug_in).len(), 1);
        assert_eq!(arrows("examples/Cargo.toml", plug_in).len(), 0);
        let aws = "[dependencies]\naws-sdk-kinesis = \"1\"\n";
        assert_eq!(arrows("kcl-core/Cargo.toml", aws).len(), 1);
        let dev = "[dev-dependencies]\nkcl-stream-local.workspace = true\n";
        assert_eq!(arrows("kcl-lease-local/Cargo.toml", dev).len(), 0);
    }
}
