//! Tests of the workspace's tools: what they return, and what they refuse.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn edit(old: &str, new: &str) -> [Edit; 1] {
    [Edit { old: old.into(), new: new.into() }]
}

fn workspace() -> (tempfile::TempDir, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("inside")).unwrap();
    let workspace = Workspace::open(&directory.path().join("inside")).unwrap();
    (directory, workspace)
}

#[test]
fn a_file_is_written_read_edited_listed_and_deleted() {
    let (directory, workspace) = workspace();
    let results = [
        workspace.list(""),
        workspace.write("/workspace/src/app.ts", "one\ntwo\nthree\n"),
        workspace.write("src/app.ts", "one\ntwo\ntwo\n"),
        workspace.edit("src/app.ts", &edit("two", "2")),
        workspace.edit("src/app.ts", &edit("four", "4")),
        workspace.edit("src/app.ts", &edit("", "4")),
        workspace.edit("./src/app.ts", &edit("one\ntwo", "1\n2")),
        workspace.read("src/app.ts", 1, None),
        workspace.read("src/app.ts", 2, Some(1)),
        workspace.read("src/app.ts", 9, None),
        workspace.write("node_modules/x/index.js", ""),
        workspace.list("."),
        workspace.find("*.ts"),
        workspace.find("src/**/*.{ts,tsx}"),
        workspace.rename("src/app.ts", "src/lib/main.ts"),
        workspace.rename("/src/lib/main.ts", "src/app.ts"),
        workspace.delete("src/lib"),
        workspace.delete("src"),
        workspace.delete("src/app.ts"),
        workspace.delete("src"),
        workspace.read("src/app.ts", 1, None),
    ];
    insta::assert_debug_snapshot!(results);
    let mode =
        |path: &str| directory.path().join("inside").join(path).metadata().unwrap().permissions().mode();
    assert_eq!(mode("node_modules/x/index.js") & 0o777, 0o644);
    let left: Vec<_> = std::fs::read_dir(directory.path().join("inside")).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
}

#[test]
fn nothing_leads_out_of_the_workspace() {
    let (directory, workspace) = workspace();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, directory.path().join("inside/absolute")).unwrap();
    symlink("../outside", directory.path().join("inside/relative")).unwrap();
    symlink("../outside/secret", directory.path().join("inside/file")).unwrap();
    let paths = [
        "../outside/secret",
        "a/../../outside/secret",
        "/workspace/../../etc/passwd",
        "absolute/secret",
        "relative/secret",
        "a\0b",
    ];
    for path in paths {
        assert!(workspace.read(path, 1, None).is_err(), "{path}");
        assert!(workspace.write(path, "mine").is_err(), "{path}");
        assert!(workspace.edit(path, &edit("secret", "mine")).is_err(), "{path}");
        assert!(workspace.delete(path).is_err(), "{path}");
        assert!(workspace.list(path).is_err(), "{path}");
    }
    assert!(workspace.read("file", 1, None).is_err());
    assert!(workspace.list("relative").is_err());
    assert_eq!(workspace.list("").unwrap(), "there are no files", "links are not followed");
    workspace.write("file", "mine").unwrap();
    assert_eq!(workspace.read("file", 1, None).unwrap(), "    1\tmine\n", "the link itself was replaced");
    assert_eq!(
        workspace.read("/etc/passwd", 1, None).unwrap_err(),
        "/etc/passwd does not exist",
        "it is etc/passwd here"
    );
    workspace.delete("relative").unwrap();
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

#[test]
fn what_is_no_text_or_too_much_is_refused_and_long_files_come_in_parts() {
    let (directory, workspace) = workspace();
    let inside = directory.path().join("inside");
    std::fs::write(inside.join("picture"), [0xFF, 0, 1]).unwrap();
    std::fs::write(inside.join("huge"), vec![b'x'; MAX_FILE_BYTES + 1]).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    std::fs::write(inside.join("long"), "a line of text\n".repeat(10_000)).unwrap();
    std::fs::write(inside.join("wide"), "é".repeat(MAX_PART_BYTES)).unwrap();
    assert_eq!(workspace.read("picture", 1, None).unwrap_err(), "picture is not a text file");
    assert_eq!(
        workspace.read("huge", 1, None).unwrap_err(),
        format!("huge has more than {MAX_FILE_BYTES} bytes")
    );
    assert_eq!(workspace.read("", 1, None).unwrap_err(), "\"\" names no file");
    assert_eq!(workspace.read("pipe", 1, None).unwrap_err(), "pipe is not a file");
    std::fs::remove_file(inside.join("pipe")).unwrap();
    assert!(workspace.write("new", &"x".repeat(MAX_FILE_BYTES + 1)).is_err());
    assert!(workspace.write("", "x").is_err() && workspace.write("long/x", "x").is_err());
    let part = workspace.read("long", 5000, None).unwrap();
    assert!(
        part.len() < MAX_PART_BYTES + 100
            && part.contains("… (lines 5000 to ")
            && part.contains("read on with first_line"),
        "{}",
        &part[part.len() - 60..]
    );
    assert!(workspace.read("wide", 1, None).unwrap().len() < MAX_PART_BYTES + 100);
    for number in 0..=MAX_LISTED {
        std::fs::write(inside.join(format!("f{number}")), "").unwrap();
    }
    let list = workspace.list("").unwrap();
    assert_eq!(list.lines().count(), MAX_LISTED + 1);
    assert!(list.ends_with("to see more"));
}
