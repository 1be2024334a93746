//! What the files of a crate take from each other: `use` declarations and paths, resolved to the file of the module that
//! has the item, through re-exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::rust_source::code_without_tests;
use crate::repository::tree::Tree;

/// A module by its names from the root of the crate.
type Module = Vec<String>;

/// A crate's files by their modules.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    files: BTreeMap<Module, File>,
}

#[derive(Debug)]
struct File {
    path: String,
    /// Every path that its code names, from the root of the crate.
    paths: BTreeSet<Vec<String>>,
    /// What the file re-exports: the name, and the path from the root of the crate.
    exports: Vec<(String, Vec<String>)>,
}

impl Crate {
    /// The crate whose root module is the file `root`, such as `api/src/lib.rs`. Files that are only for tests are left
    /// out.
    pub(crate) fn read(tree: &Tree, root: &str) -> Self {
        let dir = root.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut sources = BTreeMap::new();
        for (path, text) in tree.rust_files() {
            let Some(inside) = path.strip_prefix(dir).and_then(|path| path.strip_prefix('/')) else {
                continue;
            };
            let is_other_root = ["lib.rs", "main.rs"].contains(&inside) && path != root;
            if is_other_root || inside.starts_with("bin/") || inside.ends_with("tests.rs") {
                continue;
            }
            let module: Module = if path == root {
                Module::new()
            } else {
                inside.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect()
            };
            sources.insert(module, (path, text));
        }
        for module in
            sources.keys().filter(|module| is_for_tests(module, &sources)).cloned().collect::<Vec<_>>()
        {
            sources.retain(|other, _| !other.starts_with(&module));
        }
        let modules: BTreeSet<Module> = sources.keys().cloned().collect();
        let files = sources.into_iter().map(|(module, (path, text))| {
            let file = File::read(path, text, &module, &modules);
            (module, file)
        });
        Self { files: files.collect() }
    }

    /// For each file, the other files that it takes something from, with the names of what it takes. What a module takes
    /// from the modules that it stands in is not counted.
    pub(crate) fn arrows(&self) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
        let mut arrows: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for (module, file) in &self.files {
            let out = arrows.entry(&file.path).or_default();
            for path in &file.paths {
                let (owner, name) = self.resolve(path, 0);
                if !module.starts_with(owner) {
                    out.entry(&self.files[owner].path).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// The module whose file has the item at `path`, and the item's name.
    fn resolve(&self, path: &[String], depth: usize) -> (&Module, String) {
        let known = (0..=path.len()).rev().find_map(|length| self.files.get_key_value(&path[..length]));
        let (module, file) = known.expect("the root is a module");
        let Some(name) = path.get(module.len()) else { return (module, "its module".to_owned()) };
        let export = file.exports.iter().find(|(exported, _)| exported == name);
        match export {
            Some((_, target)) if depth < 8 => {
                let rest = &path[module.len() + 1..];
                self.resolve(&[target, rest].concat(), depth + 1)
            }
            Some(_) | None => (module, name.clone()),
        }
    }
}

/// Whether the module that declares it says that it is for tests.
fn is_for_tests(module: &Module, sources: &BTreeMap<Module, (&str, &str)>) -> bool {
    let Some((name, parent)) = module.split_last() else { return false };
    let Some((_, text)) = sources.get(parent) else { return false };
    ["", "pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .any(|visible| text.contains(&format!("#[cfg(test)]\n{visible}mod {name};")))
}

impl File {
    fn read(path: &str, text: &str, module: &Module, modules: &BTreeSet<Module>) -> Self {
        let code = code_without_tests(text);
        let mut file = Self { path: path.to_owned(), paths: BTreeSet::new(), exports: Vec::new() };
        for statement in declarations(&code) {
            for (names, alias) in expand(&statement.tree) {
                let Some(target) = absolute(&names, module, modules) else { continue };
                if statement.is_export
                    && let Some(name) = alias.or(target.last().cloned())
                {
                    file.exports.push((name, target.clone()));
                }
                file.paths.insert(target);
            }
        }
        for names in inline_paths(&code) {
            file.paths.extend(absolute(&names, module, modules));
        }
        file
    }
}

#[derive(Debug)]
struct Declaration {
    is_export: bool,
    tree: String,
}

/// Every `use` declaration, without spaces.
fn declarations(code: &str) -> Vec<Declaration> {
    let mut found = Vec::new();
    for piece in code.split_inclusive(';') {
        let statement = piece.trim_end_matches(';');
        let Some(at) = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].trim_end();
            before.is_empty() || before.ends_with(['}', ']', '{', ')']) || before.ends_with("pub")
        }) else {
            continue;
        };
        let visibility = statement[..at].trim_end();
        let is_export = visibility.ends_with("pub")
            || visibility.ends_with("pub(crate)")
            || visibility.ends_with("pub(super)");
        let tree = statement[at + 4..].split_whitespace().collect::<Vec<_>>().join(" ");
        found.push(Declaration { is_export, tree });
    }
    found
}

/// The paths of a tree of `use`, with the names that they get by `as`.
fn expand(tree: &str) -> Vec<(Vec<String>, Option<String>)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix: Vec<String> = segments(&tree[..open]);
        let inside = tree[open + 1..].trim_end().trim_end_matches('}');
        return split_at_commas(inside)
            .into_iter()
            .flat_map(expand)
            .map(|(names, alias)| {
                let names = names.into_iter().filter(|name| name != "self");
                (prefix.iter().cloned().chain(names).collect(), alias)
            })
            .collect();
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
    vec![(segments(path), alias)]
}

