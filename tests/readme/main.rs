//! The README's code is code that runs.

use std::path::Path;

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The Rust blocks of the README, in order.
fn blocks() -> Vec<String> {
    let readme = read("README.md");
    let blocks = readme.split("```rust\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn the_first_code_in_the_readme_is_the_quickstart() {
    let program = read("examples/src/bin/quickstart.rs");
    let program = program.split_once("\n\n").unwrap().1;
    assert_eq!(blocks()[0], program.trim(), "examples/src/bin/quickstart.rs differs");
}

#[test]
fn the_test_in_the_readme_is_one_that_runs_against_dynamodb_local() {
    let test = read("tests/dynamo/own_processor.rs");
    let (_, shown) = test.split_at(test.find("\nstruct ").unwrap());
    assert_eq!(blocks()[1], shown.trim(), "tests/dynamo/own_processor.rs differs");
    assert_eq!(blocks().len(), 2, "code in the README that no test compares");
}

#[test]
fn the_code_about_the_simulation_is_its_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/simulation.md")).unwrap();
    let program = root.join("kcl-testkit/examples/own_processor.rs");
    let program = std::fs::read_to_string(program).unwrap();
    let code = page.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(program.contains(code), "kcl-testkit/examples/own_processor.rs differs");
}
