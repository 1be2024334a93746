//! No path leads out of a workspace, and no file in it makes the platform wait.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fixture::{SECRET, TestWorkspace, path};
use mgx_workspaces::{Condition, EntryKind, FileError, ListQuery};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use tokio::time::timeout;

/// Creates links of every kind that lead out, or in circles.
fn create_links(fixture: &TestWorkspace) {
    symlink("/etc/passwd", fixture.at("absolute")).unwrap();
    symlink("../other/secret", fixture.at("neighbour")).unwrap();
    symlink("../../sentinel", fixture.at("up")).unwrap();
    symlink("loop", fixture.at("loop")).unwrap();
    symlink("/proc/self/root/etc/passwd", fixture.at("magic")).unwrap();
    symlink("/proc/self/fd/0", fixture.at("descriptor")).unwrap();
    symlink("inside/../../other/secret", fixture.at("detour")).unwrap();
    fs::create_dir(fixture.at("inside")).unwrap();
}

#[tokio::test]
async fn links_that_lead_out_are_escapes_for_readers_and_writers() {
    let fixture = TestWorkspace::new().await;
    create_links(&fixture);
    for link in ["absolute", "neighbour", "up", "loop", "magic", "descriptor", "detour"] {
        let read = fixture.read(link).await;
        assert!(matches!(read, Err(FileError::Escape)), "read {link}: {read:?}");
        let written = fixture.write(link, "changed", Condition::Always).await;
        assert!(matches!(written, Err(FileError::Escape)), "write {link}: {written:?}");
        assert!(fs::symlink_metadata(fixture.at(link)).unwrap().is_symlink(), "{link} is still a link");
    }
    fixture.assert_untouched();
}

#[tokio::test]
async fn directories_that_are_links_out_are_escapes_for_every_call() {
    let fixture = TestWorkspace::new().await;
    symlink("../other", fixture.at("neighbour")).unwrap();
    symlink("/etc", fixture.at("absolute")).unwrap();
    for (link, file) in [("neighbour", "neighbour/secret"), ("absolute", "absolute/passwd")] {
        let below = format!("{link}/new/file");
        assert!(matches!(fixture.read(file).await, Err(FileError::Escape)), "{file}");
        assert!(
            matches!(fixture.write(file, "x", Condition::Always).await, Err(FileError::Escape)),
            "{file}"
        );
        assert!(
            matches!(fixture.write(&below, "x", Condition::Always).await, Err(FileError::Escape)),
            "{below}"
        );
        let deleted = fixture.workspace.delete(&path(file), Condition::Always).await;
        assert!(matches!(deleted, Err(FileError::Escape)), "{file}: {deleted:?}");
        let listed =
            fixture.workspace.list(ListQuery { dir: Some(path(link)), ..ListQuery::default() }).await;
        assert!(matches!(listed, Err(FileError::Escape)), "{link}: {listed:?}");
    }
    let all = fixture.workspace.list(ListQuery { depth: 9, ..ListQuery::default() }).await.unwrap();
    let seen: Vec<_> = all.entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
    assert_eq!(seen, [("absolute", EntryKind::Symlink), ("neighbour", EntryKind::Symlink)]);
    fixture.assert_untouched();
}

#[tokio::test]
async fn a_link_that_leads_out_can_be_deleted_and_what_it_leads_to_stays() {
    let fixture = TestWorkspace::new().await;
    create_links(&fixture);
    for link in ["absolute", "neighbour", "up", "loop"] {
        fixture.workspace.delete(&path(link), Condition::Always).await.unwrap();
        assert!(fs::symlink_metadata(fixture.at(link)).is_err(), "{link} is gone");
    }
    assert!(Path::new("/etc/passwd").exists());
    fixture.assert_untouched();
}

