//! Writes `cert.pem` and `key.pem` for 127.0.0.1 and localhost into a folder, signed by nobody but
//! themselves: enough to try `kcl serve --tls-cert --tls-key` on one machine.

use std::error::Error;
use std::path::PathBuf;

use rcgen::{CertificateParams, IsCa, KeyPair};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: certificate FOLDER")?;
    let folder = PathBuf::from(folder);
    let mut params = CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned))?;
    // Python's strict checks want a certificate to say what it is, and whose key signed it.
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    std::fs::write(folder.join("cert.pem"), params.self_signed(&key)?.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
