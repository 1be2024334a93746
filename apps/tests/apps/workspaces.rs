//! Workspaces appear whole and disappear whole, below a root that is safe.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::house::{FRAMEWORKS, House, id, path};
use mgx_apps::{Condition, Framework, UnsafeRoot, Workspaces};

#[tokio::test]
async fn a_new_workspace_holds_the_starter_files_and_belongs_to_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::open(dir.path().join("w"), Some("/srv/mgx".into())).unwrap();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    for framework in FRAMEWORKS {
        let id = id(framework.name());
        assert!(workspaces.create(&id, framework).await.unwrap());
        let made = workspaces.root().join(id.as_str());
        assert_eq!(files(&made), files(&templates.join(framework.name())));
        assert!(files(&made).iter().any(|(file, _)| file == Path::new("README.md")));
        for (file, _) in files(&made) {
            let meta = fs::metadata(made.join(&file)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o644, "{}", file.display());
            if rustix::process::geteuid().is_root() {
                assert_eq!((meta.uid(), meta.gid()), (10001, 10001), "{}", file.display());
            }
        }
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(workspaces.host_path(&id), Path::new("/srv/mgx").join(framework.name()));
    }
    assert_eq!(fs::read_dir(workspaces.root()).unwrap().count(), 2, "nothing unfinished is left");
}

#[tokio::test]
async fn a_workspace_that_is_there_is_left_as_it_is() {
    let house = House::new().await;
    house.write("mine", "text", Condition::Always).await.unwrap();
    assert!(!house.workspaces.create(&house.id, Framework::Nextjs).await.unwrap());
    assert_eq!(files(&house.at("")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_make_a_workspace_at_once_one_does() {
    let house = House::new().await;
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let workspaces = house.workspaces.clone();
        makers.spawn(async move { workspaces.create(&id("new"), Framework::Nextjs).await.unwrap() });
    }
    assert_eq!(makers.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(fs::read_dir(house.workspaces.root()).unwrap().count(), 3);
}

#[tokio::test]
async fn a_removed_workspace_is_gone_and_its_neighbour_is_not() {
    let house = House::new().await;
    house.write("a/b/c", "text", Condition::Always).await.unwrap();
    symlink("../other", house.at("link")).unwrap();
    assert!(house.workspaces.remove(&house.id).await.unwrap());
    assert!(!house.workspaces.remove(&house.id).await.unwrap());
    assert_eq!(fs::read_dir(house.workspaces.root()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(house.workspaces.root().join("other")).unwrap().count(), 1);
    assert!(house.workspaces.workspace(&house.id).await.is_err());
    // whoever had it open gets no second life for it
    assert!(house.write("x", "text", Condition::Always).await.is_err());
    assert!(house.workspace.read(&path("a/b/c")).await.is_err());
}

/// What the kernel remembers of a name is as good as a look at the disk, and no way around it.
#[tokio::test]
async fn a_link_is_no_workspace_however_often_it_is_asked_for() {
    let house = House::new().await;
    let link = house.workspaces.root().join("link");
    symlink(house.at(""), &link).unwrap();
    for _ in 0..3 {
        assert!(house.workspaces.workspace(&id("link")).await.is_err());
        assert!(house.workspaces.workspace(&id("missing")).await.is_err());
        assert!(house.workspaces.workspace(&house.id).await.is_ok());
    }
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    assert!(house.workspaces.workspace(&id("link")).await.is_ok(), "now it is one");
    fs::remove_dir(&link).unwrap();
    assert!(house.workspaces.workspace(&id("link")).await.is_err(), "now it is none");
}

#[tokio::test]
async fn what_a_crash_left_half_done_is_swept_away() {
    let house = House::new().await;
    let root = house.workspaces.root();
    for name in [".old-1", ".new-abandoned", ".new-fresh"] {
        fs::create_dir_all(root.join(name).join("src")).unwrap();
    }
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(root.join(".new-abandoned")).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(house.workspaces.sweep().await.unwrap(), 2);
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
