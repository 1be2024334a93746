//! A file is written completely or not at all, and no concurrent change is lost.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::fixture::{TestWorkspace, path};
use bytes::Bytes;
use mgx_workspaces::{Condition, ETag, FileError, Workspaces, WorkspacesConfig};

#[tokio::test]
async fn a_file_is_written_read_and_deleted() {
    let fixture = TestWorkspace::new().await;
    let first = fixture.write("src/ui/App.tsx", "one", Condition::Always).await.unwrap();
    assert!(first.created);
    let view = fixture.workspace.read(&path("src/ui/App.tsx")).await.unwrap();
    assert_eq!((view.size, &view.etag), (3, &first.etag));
    let second = fixture.write("src/ui/App.tsx", "two", Condition::Always).await.unwrap();
    assert!(!second.created);
    assert_ne!(first.etag, second.etag);
    assert_eq!(fixture.read("src/ui/App.tsx").await.unwrap(), "two");

    fixture.workspace.delete(&path("src/ui/App.tsx"), Condition::Matches(vec![second.etag])).await.unwrap();
    assert!(matches!(fixture.read("src/ui/App.tsx").await, Err(FileError::NotFound)));
    let again = fixture.workspace.delete(&path("src/ui/App.tsx"), Condition::Always).await;
    assert!(matches!(again, Err(FileError::NotFound)));
    assert!(matches!(fixture.read("src/nowhere/x").await, Err(FileError::NotFound)));
    fixture.assert_untouched();
}

