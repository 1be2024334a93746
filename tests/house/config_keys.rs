//! Rule: every key of `mgx.toml` is read.

use std::collections::BTreeSet;

use toml_edit::DocumentMut;

use crate::rust_source::code_without_tests;
use crate::tree::{Tree, assert_found, assert_kept};

/// Where keys are only declared, checked and shown.
const DECLARATIONS: &str = "mgx/src/config";

/// Every key of the default configuration, with dots between its parts.
fn keys(tree: &Tree) -> Vec<String> {
    let document: DocumentMut = tree.text("mgx.toml").parse().expect("mgx.toml is TOML");
    let mut keys = Vec::new();
    for (name, item) in document.iter() {
        match item.as_table_like() {
            Some(table) if table.is_empty() => keys.push(name.to_owned()),
            Some(table) => keys.extend(table.iter().map(|(key, _)| format!("{name}.{key}"))),
            None => keys.push(name.to_owned()),
        }
    }
    keys
}

/// Keys whose field no code of `mgx` reads outside of the configuration's own files.
fn keys_that_nothing_reads(tree: &Tree) -> Vec<String> {
    let mut read = BTreeSet::new();
    for (_, text) in
        tree.rust_files().filter(|(path, _)| path.starts_with("mgx/src/") && !path.starts_with(DECLARATIONS))
    {
        let code = code_without_tests(text);
        let fields = code.split('.').skip(1).filter_map(|rest| {
            let end =
                rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            // a call is no field
            (!rest[end..].starts_with('(')).then(|| rest[..end].to_owned())
        });
        read.extend(fields);
    }
    let unread =
        keys(tree).into_iter().filter(|key| !read.contains(key.rsplit('.').next().unwrap_or_default()));
    unread
        .map(|key| format!("mgx.toml: nothing in mgx/src reads `{key}`: read it, or remove the key"))
        .collect()
}

#[test]
#[ignore = "enabled when every crate keeps the rule"]
fn every_key_of_the_configuration_is_read() {
    assert_kept(&keys_that_nothing_reads(Tree::repository()));
}

#[test]
fn a_key_that_nothing_reads_is_found() {
    let toml = "runtime = \"x\"\n[server]\nlisten = \"x\"\ndrain = \"1s\"\n[weights]\n";
    let tree = Tree::of(&[
        ("mgx.toml", toml),
        ("mgx/src/config/sections.rs", "fn f() { self.drain }"),
        (
            "mgx/src/serve.rs",
            "fn f() { g(config.runtime, &config.server.listen); config.weights.get(0); config.drain() }",
        ),
    ]);
    assert_found(&keys_that_nothing_reads(&tree), &["server.drain"]);
}