#[tokio::test]
async fn links_that_stay_inside_are_read_through_but_not_written_through() {
    let fixture = TestWorkspace::new().await;
    fixture.write("src/real.txt", "text", Condition::Always).await.unwrap();
    symlink("src/real.txt", fixture.at("file")).unwrap();
    symlink("src", fixture.at("dir")).unwrap();
    assert_eq!(fixture.read("file").await.unwrap(), "text");
    assert_eq!(fixture.read("dir/real.txt").await.unwrap(), "text");
    assert!(matches!(fixture.write("file", "x", Condition::Always).await, Err(FileError::NotRegular)));
    fixture.write("dir/more/new.txt", "new", Condition::Always).await.unwrap();
    assert_eq!(fixture.read("src/more/new.txt").await.unwrap(), "new");
}

#[tokio::test]
async fn what_is_not_a_regular_file_is_refused_at_once() {
    let fixture = TestWorkspace::new().await;
    mknodat(CWD, fixture.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    let _socket = UnixListener::bind(fixture.at("socket")).unwrap();
    fs::create_dir(fixture.at("dir")).unwrap();
    fs::hard_link(fixture.sentinel(), fixture.at("hard")).unwrap();
    let mut odd = vec!["fifo", "socket", "dir", "hard"];
    let null = rustix::fs::makedev(1, 3);
    if mknodat(CWD, fixture.at("device"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null).is_ok()
    {
        odd.push("device");
    }
    for name in odd {
        let read =
            timeout(Duration::from_secs(1), fixture.read(name)).await.expect("an answer within a second");
        assert!(matches!(read, Err(FileError::NotRegular)), "read {name}: {read:?}");
        let written = timeout(Duration::from_secs(1), fixture.write(name, "x", Condition::Always)).await;
        let written = written.expect("an answer within a second");
        assert!(matches!(written, Err(FileError::NotRegular)), "write {name}: {written:?}");
    }
    let below = fixture.read("fifo/x").await;
    assert!(matches!(below, Err(FileError::NotDirectory)), "{below:?}");
    fixture.assert_untouched();
}

/// A thread exchanges two names all the time: a directory, and a link to the other workspace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_exchanged_for_a_link_during_a_call_does_not_lead_out() {
    const FLIPS: usize = 100_000;
    let fixture = TestWorkspace::new().await;
    fixture.write("flip/secret", "inside", Condition::Always).await.unwrap();
    symlink("../other", fixture.at("link")).unwrap();
    let (flip, link) = (fixture.at("flip"), fixture.at("link"));
    let (done, flips) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut inside, mut refused) = (0, 0);
    let deadline = Instant::now() + Duration::from_mins(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
                renameat_with(CWD, &flip, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                flips.fetch_add(1, Ordering::Relaxed);
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                while flips.load(Ordering::Relaxed) < FLIPS || inside == 0 || refused == 0 {
                    assert!(Instant::now() < deadline, "{inside} times inside, {refused} times refused");
                    match fixture.read("flip/secret").await {
                        Ok(text) => {
                            assert_ne!(text, SECRET);
                            inside += 1;
                        }
                        Err(FileError::Escape | FileError::NotFound) => refused += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                    match fixture.write("flip/secret", "inside again", Condition::Always).await {
                        Ok(_) | Err(FileError::Escape | FileError::NotFound) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    match fixture.write("flip/new/file", "new", Condition::Always).await {
                        Ok(_) | Err(FileError::Escape | FileError::NotFound) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    match fixture.workspace.delete(&path("flip/new"), Condition::Always).await {
                        Ok(()) | Err(FileError::Escape | FileError::NotFound) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                    let list = ListQuery { dir: Some(path("flip")), depth: 3, ..ListQuery::default() };
                    match fixture.workspace.list(list).await {
                        Ok(list) => {
                            assert!(list.entries.iter().all(|entry| entry.size != SECRET.len() as u64));
                        }
                        Err(FileError::Escape | FileError::NotFound) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        });
    });
    assert!(flips.load(Ordering::Relaxed) >= FLIPS && inside > 0 && refused > 0);
    fixture.assert_untouched();
}
