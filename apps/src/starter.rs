//! The starter files of each framework, built into the binary.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use include_dir::{Dir, DirEntry, include_dir};
use rustix::fs::{fchmod, fsync};

use crate::Framework;
use crate::beneath::{self, FILE_MODE, Owner};
use crate::file::FileError;
use crate::staged;

static NEXTJS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../templates/nextjs");
static FASTAPI_VITE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../templates/fastapi-vite");

/// Makes the directory `name` in `parent` and fills it, durably; blocking.
pub(crate) fn make(
    parent: impl AsFd,
    name: &str,
    framework: Framework,
    owner: Owner,
) -> Result<(), FileError> {
    let template = match framework {
        Framework::Nextjs => &NEXTJS,
        Framework::FastapiVite => &FASTAPI_VITE,
    };
    fill(&beneath::make_dir(parent, name, owner)?, template, owner)
}

fn fill(dir: &OwnedFd, template: &Dir<'_>, owner: Owner) -> Result<(), FileError> {
    for entry in template.entries() {
        let name = entry.path().file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| std::io::Error::other("a starter file has no name"))?;
        match entry {
            DirEntry::Dir(below) => fill(&beneath::make_dir(dir, name, owner)?, below, owner)?,
            DirEntry::File(starter) => {
                let mut file = staged::create(dir, name)?;
                file.write_all(starter.contents())?;
                fchmod(&file, FILE_MODE)?;
                beneath::give(&file, owner)?;
                file.sync_all()?;
            }
        }
    }
    Ok(fsync(dir)?)
}
