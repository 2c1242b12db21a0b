//! A certificate for the demo: self-signed, made at start, its files deleted once the gateway has read them.

use std::fs::{DirBuilder, OpenOptions, remove_dir_all};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tidegate::gateway::config::CertificateFiles;

/// Dropping it removes the files.
pub struct SelfSigned {
    folder: PathBuf,
}

impl SelfSigned {
    /// An error is one sentence.
    pub fn new() -> Result<SelfSigned, String> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| format!("no certificate: {error}"))?;
        let random = getrandom::u64().map_err(|error| format!("no randomness from the kernel: {error}"))?;
        let folder = std::env::temp_dir().join(format!("tidegate-demo-{random:016x}"));
        let unwritten = |error| format!("no certificate in {}: {error}", folder.display());
        DirBuilder::new().mode(0o700).create(&folder).map_err(unwritten)?;
        // From here on a failure removes the folder.
        let own = SelfSigned { folder: folder.clone() };
        let files = own.files();
        write(&files.certificate, &made.cert.pem()).map_err(unwritten)?;
        write(&files.key, &made.signing_key.serialize_pem()).map_err(unwritten)?;
        Ok(own)
    }

    pub fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: self.folder.join("cert.pem"), key: self.folder.join("key.pem") }
    }
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        if let Err(error) = remove_dir_all(&self.folder) {
            log::warn!("{} stays behind: {error}", self.folder.display());
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_private_and_go_with_the_value() {
        let certificate = SelfSigned::new().unwrap();
        let files = certificate.files();
        assert!(std::fs::read_to_string(&files.certificate).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        drop(certificate);
        assert!(!files.key.exists());
    }
}
