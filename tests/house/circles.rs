//! Rule: the files of a crate do not import from each other in a circle.
//!
//! A module may take what it likes from the modules that it stands in (`pool/claims.rs` from `pool.rs`): it is a part of
//! them. All other imports have to point one way, so that a reader can begin with the file that needs no other.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::imports::Crate;
use crate::repository::tree::{Tree, assert_found, assert_kept};

/// Every circle of every crate, with what each of its files takes from the others.
fn circles(tree: &Tree) -> Vec<String> {
    let roots = tree.rust_files().map(|(path, _)| path).filter(|path| {
        let is_root = path.ends_with("/lib.rs")
            || path.strip_suffix("main.rs").is_some_and(|dir| !tree.contains(&format!("{dir}lib.rs")));
        is_root && !path.starts_with("docs/")
    });
    let crates = roots.map(|root| Crate::read(tree, root));
    crates.flat_map(|read| circles_of(&read)).collect()
}

fn circles_of(read: &Crate) -> Vec<String> {
    let arrows = read.arrows();
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|from| (*from, reachable(from, &arrows))).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for from in arrows.keys() {
        let circle: BTreeSet<&str> =
            reachable[from].iter().copied().filter(|to| reachable[to].contains(from)).collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let mut text = format!(
            "{from}: a circle of {} files: move what they share into a file below them:",
            circle.len()
        );
        for (from, tos) in arrows.iter().filter(|(from, _)| circle.contains(*from)) {
            for (to, names) in tos.iter().filter(|(to, _)| circle.contains(*to)) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                text = format!("{text}\n    {from} -> {to}: {}", names.join(", "));
            }
        }
        found.push(text);
    }
    found
}

/// The files that `from` takes from, directly or not.
fn reachable<'a>(
    from: &'a str,
    arrows: &BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>,
) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for to in arrows.get(file).into_iter().flatten().map(|(to, _)| *to) {
            if found.insert(to) {
                open.push(to);
            }
        }
    }
    found
}

#[test]
fn no_files_of_a_crate_import_from_each_other_in_a_circle() {
    assert_kept(&circles(Tree::repository()));
}

#[test]
fn a_circle_is_found() {
    let tree = |last: &str| {
        Tree::of(&[
            ("a/src/lib.rs", "mod b;\nmod c;\nmod d;\npub use b::B;"),
            ("a/src/b.rs", "use crate::c::C;\npub struct B;"),
            ("a/src/c.rs", "use crate::d::D;\npub struct C;"),
            ("a/src/d.rs", last),
        ])
    };
    assert_kept(&circles(&tree("pub struct D;")));
    let found = circles(&tree("use crate::B;\npub struct D;"));
    assert_found(&found, &["a circle of 3 files", "a/src/d.rs -> a/src/b.rs: B"]);
}
