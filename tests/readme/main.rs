//! The README's code is a program that runs.

use std::path::Path;

#[test]
fn the_code_in_the_readme_is_the_quickstart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let program = std::fs::read_to_string(root.join("examples/src/bin/quickstart.rs")).unwrap();
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let program = program.split_once("\n\n").unwrap().1;
    assert_eq!(code.trim(), program.trim(), "examples/src/bin/quickstart.rs differs");
}
