//! The report as a file: written whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A file under another name until it is whole: a run that fails leaves an older one as it was.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    file: File,
    /// `None` for a device or a pipe, which is written as it is.
    part: Option<PathBuf>,
}

impl JsonFile {
    /// Opens it before the work, so that a path that cannot be written is known by then.
    ///
    /// # Errors
    /// Names the path.
    pub fn create(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        // What a link points at is written; the link stays.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let kind = std::fs::metadata(path).map(|found| found.file_type());
        if kind.as_ref().is_ok_and(|kind| kind.is_dir()) {
            return Err(failed(ErrorKind::IsADirectory.into()));
        }
        let is_special = kind.is_ok_and(|kind| !kind.is_file()) || path.starts_with("/dev");
        if is_special {
            let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
            return Ok(Self { path: path.to_owned(), file, part: None });
        }
        let mut part = real.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(failed)?;
        Ok(Self { path: real, file, part: Some(part) })
    }

    /// Writes the report and gives the file its name.
    ///
    /// # Errors
    /// Names the path.
    pub fn finish(mut self, report: &impl Serialize) -> Result<(), String> {
        let failed =
            |path: &Path, error: std::io::Error| Err(format!("{}: {error}", path.display()));
        if let Err(error) = serde_json::to_writer_pretty(&self.file, report) {
            return failed(&self.path, error.into());
        }
        let Some(part) = self.part.take() else { return Ok(()) };
        std::fs::rename(part, &self.path).or_else(|error| failed(&self.path, error))
    }
}

impl Drop for JsonFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // What cannot be removed is left over; nobody takes it for a report.
            let _ = std::fs::remove_file(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_report_stays_until_the_new_one_is_whole() {
        let folder = std::env::temp_dir().join(format!("flights-json-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report.json");
        std::fs::write(&path, "old").unwrap();
        drop(JsonFile::create(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        let link = folder.join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        JsonFile::create(&link).unwrap().finish(&"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"new\"");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing is left over");
        assert!(JsonFile::create(&folder).unwrap_err().contains("directory"));
        let nowhere = folder.join("none").join("report.json");
        assert!(JsonFile::create(&nowhere).unwrap_err().contains("none/report.json"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        assert!(JsonFile::create(Path::new("/dev/null")).unwrap().part.is_none());
    }
}
