//! Rule: the crates depend on each other only as the table says.

use toml_edit::DocumentMut;

use crate::repository::tree::{Tree, assert_found, assert_kept};

/// Each crate by its folder, and the crates that it may depend on outside of its tests. A crate depends only on crates
/// above it.
const ARROWS: [(&str, &[&str]); 17] = [
    ("protocol", &[]),
    ("agent-runner", &["protocol"]),
    ("client", &["protocol"]),
    ("workspaces", &["protocol"]),
    ("llm", &["protocol"]),
    ("oauth2", &[]),
    ("runtimes", &["protocol"]),
    ("scheduler", &["protocol", "runtimes"]),
    ("policies", &["protocol", "runtimes", "scheduler"]),
    ("apps", &["protocol", "workspaces", "runtimes", "scheduler"]),
    ("store", &["protocol", "workspaces", "oauth2", "runtimes", "scheduler", "apps"]),
    ("api", &["protocol", "workspaces", "oauth2", "runtimes", "scheduler", "policies", "apps"]),
    ("bench", &["protocol", "client", "llm", "runtimes", "scheduler", "store"]),
    (
        "mgx",
        &[
            "protocol",
            "client",
            "workspaces",
            "llm",
            "oauth2",
            "runtimes",
            "scheduler",
            "policies",
            "apps",
            "store",
            "api",
            "bench",
        ],
    ),
    ("testkit", &["protocol", "runtimes", "scheduler"]),
    ("tests", &["testkit"]),
    ("docs/examples/runtime", &["protocol", "runtimes"]),
];

/// Every dependency between crates that is not in the table, and every crate that is not in it.
fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, manifest) in tree.manifests() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
            found.push(format!(
                "{folder}/Cargo.toml: the crate is not in the table of tests/house/arrows.rs: add it there"
            ));
            continue;
        };
        let manifest: DocumentMut = manifest.parse().expect("a manifest is TOML");
        let dependencies = manifest.get("dependencies").and_then(|item| item.as_table_like());
        for (name, _) in dependencies.into_iter().flat_map(toml_edit::TableLike::iter) {
            let Some(dependency) = ours(name) else { continue };
            if !allowed.contains(&dependency) {
                found.push(format!(
                    "{folder}/Cargo.toml: depends on {name}, which the table of tests/house/arrows.rs does not allow: \
                     move what is needed down, or give {folder} a trait that mgx implements with {name}"
                ));
            }
        }
    }
    found
}

/// The folder of a dependency, if it is a crate of this workspace.
fn ours(dependency: &str) -> Option<&str> {
    if dependency == "mgx" { Some("mgx") } else { dependency.strip_prefix("mgx-") }
}

#[test]
fn crates_depend_on_each_other_only_as_the_table_says() {
    assert_kept(&violations(Tree::repository()));
}

#[test]
fn the_table_has_no_circle_and_no_crate_that_does_not_exist() {
    for (index, (folder, allowed)) in ARROWS.iter().enumerate() {
        assert!(Tree::repository().contains(&format!("{folder}/Cargo.toml")), "{folder} is no crate");
        for dependency in *allowed {
            let at = ARROWS.iter().position(|(name, _)| name == dependency);
            assert!(
                at.is_some_and(|at| at < index) || *folder == "tests",
                "{folder} -> {dependency} points upwards"
            );
        }
    }
}

#[test]
fn a_dependency_against_the_arrows_is_found() {
    let manifest = "[dependencies]\nmgx-protocol.workspace = true\nmgx-api = { workspace = true }\nserde = \"1\"\n\
                    [dev-dependencies]\nmgx-store.workspace = true";
    let tree = Tree::of(&[("scheduler/Cargo.toml", manifest)]);
    assert_found(&violations(&tree), &["scheduler/Cargo.toml", "mgx-api"]);
    assert_found(
        &violations(&Tree::of(&[("extra/Cargo.toml", "")])),
        &["extra/Cargo.toml", "not in the table"],
    );
}