#[tokio::test]
async fn new_files_belong_to_the_container_and_old_ones_keep_their_mode() {
    let fixture = TestWorkspace::new().await;
    fixture.write("bin/tool", "#!/bin/sh", Condition::Always).await.unwrap();
    let mode = |at: &str| fs::metadata(fixture.at(at)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("bin"), mode("bin/tool")), (0o755, 0o644));
    let owner =
        if rustix::process::geteuid().is_root() { 10001 } else { rustix::process::geteuid().as_raw() };
    for at in ["bin", "bin/tool"] {
        assert_eq!(fs::metadata(fixture.at(at)).unwrap().uid(), owner, "{at}");
    }
    fs::set_permissions(fixture.at("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.write("bin/tool", "#!/bin/bash", Condition::Always).await.unwrap();
    assert_eq!(mode("bin/tool"), 0o755);
}

#[tokio::test]
async fn every_version_has_its_own_etag_even_in_the_same_tick_of_the_clock() {
    let fixture = TestWorkspace::new().await;
    let mut seen = HashSet::new();
    for _ in 0..500 {
        let written = fixture.write("same", "same size", Condition::Always).await.unwrap();
        assert!(seen.insert(written.etag), "after {} versions", seen.len());
    }
    // what a program in the container writes in place counts as well, even if it sets the old time again
    let before = fixture.workspace.read(&path("same")).await.unwrap();
    let file = fs::File::options().write(true).open(fixture.at("same")).unwrap();
    let old = file.metadata().unwrap().modified().unwrap();
    std::io::Write::write_all(&mut &file, b"SAME SIZE").unwrap();
    file.set_modified(old).unwrap();
    let after = fixture.workspace.read(&path("same")).await.unwrap();
    assert_eq!(before.modified, after.modified);
    assert_ne!(before.etag, after.etag);
}

#[tokio::test]
async fn a_stale_writer_is_told_the_current_version() {
    let fixture = TestWorkspace::new().await;
    let first = fixture.write("a", "one", Condition::Absent).await.unwrap();
    let second = fixture.write("a", "two", Condition::Matches(vec![first.etag.clone()])).await.unwrap();
    let stale = [Condition::Matches(vec![first.etag.clone()]), Condition::Absent];
    for condition in stale {
        let FileError::EtagMismatch { current } =
            fixture.write("a", "three", condition.clone()).await.unwrap_err()
        else {
            panic!("{condition:?} is no mismatch")
        };
        assert_eq!(current.as_ref(), Some(&second.etag));
    }
    let weak: ETag = format!("W/{}", second.etag).parse().unwrap();
    for condition in [Condition::Matches(vec![first.etag]), Condition::Matches(vec![weak])] {
        let deleted = fixture.workspace.delete(&path("a"), condition).await;
        assert!(matches!(deleted, Err(FileError::EtagMismatch { .. })), "{deleted:?}");
    }
    let none = fixture.write("b", "x", Condition::Exists).await;
    assert!(matches!(none, Err(FileError::EtagMismatch { current: None })), "{none:?}");
    assert_eq!(fixture.read("a").await.unwrap(), "two");
    fixture.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_no_update() {
    let fixture = TestWorkspace::new().await;
    fixture.write("counter", "0", Condition::Always).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let workspace = fixture.workspace.clone();
        writers.spawn(async move {
            let mut done = 0;
            while done < 25 {
                let mut view = workspace.read(&path("counter")).await.unwrap();
                let mut text = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut view.file, &mut text).await.unwrap();
                let next = Bytes::from((text.parse::<u32>().unwrap() + 1).to_string());
                match workspace.write(&path("counter"), next, Condition::Matches(vec![view.etag])).await {
                    Ok(_) => done += 1,
                    Err(FileError::EtagMismatch { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    assert_eq!(fixture.read("counter").await.unwrap(), "100");
    fixture.assert_untouched();
}

#[tokio::test]
async fn an_upload_that_is_dropped_changes_nothing() {
    let fixture = TestWorkspace::new().await;
    let old = fixture.write("a", "old content", Condition::Always).await.unwrap();
    let mut upload = fixture.workspace.upload(&path("a"), Condition::Always).await.unwrap();
    upload.write(Bytes::from_static(b"half of the new con")).await.unwrap();
    assert_eq!(fixture.leftovers(), 1, "it is being written");
    let listed = fixture.workspace.list(mgx_workspaces::ListQuery::default()).await.unwrap();
    assert_eq!(listed.entries.len(), 1, "and no list shows it");
    drop(upload);
    assert_eq!(fixture.read("a").await.unwrap(), "old content");
    assert_eq!(fixture.workspace.read(&path("a")).await.unwrap().etag, old.etag);
    fixture.assert_untouched();
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_as_soon_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = WorkspacesConfig::new(dir.path().join("w"), None);
    config.max_file_bytes = 10;
    let workspaces = Workspaces::with_config(config).unwrap();
    fs::create_dir(workspaces.root().join("shop")).unwrap();
    let workspace = workspaces.workspace(&crate::fixture::id("shop")).await.unwrap();
    let mut upload = workspace.upload(&path("a"), Condition::Always).await.unwrap();
    upload.write(Bytes::from_static(b"0123456789")).await.unwrap();
    let over = upload.write(Bytes::from_static(b"!")).await;
    assert!(matches!(over, Err(FileError::TooLarge { limit: 10 })), "{over:?}");
    assert!(matches!(upload.commit().await, Err(FileError::TooLarge { limit: 10 })));
    assert_eq!(fs::read_dir(workspaces.root().join("shop")).unwrap().count(), 0);
    assert!(workspace.write(&path("a"), Bytes::from_static(b"0123456789"), Condition::Always).await.is_ok());
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_file() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can mount a disk that is small enough to fill
    }
    let dir = tempfile::tempdir().unwrap();
    let _mounted = Mounted::tmpfs(dir.path(), c"size=1m");
    let workspaces = Workspaces::open(dir.path().join("w"), None).unwrap();
    fs::create_dir(workspaces.root().join("shop")).unwrap();
    let workspace = workspaces.workspace(&crate::fixture::id("shop")).await.unwrap();
    workspace.write(&path("a"), Bytes::from_static(b"old"), Condition::Always).await.unwrap();
    let big = Bytes::from(vec![b'x'; 2 * 1024 * 1024]);
    let full = workspace.write(&path("a"), big, Condition::Always).await;
    assert!(matches!(full, Err(FileError::Full)), "{full:?}");
    assert_eq!(fs::read(workspaces.root().join("shop/a")).unwrap(), b"old");
    assert_eq!(fs::read_dir(workspaces.root().join("shop")).unwrap().count(), 1);
    workspace.write(&path("a"), Bytes::from_static(b"new"), Condition::Always).await.unwrap();
}

#[tokio::test]
async fn a_directory_is_deleted_with_everything_in_it_at_any_depth() {
    let fixture = TestWorkspace::new().await;
    let mut dir = rustix::fs::open(fixture.at(""), dir_flags(), rustix::fs::Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "deep", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        dir = rustix::fs::openat(&dir, "deep", dir_flags(), rustix::fs::Mode::empty()).unwrap();
        rustix::fs::symlinkat("/etc", &dir, "link").unwrap();
    }
    let list = mgx_workspaces::ListQuery { depth: 1_000_000, ..mgx_workspaces::ListQuery::default() };
    let listed = fixture.workspace.list(list).await.unwrap();
    assert_eq!(listed.entries.len(), 2 * mgx_workspaces::ListQuery::MAX_DEPTH - 1, "no deeper than promised");
    fixture.workspace.delete(&path("deep"), Condition::Always).await.unwrap();
    assert_eq!(fs::read_dir(fixture.at("")).unwrap().count(), 0);
    assert!(fs::read_dir("/etc").unwrap().count() > 0);
    fixture.assert_untouched();
}

fn dir_flags() -> rustix::fs::OFlags {
    rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY
}

/// A file system that is unmounted at the end of the fixture.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(at: &std::path::Path, options: &std::ffi::CStr) -> Self {
        rustix::mount::mount("tmpfs", at, "tmpfs", rustix::mount::MountFlags::empty(), Some(options))
            .unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
