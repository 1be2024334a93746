//! Rules: a Rust file has at most 400 lines and begins with a sentence that says what it is for, a folder has at most
//! twelve Rust files, and no file is called `mod.rs`.

use std::collections::BTreeMap;

use crate::repository::tree::{Tree, assert_found, assert_kept};

const MAX_LINES: usize = 400;
const MAX_FILES: usize = 12;

fn long_files(tree: &Tree) -> Vec<String> {
    let long = tree.rust_files().filter(|(_, text)| text.lines().count() > MAX_LINES);
    long.map(|(path, text)| {
        format!(
            "{path}: {} lines, at most {MAX_LINES}: move one noun to a file of its own",
            text.lines().count()
        )
    })
    .collect()
}

fn files_without_a_sentence(tree: &Tree) -> Vec<String> {
    let begins = |text: &str| text.strip_prefix("//! ").is_some_and(|rest| !rest.trim_start().is_empty());
    let bare = tree.rust_files().filter(|(_, text)| !begins(text));
    bare.map(|(path, _)| format!("{path}: begin with a `//! ` sentence that says what the file is for"))
        .collect()
}

fn mod_files(tree: &Tree) -> Vec<String> {
    let named = tree.files_with("/mod.rs");
    named
        .map(|(path, _)| format!("{path}: name the file after its module and put it beside the folder"))
        .collect()
}

fn full_folders(tree: &Tree) -> Vec<String> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, _) in tree.rust_files() {
        *folders.entry(path.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
    }
    let full = folders.into_iter().filter(|(_, files)| *files > MAX_FILES);
    full.map(|(folder, files)| {
        format!("{folder}: {files} Rust files, at most {MAX_FILES}: give what belongs together a folder")
    })
    .collect()
}

#[test]
fn no_file_is_longer_than_400_lines() {
    assert_kept(&long_files(Tree::repository()));
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_kept(&files_without_a_sentence(Tree::repository()));
}

#[test]
fn no_file_is_called_mod() {
    assert_kept(&mod_files(Tree::repository()));
}

#[test]
fn no_folder_has_more_than_twelve_files() {
    assert_kept(&full_folders(Tree::repository()));
}

#[test]
fn a_layout_that_breaks_the_rules_is_found() {
    let good = "//! What it is for.\n";
    let long = format!("{good}{}", "fn f() {}\n".repeat(MAX_LINES));
    assert_found(
        &long_files(&Tree::of(&[("a/src/long.rs", &long), ("a/src/b.rs", good)])),
        &["a/src/long.rs: 401"],
    );
    for bare in ["", "use std::fmt;\n//! Late.", "// A remark.\n", "//!\n"] {
        assert_found(&files_without_a_sentence(&Tree::of(&[("a/src/bare.rs", bare)])), &["a/src/bare.rs"]);
    }
    assert_found(
        &mod_files(&Tree::of(&[("a/src/b/mod.rs", good), ("a/src/mode.rs", good)])),
        &["a/src/b/mod.rs"],
    );
    let names: Vec<_> = (0..=MAX_FILES).map(|number| format!("a/src/file{number}.rs")).collect();
    let files: Vec<_> = names.iter().map(|name| (&**name, good)).collect();
    assert_found(&full_folders(&Tree::of(&files)), &["a/src: 13"]);
    assert_kept(&full_folders(&Tree::of(&files[1..])));
}
