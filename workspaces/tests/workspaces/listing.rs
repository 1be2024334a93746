//! Lists are sorted and paged, and take the same memory for a directory of any size.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::fixture::{TestWorkspace, path};
use mgx_workspaces::{Condition, EntryKind, FileError, ListQuery};

#[tokio::test]
async fn a_directory_stands_before_its_entries_and_names_are_sorted() {
    let fixture = TestWorkspace::new().await;
    for file in ["b.txt", "a/z", "a/b/c", "a.txt", "a/b.txt", "B.txt"] {
        fixture.write(file, file, Condition::Always).await.unwrap();
    }
    let all = fixture.workspace.list(ListQuery { depth: 9, ..ListQuery::default() }).await.unwrap();
    let paths: Vec<_> = all.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["B.txt", "a", "a/b", "a/b/c", "a/b.txt", "a/z", "a.txt", "b.txt"]);
    assert_eq!(all.next, None);
    let c = &all.entries[3];
    assert_eq!((c.name.as_str(), c.kind, c.size, c.is_dir()), ("c", EntryKind::File, 5, false));
    assert_eq!(c.etag.as_ref(), Some(&fixture.workspace.read(&path("a/b/c")).await.unwrap().etag));
    assert!(all.entries[1].is_dir() && all.entries[1].etag.is_none());

    let flat = fixture.workspace.list(ListQuery::default()).await.unwrap();
    assert_eq!(flat.entries.len(), 4);
    let below = ListQuery { dir: Some(path("a")), ..ListQuery::default() };
    let below = fixture.workspace.list(below).await.unwrap();
    let paths: Vec<_> = below.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a/b", "a/b.txt", "a/z"]);
}

#[tokio::test]
async fn pages_of_every_size_and_depth_add_up_to_the_whole_list() {
    let fixture = TestWorkspace::new().await;
    for file in ["a/1", "a/2", "a/b/c/d", "b", "c/1", "c/2/3", "d"] {
        fixture.write(file, "", Condition::Always).await.unwrap();
    }
    fs::create_dir(fixture.at("empty")).unwrap();
    for dir in [None, Some(path("a"))] {
        for depth in 1..5 {
            let query = ListQuery { dir: dir.clone(), depth, ..ListQuery::default() };
            let whole = fixture.workspace.list(query.clone()).await.unwrap().entries;
            for limit in 1..=whole.len() + 1 {
                let mut pages = Vec::new();
                let mut after = None;
                loop {
                    let query = ListQuery { after, limit, ..query.clone() };
                    let page = fixture.workspace.list(query).await.unwrap();
                    assert!(page.entries.len() <= limit);
                    pages.extend(page.entries);
                    match page.next {
                        Some(next) => after = Some(path(&next)),
                        None => break,
                    }
                }
                assert_eq!(pages, whole, "depth {depth}, pages of {limit}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_may_begin_after_an_entry_that_was_deleted() {
    let fixture = TestWorkspace::new().await;
    for file in ["a/1", "b/1", "c"] {
        fixture.write(file, "", Condition::Always).await.unwrap();
    }
    fixture.workspace.delete(&path("b"), Condition::Always).await.unwrap();
    let query = ListQuery { after: Some(path("b/1")), depth: 2, ..ListQuery::default() };
    let rest = fixture.workspace.list(query).await.unwrap();
    assert_eq!(rest.entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["c"]);
    let query = ListQuery { dir: Some(path("a")), after: Some(path("c")), ..ListQuery::default() };
    assert!(matches!(fixture.workspace.list(query).await, Err(FileError::NotFound)));
    let query = ListQuery { dir: Some(path("c")), ..ListQuery::default() };
    assert!(matches!(fixture.workspace.list(query).await, Err(FileError::NotDirectory)));
}

#[tokio::test]
async fn names_of_any_bytes_are_listed_and_are_paths() {
    let fixture = TestWorkspace::new().await;
    let names = [&b"back\\slash"[..], b"fine", b"new\nline", b"odd\xe9/in\xff", b"\xff\xfe"];
    for name in names {
        let file = fixture.at("").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    let mut query = ListQuery { depth: 2, limit: 1, ..ListQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = fixture.workspace.list(query.clone()).await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.path));
        match page.next {
            Some(next) => query.after = Some(path(&next)),
            None => break,
        }
    }
    let expected = ["\\xFF\\xFE", "back\\\\slash", "fine", "new\\x0Aline", "odd\\xE9", "odd\\xE9/in\\xFF"];
    assert_eq!(found, expected);
    assert_eq!(fixture.workspace.read(&path("odd\\xE9/in\\xFF")).await.unwrap().size, 0);
    fixture.write("odd\\xE9/in\\xFF", "new", Condition::Exists).await.unwrap();
    for name in ["odd\\xE9/in\\xFF", "odd\\xE9", "back\\\\slash", "new\\x0Aline"] {
        fixture.workspace.delete(&path(name), Condition::Always).await.unwrap();
    }
    assert_eq!(fixture.workspace.list(ListQuery::default()).await.unwrap().entries.len(), 2);
    fixture.workspaces.remove(&fixture.id).await.unwrap();
    assert!(!fixture.at("").exists(), "and are removed with the workspace all the same");
}

#[tokio::test]
async fn a_page_of_many_files_comes_within_two_seconds() {
    let fixture = TestWorkspace::new().await;
    for n in 0..30_000 {
        fs::File::create(fixture.at(&format!("{n:06}"))).unwrap();
    }
    let began = Instant::now();
    let query = ListQuery { after: Some(path("019999")), ..ListQuery::default() };
    let page = fixture.workspace.list(query).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(page.entries.len(), ListQuery::MAX_LIMIT);
    assert_eq!(page.entries[0].name, "020000");
    assert_eq!(page.next.as_deref(), Some("020999"));
}
