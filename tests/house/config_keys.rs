//! Rules: every key of `mgx.toml` is read, and every limit is named by one of them.

use std::collections::BTreeSet;

use toml_edit::DocumentMut;

use crate::repository::rust_source::{code_without_tests, strings};
use crate::repository::tree::{Tree, assert_found, assert_kept};

/// Where keys are declared, checked and shown, which is not yet a use.
const DECLARATIONS: &str = "mgx/src/config";

/// Keys that are used elsewhere than in `mgx/src` outside of [`DECLARATIONS`], and the files that use them.
const USED_ELSEWHERE: [(&str, &str); 4] = [
    ("llm.api_key_file", "mgx/src/config/check.rs"),
    ("agents.max_turns", "agent-runner/src/"),
    ("agents.max_exchanges", "agent-runner/src/"),
    ("agents.context_tokens", "agent-runner/src/"),
];

/// The crates that name the keys of limits.
const SPEAKERS: [&str; 4] = ["scheduler/src/", "policies/src/", "api/src/", "llm/src/"];

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

/// Keys whose field no code reads.
fn keys_that_nothing_reads(tree: &Tree) -> Vec<String> {
    let in_mgx = |path: &str| path.starts_with("mgx/src/") && !path.starts_with(DECLARATIONS);
    let read = fields(tree, in_mgx);
    let unread = keys(tree).into_iter().filter(|key| {
        let field = key.rsplit('.').next().unwrap_or_default();
        let elsewhere = USED_ELSEWHERE.iter().find(|(known, _)| known == key);
        !read.contains(field)
            && elsewhere.is_none_or(|(_, file)| !fields(tree, |path| path.starts_with(file)).contains(field))
    });
    unread
        .map(|key| format!("mgx.toml: nothing in mgx/src reads `{key}`: read it, or remove the key"))
        .collect()
}

/// The names of the fields that the code of some files takes.
fn fields(tree: &Tree, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for (_, text) in tree.rust_files().filter(|(path, _)| is_wanted(path)) {
        let code = code_without_tests(text);
        fields.extend(code.split('.').skip(1).filter_map(|rest| {
            let end =
                rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            // a call is no field
            (!rest[end..].starts_with('(')).then(|| rest[..end].to_owned())
        }));
    }
    fields
}

/// Strings that are nothing but the name of a key, by their section, and are none.
fn unknown_keys_in_messages(tree: &Tree) -> Vec<String> {
    let keys = keys(tree);
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_' || letter == '.';
    let mut found = Vec::new();
    for (path, text) in tree.rust_files() {
        if !SPEAKERS.iter().any(|speaker| path.starts_with(speaker)) || path.contains("test") {
            continue;
        }
        for (line, text) in (1..).zip(strings(text).lines()) {
            for name in text.split('"').filter(|name| name.chars().all(is_of_name)) {
                let Some((section, _)) = name.split_once('.') else { continue };
                let is_known = keys.iter().any(|key| key == name || name.starts_with(&format!("{key}.")));
                if sections.contains(section) && !is_known {
                    found.push(format!(
                        "{path}:{line}: `{name}` is no key of mgx.toml: name the key of the limit"
                    ));
                }
            }
        }
    }
    found
}

#[test]
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

#[test]
fn every_limit_is_named_by_a_key_that_exists() {
    assert_kept(&unknown_keys_in_messages(Tree::repository()));
}

#[test]
fn a_message_that_names_an_unknown_key_is_found() {
    let toml = "[quotas]\nuser_jobs = 1\n[llm]\nretries = 4\n[llm.prices]\n";
    let of =
        |source| unknown_keys_in_messages(&Tree::of(&[("mgx.toml", toml), ("policies/src/a.rs", source)]));
    assert_kept(&of(
        "const A: [&str; 3] = [\"quotas.user_jobs\", \"user.jobs\", \"see quotas.x\"]; // \"quotas.y\"",
    ));
    assert_found(
        &of("//! A.\nconst A: &str = \"quotas.per_user\";"),
        &["policies/src/a.rs:2", "quotas.per_user"],
    );
}
