//! Workspaces are created and removed as a whole, below a root that is safe.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::fixture::{STARTER, TestWorkspace, id, path};
use include_dir::include_dir;
use mgx_workspaces::{Condition, StarterFiles, UnsafeRoot, Workspaces};

static OTHER_STARTER: StarterFiles = include_dir!("$CARGO_MANIFEST_DIR/../templates/fastapi-vite");

#[tokio::test]
async fn a_new_workspace_holds_the_starter_files_and_belongs_to_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::open(dir.path().join("w"), Some("/srv/mgx".into())).unwrap();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    for (name, starter) in [("nextjs", &STARTER), ("fastapi-vite", &OTHER_STARTER)] {
        let id = id(name);
        assert!(workspaces.create(&id, starter).await.unwrap());
        let made = workspaces.root().join(id.as_str());
        assert_eq!(files(&made), files(&templates.join(name)));
        assert!(files(&made).iter().any(|(file, _)| file == Path::new("README.md")));
        for (file, _) in files(&made) {
            let meta = fs::metadata(made.join(&file)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o644, "{}", file.display());
            if rustix::process::geteuid().is_root() {
                assert_eq!((meta.uid(), meta.gid()), (10001, 10001), "{}", file.display());
            }
        }
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(workspaces.host_path(&id), Path::new("/srv/mgx").join(name));
    }
    assert_eq!(fs::read_dir(workspaces.root()).unwrap().count(), 2, "nothing unfinished is left");
}

#[tokio::test]
async fn a_workspace_that_is_there_is_left_as_it_is() {
    let fixture = TestWorkspace::new().await;
    fixture.write("mine", "text", Condition::Always).await.unwrap();
    assert!(!fixture.workspaces.create(&fixture.id, &STARTER).await.unwrap());
    assert_eq!(files(&fixture.at("")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_creations_of_a_workspace_one_succeeds() {
    let fixture = TestWorkspace::new().await;
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let workspaces = fixture.workspaces.clone();
        makers.spawn(async move { workspaces.create(&id("new"), &STARTER).await.unwrap() });
    }
    assert_eq!(makers.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(fs::read_dir(fixture.workspaces.root()).unwrap().count(), 3);
}

#[tokio::test]
async fn a_removed_workspace_is_gone_and_its_neighbour_is_not() {
    let fixture = TestWorkspace::new().await;
    fixture.write("a/b/c", "text", Condition::Always).await.unwrap();
    symlink("../other", fixture.at("link")).unwrap();
    assert!(fixture.workspaces.remove(&fixture.id).await.unwrap());
    assert!(!fixture.workspaces.remove(&fixture.id).await.unwrap());
    assert_eq!(fs::read_dir(fixture.workspaces.root()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(fixture.workspaces.root().join("other")).unwrap().count(), 1);
    assert!(fixture.workspaces.workspace(&fixture.id).await.is_err());
    // a handle that was opened before does not bring it back
    assert!(fixture.write("x", "text", Condition::Always).await.is_err());
    assert!(fixture.workspace.read(&path("a/b/c")).await.is_err());
}

/// A name in the kernel's cache is checked like one that is read from the disk.
#[tokio::test]
async fn a_link_is_never_opened_as_a_workspace() {
    let fixture = TestWorkspace::new().await;
    let link = fixture.workspaces.root().join("link");
    symlink(fixture.at(""), &link).unwrap();
    for _ in 0..3 {
        assert!(fixture.workspaces.workspace(&id("link")).await.is_err());
        assert!(fixture.workspaces.workspace(&id("missing")).await.is_err());
        assert!(fixture.workspaces.workspace(&fixture.id).await.is_ok());
    }
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    assert!(fixture.workspaces.workspace(&id("link")).await.is_ok(), "now it is one");
    fs::remove_dir(&link).unwrap();
    assert!(fixture.workspaces.workspace(&id("link")).await.is_err(), "now it is none");
}

#[tokio::test]
async fn workspaces_that_a_crash_left_half_done_are_removed() {
    let fixture = TestWorkspace::new().await;
    let root = fixture.workspaces.root();
    for name in [".old-1", ".new-abandoned", ".new-fresh"] {
        fs::create_dir_all(root.join(name).join("src")).unwrap();
    }
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(root.join(".new-abandoned")).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(fixture.workspaces.sweep().await.unwrap(), 2);
    let mut left: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".new-fresh", "other", "shop"]);
}

#[test]
fn a_root_that_others_could_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(at("real"), at("link")).unwrap();
    fs::create_dir(at("open")).unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let open = |root: PathBuf| Workspaces::open(root, None);
    for root in ["/", "//", "/.", "/tmp/.."] {
        assert!(matches!(open(root.into()), Err(UnsafeRoot::NotOwn(_))), "{root}");
    }
    for root in ["link", "link/", "file"] {
        let refused = open(at(root));
        assert!(matches!(refused, Err(UnsafeRoot::NotDirectory(_))), "{root}: {refused:?}");
    }
    assert!(matches!(open(at("open")), Err(UnsafeRoot::WorldWritable(_))));
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(open(at("open")).is_ok(), "the sticky bit keeps others from changing what is not theirs");
    for host in ["/", "relative", "/a/../b"] {
        let refused = Workspaces::open(at("real"), Some(host.into()));
        assert!(matches!(refused, Err(UnsafeRoot::NotOwn(_))), "{host}");
    }
    assert!(open(at("missing/so/far")).unwrap().root().is_absolute());
}

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push((path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
