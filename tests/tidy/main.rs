//! Tidiness as a test: the rules of the code that a compiler does not know.

mod rules;

use std::path::{Path, PathBuf};

use rules::{Finding, arrows, source, text};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// Every file of the project with this ending, below this folder.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().map_or("", |name| name.to_str().unwrap_or(""));
        if path.is_dir() && name != ".git" && name != "target" {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn check(ending: &str, judge: impl Fn(&str, &str) -> Vec<Finding>) {
    let root = root();
    let mut found = Vec::new();
    files(&root, ending, &mut found);
    assert!(!found.is_empty(), "the project's files were not found below {}", root.display());
    let mut findings = Vec::new();
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        findings.extend(judge(&name, &text));
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn sources_keep_the_rules_of_the_house() {
    check(".rs", source);
}

#[test]
fn crates_keep_the_direction_of_the_arrows() {
    check("Cargo.toml", arrows);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    for ending in [
        ".rs",
        ".md",
        ".toml",
        "test",
        "bench",
        "lib",
        "run",
        "dynamodb-local",
        "coverage",
        "mutation",
        "drills",
        "stream",
        "bench-endpoint",
        "bench-producer",
        ".py",
    ] {
        check(ending, text);
    }
}

/// `scripts/test` runs this in a release build: in any other nothing wraps anyway.
#[test]
fn a_number_of_the_protocol_never_wraps_in_a_release_build() {
    let next = std::panic::catch_unwind(|| kcl_protocol::Fence(u64::MAX).next(1));
    assert!(next.is_err(), "{next:?}");
}
