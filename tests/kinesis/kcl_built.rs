//! The `kcl` command as these tests need it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds it beside this program, with the same settings; where it is.
pub fn kcl() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let own = std::env::current_exe().unwrap();
        let folder = own.ancestors().nth(2).unwrap();
        let profile = match folder.file_name().unwrap().to_str() {
            Some("debug") => "dev",
            profile => profile.unwrap(),
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "kcl-cli", "--profile", profile])
            .arg("--target-dir")
            .arg(folder.parent().unwrap_or(Path::new("target")))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success());
        folder.join("kcl")
    };
    BUILT.get_or_init(build).clone()
}
