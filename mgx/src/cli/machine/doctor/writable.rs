//! The data directory: whether the platform can write into it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{Access, access};

use super::Finding;

/// Writes a small file into the data directory, and removes it; if the directory does not exist, looks whether it can be
/// made. Nothing, if all is well.
pub(super) fn look(data: &Path) -> Option<Finding> {
    let there = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let tried = if there == data {
        probe(data)
    } else {
        access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
    };
    tried.err().map(|error| {
        let what = if there == data {
            format!("cannot write into {}: {error}", data.display())
        } else {
            format!("cannot make {}: {}: {error}", data.display(), there.display())
        };
        Finding::fail("data", what, remedy(error.kind(), there))
    })
}

/// Writes a file that no other process writes.
fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".doctor.{}", std::process::id()));
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    fs::remove_file(&path).ok();
    written
}

fn remedy(kind: io::ErrorKind, dir: &Path) -> String {
    let dir = dir.display();
    match kind {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "mount the file system of {dir} so that it can be written, or set server.data_dir to another place"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("run this as the owner of {dir}, or set server.data_dir to a directory of this user")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free some space (and inodes: `df -i {dir}`), or set server.data_dir to a larger disk")
        }
        io::ErrorKind::NotADirectory => format!("{dir} is a file: set server.data_dir to another place"),
        _ => "set server.data_dir to another place".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_found_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), None);
        assert_eq!(look(&dir.path().join("not/yet/there")), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        let below_a_file = dir.path().join("file/data");
        fs::write(dir.path().join("file"), "").unwrap();
        let finding = look(&below_a_file).unwrap();
        assert!(finding.verdict == Verdict::Fail && finding.what.contains("file/data"), "{finding:?}");
        let of = |code: i32| remedy(io::Error::from_raw_os_error(code).kind(), Path::new("/data"));
        assert!(of(30).starts_with("mount the file system of /data"), "{}", of(30));
        assert!(of(28).contains("df -i /data") && of(122).starts_with("free some space"), "{}", of(28));
        assert!(of(13).starts_with("run this as the owner of /data"), "{}", of(13));
    }
}
