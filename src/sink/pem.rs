//! Certificates as PEM files, each once (`--certificates DIR`).

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::x509::{Certificate, Sha256};

use super::{About, Event, Sink, SinkError, create_options};

/// Characters of a line of base64 (RFC 7468 section 2).
const LINE: usize = 64;

/// Certificates that are remembered as written; beyond, the folder itself tells.
const REMEMBERED: usize = 1 << 20;

/// A folder of PEM files, named after the SHA-256 of the certificate: nothing that a stranger wrote is in a file name.
#[derive(Debug)]
pub struct PemFolder {
    folder: PathBuf,
    written: HashSet<Sha256>,
}

impl PemFolder {
    /// Uses `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`SinkError::Create`] when it cannot be made.
    pub fn create(folder: &Path) -> Result<Self, SinkError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| SinkError::Create { path: folder.display().to_string(), source })?;
        Ok(Self { folder: folder.to_owned(), written: HashSet::new() })
    }

    /// Writes the certificate unless it was written before; a file that exists already is left alone, unless it is the
    /// beginning of what it should be: a full disk or a power cut may have left that.
    ///
    /// # Errors
    /// [`SinkError::Create`] or [`SinkError::Write`].
    pub fn keep(&mut self, certificate: &Certificate) -> Result<(), SinkError> {
        if self.written.contains(&certificate.sha256) {
            return Ok(());
        }
        let path = self.folder.join(format!("{}.pem", certificate.sha256.to_string().to_ascii_lowercase()));
        let text = pem(&certificate.der);
        if !path.symlink_metadata().is_ok_and(|about| !is_torn(&path, (&about, text.as_bytes()))) {
            write_whole(&path, text.as_bytes())?;
        }
        if self.written.len() < REMEMBERED {
            self.written.insert(certificate.sha256);
        }
        Ok(())
    }
}

impl Sink for PemFolder {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        match event.about {
            About::Certificate(view) => self.keep(view.certificate),
            About::Handshake(_) | About::Alert(_) | About::Stats(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Whether a file holds only the beginning of `text`.
fn is_torn(path: &Path, (about, text): (&Metadata, &[u8])) -> bool {
    let is_shorter = usize::try_from(about.len()).is_ok_and(|length| length < text.len());
    about.is_file()
        && is_shorter
        && std::fs::read(path).is_ok_and(|old| old.len() < text.len() && text.starts_with(&old))
}

/// Makes a file that is there as a whole or not at all.
fn write_whole(path: &Path, text: &[u8]) -> Result<(), SinkError> {
    let part = path.with_extension("pem.part");
    let failed = |source| SinkError::Create { path: path.display().to_string(), source };
    // Whatever has this name is left of a run that was killed.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = create_options().create_new(true).open(&part).map_err(failed)?;
    if let Err(error) = file.write_all(text) {
        // It is in nobody's way, and the next run takes it away.
        let _ = std::fs::remove_file(&part);
        return Err(error.into());
    }
    std::fs::rename(&part, path).map_err(failed)
}

/// The certificate in PEM (RFC 7468 section 5).
pub fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE + 64);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while let Some((line, tail)) = rest.split_at_checked(LINE.min(rest.len())).filter(|(line, _)| !line.is_empty()) {
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_64_characters() {
        for length in [0, 1, 47, 48, 49, 96, 1_000] {
            let der = vec![0x30; length];
            let text = pem(&der);
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
            assert!(lines.iter().rev().skip(1).all(|line| line.len() == 64));
            assert_eq!(STANDARD.decode(lines.concat()).unwrap(), der);
        }
    }

    #[test]
    fn a_torn_file_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate { der: vec![7; 100].into(), sha256: Sha256([1; 32]), ..Certificate::default() };
        let path = folder.path().join(format!("{}.pem", "01".repeat(32)));
        let whole = pem(&certificate.der);
        for length in (0..=whole.len()).chain([whole.len() + 1]) {
            let old = format!("{whole}x");
            std::fs::write(&path, old.get(..length).unwrap()).unwrap();
            // One of a run that was killed is in nobody's way.
            std::fs::write(path.with_extension("pem.part"), "-----BEG").unwrap();
            PemFolder::create(folder.path()).unwrap().keep(&certificate).unwrap();
            let expected = if length <= whole.len() { &whole } else { &old };
            assert_eq!(&std::fs::read_to_string(&path).unwrap(), expected, "{length}");
        }
        std::fs::write(&path, "-----BEGIN something else").unwrap();
        PemFolder::create(folder.path()).unwrap().keep(&certificate).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "-----BEGIN something else");
        std::fs::remove_file(&path).unwrap();
        PemFolder::create(folder.path()).unwrap().keep(&certificate).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn each_certificate_once_and_never_over_a_file() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let mut pems = PemFolder::create(&folder).unwrap();
        let certificate =
            Certificate { der: vec![1, 2, 3].into(), sha256: Sha256([0xab; 32]), ..Certificate::default() };
        pems.keep(&certificate).unwrap();
        let path = folder.join(format!("{}.pem", "ab".repeat(32)));
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
        );
        std::fs::write(&path, "mine").unwrap();
        pems.keep(&certificate).unwrap();
        PemFolder::create(&folder).unwrap().keep(&certificate).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
}
