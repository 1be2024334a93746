//! Rules: every crate takes the workspace's lints, which forbid `unsafe`, and no code tries to have it or to switch a lint
//! off for good.

use toml_edit::DocumentMut;

use crate::repository::rust_source::code;
use crate::repository::tree::{Tree, assert_found, assert_kept};

fn crates_without_lints(tree: &Tree) -> Vec<String> {
    let bare = tree.manifests().filter(|(_, manifest)| {
        let manifest: DocumentMut = manifest.parse().expect("a manifest is TOML");
        manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool()) != Some(true)
    });
    bare.map(|(folder, _)| format!("{folder}/Cargo.toml: add `[lints]` with `workspace = true`")).collect()
}

fn forbidden_code(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.rust_files() {
        for (line, text) in (1..).zip(code(text).lines()) {
            let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if words.into_iter().any(|word| word == "unsafe") {
                found
                    .push(format!("{path}:{line}: `unsafe` is forbidden: use a crate that offers it safely"));
            }
            if text.contains("#[allow(") || text.contains("#![allow(") {
                found.push(format!("{path}:{line}: write `#[expect(…, reason = \"…\")]`, which fails when it is not needed any more"));
            }
        }
    }
    found
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    assert_kept(&crates_without_lints(Tree::repository()));
    let workspace: DocumentMut = Tree::repository().text("Cargo.toml").parse().expect("it is TOML");
    let lints = &workspace["workspace"]["lints"]["rust"];
    assert_eq!(lints["unsafe_code"].as_str(), Some("forbid"));
    assert_eq!(lints["missing_docs"].as_str(), Some("warn"));
}

#[test]
fn no_code_is_unsafe_or_allows_what_the_lints_forbid() {
    assert_kept(&forbidden_code(Tree::repository()));
}

#[test]
fn a_crate_without_lints_and_forbidden_code_are_found() {
    let tree = Tree::of(&[
        ("a/Cargo.toml", "[lints]\nworkspace = true"),
        ("b/Cargo.toml", "[lints.rust]\nunused = \"warn\""),
    ]);
    assert_found(&crates_without_lints(&tree), &["b/Cargo.toml"]);
    let source =
        "// unsafe in a comment\nconst A: &str = \"unsafe { }\";\nlet unsafe_name = 1;\nunsafe { f() }";
    assert_found(&forbidden_code(&Tree::of(&[("a/src/b.rs", source)])), &["a/src/b.rs:4"]);
    let source = "#[expect(dead_code, reason = \"x\")]\n#[allow(dead_code)]\nfn f() {}";
    assert_found(&forbidden_code(&Tree::of(&[("a/src/b.rs", source)])), &["a/src/b.rs:2"]);
}
