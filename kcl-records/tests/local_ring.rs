//! Key rings in a file or the environment.
#![cfg(feature = "encryption")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use kcl_records::LocalKeyRing;
use kcl_records::envelope::{DataKey, LocalKeyRingError};

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn a_ring_is_read_from_toml_and_from_json() {
    let toml = format!("primary = \"b\"\n[keys]\na = \"{SECRET}\"\nb = \"{SECRET}\"\n");
    let json =
        format!("{{\"primary\": \"b\", \"keys\": {{\"a\": \"{SECRET}\", \"b\": \"{SECRET}\"}}}}");
    for text in [toml, json] {
        let ring = LocalKeyRing::from_file(file(&text, 0o600).path()).unwrap();
        assert_eq!(format!("{ring:?}"), "LocalKeyRing(primary \"b\" of [\"a\", \"b\"])");
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let text = format!("primary = \"a\"\n[keys]\na = \"{SECRET}\"\n");
    for mode in [0o640, 0o604, 0o644, 0o610, 0o602] {
        let refused = LocalKeyRing::from_file(file(&text, mode).path()).unwrap_err();
        assert!(matches!(refused, LocalKeyRingError::OpenToOthers(found) if found == mode));
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    assert!(LocalKeyRing::from_file(file(&text, 0o400).path()).is_ok());
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let refused = LocalKeyRing::from_env("KCL_NO_SUCH_KEYS").unwrap_err().to_string();
    assert!(refused.contains("KCL_NO_SUCH_KEYS"), "{refused}");
}

/// Set for a run of this program as a child, as a variable has to be set before a program starts.
const VARIABLE: &str = "KCL_KEYS_OF_A_TEST";

#[test]
fn a_ring_is_read_from_a_variable() {
    if std::env::var_os(VARIABLE).is_some() {
        let ring = LocalKeyRing::from_env(VARIABLE).unwrap();
        println!("read: {ring:?}");
        return;
    }
    let text = format!("primary = \"a\"\n[keys]\na = \"{SECRET}\"\n");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_ring_is_read_from_a_variable", "--nocapture"])
        .env(VARIABLE, text)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("read: LocalKeyRing(primary \"a\" of [\"a\"])"), "{said}");
}

#[test]
fn what_is_wrong_with_a_ring_is_told_without_showing_its_keys() {
    for (text, told) in [
        (format!("primary = \"b\"\n[keys]\na = \"{SECRET}\""), "\"b\" is not among"),
        (format!("primary = \"a\"\n[keys]\na = \"{}\"", &SECRET[..40]), "\"a\" is not 32 bytes"),
        (format!("primary = \"a\"\n[keys]\na = \"*{SECRET}\""), "\"a\" is not 32 bytes"),
        (format!("primary = \"a\"\n[keys]\n\"\" = \"{SECRET}\""), "\"\" is not 32 bytes"),
        (format!("primary = \"a\"\n[keys]\na = [\"{SECRET}\"]"), "near line 3"),
        (format!("primary = \"a\"\nkeys = \"{SECRET}\""), "near line 2"),
        (format!("primary = \"a\"\n[keys]\na = {SECRET}"), "near line 3"),
        (format!("{{\"primary\": \"a\",\n \"keys\": \"{SECRET}\"}}"), "near line 2"),
        (format!("{SECRET} = 1"), "no key ring"),
        (String::new(), "no key ring"),
    ] {
        let error = LocalKeyRing::from_text(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(told), "{shown}");
        assert!(!shown.contains(&SECRET[..8]), "{shown}");
    }
}

#[test]
fn a_data_key_shows_nothing_and_has_32_bytes() {
    assert_eq!(format!("{:?}", DataKey::from_bytes(&[7; 32]).unwrap()), "DataKey");
    assert!([0, 31, 33].iter().all(|bytes| DataKey::from_bytes(&vec![7; *bytes]).is_none()));
}
