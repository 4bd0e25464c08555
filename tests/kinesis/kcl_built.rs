//! Programs of the workspace as these tests need them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The `kcl` command.
pub fn kcl() -> PathBuf {
    built(&["-p", "kcl-cli"], "kcl")
}

/// Builds a program beside this one, with the same settings; where it is.
pub fn built(words: &[&str], name: &str) -> PathBuf {
    // Held while it is built: others that need it wait.
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || {
        let own = std::env::current_exe().unwrap();
        let folder = own.ancestors().nth(2).unwrap();
        let profile = match folder.file_name().unwrap().to_str() {
            Some("debug") => "dev",
            profile => profile.unwrap(),
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--profile", profile])
            .args(words)
            .arg("--target-dir")
            .arg(folder.parent().unwrap_or(Path::new("target")))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success());
        folder.join(name)
    };
    known.entry(name.to_owned()).or_insert_with(build).clone()
}