fn segments(path: &str) -> Vec<String> {
    path.split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "*")
        .map(ToOwned::to_owned)
        .collect()
}

/// The parts between commas that stand in no braces.
fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Every path in the code that begins with `crate` or `super`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_whole = !code[..at].ends_with(|letter: char| {
                letter.is_alphanumeric() || letter == '_' || letter == ':' || letter == '$'
            });
            if is_whole {
                let end = code[at..]
                    .find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
                let path = &code[at..end.map_or(code.len(), |end| at + end)];
                // the beginning of a `use` with braces, which was read already
                if !code[at + path.len()..].starts_with('{') {
                    found.push(segments(path));
                }
            }
        }
    }
    found
}

/// A path from the root of the crate, unless it leads out of the crate.
fn absolute(names: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Vec<String>> {
    let mut at = match names.first()?.as_str() {
        "crate" => return Some(names[1..].to_vec()),
        "self" => return Some([module, &names[1..]].concat()),
        "super" => module.clone(),
        child => {
            let child: Module = module.iter().cloned().chain([child.to_owned()]).collect();
            return modules.contains(&child).then(|| [module, names].concat());
        }
    };
    let ups = names.iter().take_while(|name| *name == "super").count();
    for _ in 0..ups {
        at.pop();
    }
    Some([&at, &names[ups..]].concat())
}

#[test]
fn imports_are_resolved_to_files() {
    let tree = Tree::of(&[
        ("a/src/lib.rs", "mod b;\nmod c;\n#[cfg(test)]\nmod d;\npub use c::Thing;\nstruct Root;"),
        ("a/src/b.rs", "mod inner;\nuse crate::{Thing, c::{Other as Else, self}, Root};\nuse inner::Deep;"),
        (
            "a/src/b/inner.rs",
            "use super::{Own, super::c::More};\nfn f() { crate::b::g(); crate::c::h::<u8>() }",
        ),
        ("a/src/c.rs", "pub struct Thing;\n#[cfg(test)]\nmod tests {\n use crate::b::X;\n}"),
        ("a/src/d.rs", "use crate::b::X;"),
    ]);
    let read = Crate::read(&tree, "a/src/lib.rs");
    let arrows = read.arrows();
    let of =
        |from: &str, to: &str| arrows[from].get(to).map(|names| names.iter().cloned().collect::<Vec<_>>());
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of("a/src/b.rs", "a/src/c.rs"), names(&["Other", "Thing", "its module"]));
    assert_eq!(of("a/src/b.rs", "a/src/b/inner.rs"), names(&["Deep"]));
    assert_eq!(of("a/src/b.rs", "a/src/lib.rs"), None, "a module may take from those that it stands in");
    assert_eq!(of("a/src/b/inner.rs", "a/src/b.rs"), None);
    assert_eq!(of("a/src/b/inner.rs", "a/src/c.rs"), names(&["More", "h"]));
    assert_eq!(of("a/src/c.rs", "a/src/b.rs"), None, "tests are not counted");
    assert!(!arrows.contains_key("a/src/d.rs"));
}
