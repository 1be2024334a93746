//! Rules: every recipe, script, command, option and relative link that the documents name exists.

use std::collections::BTreeSet;

use mgx_testkit::server::mgx_program;

use crate::repository::markdown::{anchor, code_lines, code_spans, headings, links};
use crate::repository::rust_source::{comments, strings};
use crate::repository::tree::{Tree, assert_found, assert_kept};

/// Recipes whose first argument is a script: `just judge NAME` runs `tests/judges/NAME.sh`.
const SCRIPTS: [(&str, &str); 2] = [("judge", "tests/judges"), ("chaos", "tests/chaos/runs")];

/// The documents: those at the root and in `docs`.
fn documents(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.files_with(".md").filter(|(path, _)| {
        !path.contains('/') || (path.starts_with("docs/") && path.matches('/').count() == 1)
    })
}

/// Every piece of code in the documents: its file and line, and the code.
fn code_of_documents(tree: &Tree) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for (path, text) in documents(tree) {
        let pieces = code_spans(text).into_iter().chain(code_lines(text));
        found.extend(pieces.map(|(line, code)| (format!("{path}:{line}"), code)));
    }
    found
}

/// Recipes that the Justfile does not have, where documents, comments, messages or scripts name them.
fn missing_recipes(tree: &Tree) -> Vec<String> {
    let recipes = recipes(tree.text("Justfile"));
    let mut named: Vec<(String, String)> =
        code_of_documents(tree).into_iter().map(|(at, code)| (at, code.to_owned())).collect();
    for (path, text) in tree.rust_files().filter(|(path, _)| !path.starts_with("tests/house/")) {
        for (line, (comment, string)) in (1..).zip(comments(text).lines().zip(strings(text).lines())) {
            let spans = comment.split('`').skip(1).step_by(2).chain(string.split('`').skip(1).step_by(2));
            named.extend(spans.map(|span| (format!("{path}:{line}"), span.to_owned())));
        }
    }
    for (path, text) in tree.files_with(".sh").chain(tree.files_with(".ci/run")) {
        let lines = (1..).zip(text.lines());
        named.extend(
            lines
                .filter(|(_, line)| !line.trim_start().starts_with('#'))
                .map(|(number, line)| (format!("{path}:{number}"), line.to_owned())),
        );
    }
    let mut found = Vec::new();
    for (at, code) in named {
        for arguments in invocations(&code, "just") {
            let Some(recipe) = arguments.first().filter(|recipe| is_name(recipe)) else { continue };
            if !recipes.contains(&**recipe) {
                found.push(format!("{at}: `just {recipe}`: the Justfile has no such recipe"));
                continue;
            }
            let script = SCRIPTS.iter().find(|(name, _)| name == recipe).zip(arguments.get(1));
            if let Some(((_, folder), name)) = script.filter(|(_, name)| is_name(name))
                && !tree.contains(&format!("{folder}/{name}.sh"))
            {
                found.push(format!("{at}: `just {recipe} {name}`: there is no {folder}/{name}.sh"));
            }
        }
        for arguments in invocations(&code, "./bootstrap.sh") {
            let Some(command) = arguments.first().filter(|command| is_name(command)) else { continue };
            let cases = tree.text("bootstrap.sh").lines().map(str::trim_start);
            if !cases.into_iter().any(|line| line.starts_with(&format!("{command})"))) {
                found.push(format!("{at}: `./bootstrap.sh {command}`: bootstrap.sh has no such command"));
            }
        }
    }
    found
}

/// The names of the recipes of a Justfile that are not private.
fn recipes(justfile: &str) -> BTreeSet<&str> {
    let mut recipes = BTreeSet::new();
    let mut is_private = false;
    for line in justfile.lines() {
        let is_head = line.starts_with(|letter: char| letter.is_ascii_lowercase())
            && line.contains(':')
            && !line.contains(":=");
        if is_head && !is_private {
            recipes.extend(line.split([' ', ':']).next());
        }
        is_private = line == "[private]";
    }
    recipes
}

/// The arguments of every call of `program` in a piece of code, up to what ends a shell command.
fn invocations(code: &str, program: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for (at, _) in code.match_indices(program) {
        let is_whole = code[..at]
            .trim_end_matches("target/bin/")
            .chars()
            .next_back()
            .is_none_or(|letter| " ;&|(".contains(letter));
        let begins = code[..at].trim_end_matches("target/bin/").trim_end();
        let is_command =
            begins.is_empty() || begins.ends_with([';', '&', '|', '(', '$']) || begins.ends_with("then");
        let rest = &code[at + program.len()..];
        if !is_whole || !is_command || !rest.starts_with(' ') {
            continue;
        }
        let end = rest.find(['#', ';', '&', '|', '>', ')']).unwrap_or(rest.len());
        calls.push(rest[..end].split_whitespace().map(ToOwned::to_owned).collect());
    }
    calls
}

fn is_name(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Commands and options of `mgx` that do not exist, where documents name them. `help_of` is what `--help` prints of a
/// command.
fn missing_commands(tree: &Tree, mut help_of: impl FnMut(&[String]) -> String) -> Vec<String> {
    let mut found = Vec::new();
    for (at, code) in code_of_documents(tree) {
        for arguments in invocations(code, "mgx") {
            if let Err(missing) = follow(&arguments, &mut help_of) {
                found.push(format!("{at}: `mgx {}`: there is no {missing}", arguments.join(" ")));
            }
        }
    }
    found
}

/// Follows the arguments through the commands; what is not there.
fn follow(arguments: &[String], mut help_of: impl FnMut(&[String]) -> String) -> Result<(), String> {
    let mut command = Vec::new();
    let mut help = Help::parse(&help_of(&command));
    for argument in arguments {
        let argument = argument.trim_matches(['[', ']', '"', '\'', ',', '.']);
        if let Some(option) = argument.strip_prefix("--").filter(|option| !option.is_empty()) {
            let name = option.split('=').next().unwrap_or_default();
            if !help.options.contains(name) {
                return Err(format!("option --{name} of mgx {}", command.join(" ")));
            }
        } else if !help.commands.is_empty() && is_name(argument) {
            if !help.commands.contains(argument) {
                return Err(format!("command {argument} of mgx {}", command.join(" ")));
            }
            command.push(argument.to_owned());
            help = Help::parse(&help_of(&command));
        }
    }
    Ok(())
}

/// What `--help` names.
#[derive(Debug, Default)]
struct Help {
    commands: BTreeSet<String>,
    options: BTreeSet<String>,
}

impl Help {
    fn parse(text: &str) -> Self {
        let (mut help, mut is_commands) = (Self::default(), false);
        for line in text.lines() {
            if !line.starts_with(' ') {
                is_commands = line == "Commands:";
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if is_commands && line.starts_with("  ") && !line.starts_with("   ") {
                help.commands.extend(words.first().map(ToString::to_string));
            }
            if is_commands && let Some((_, aliases)) = line.split_once("[alias") {
                let names = aliases.split(|letter: char| !letter.is_alphanumeric() && letter != '-');
                help.commands
                    .extend(names.filter(|name| is_name(name) && *name != "es").map(ToOwned::to_owned));
            }
            let options = words.iter().take(2).filter_map(|word| word.strip_prefix("--"));
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '-';
            help.options.extend(
                options.filter_map(|option| {
                    option.split(|letter| !is_part(letter)).next().map(ToOwned::to_owned)
                }),
            );
        }
        help
    }
}

/// What this build's `mgx` prints with `--help`.
fn real_help(command: &[String]) -> String {
    let mut mgx = std::process::Command::new(mgx_program());
    let output = mgx.args(command).arg("--help").output().expect("mgx can be started");
    String::from_utf8(output.stdout).expect("the help is text")
}

/// Relative links to files or headings that do not exist.
fn dead_links(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in documents(tree) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, link) in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) =
                link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { path.to_owned() } else { join(folder, file) };
            let anchors = headings(tree.text(&target)).into_iter().map(|(_, heading)| anchor(heading));
            if !tree.contains(&target) {
                found.push(format!("{path}:{line}: [..]({link}): there is no {target}"));
            } else if let Some(heading) = heading
                && !anchors.into_iter().any(|anchor| anchor == heading)
            {
                found.push(format!("{path}:{line}: [..]({link}): {target} has no heading #{heading}"));
            }
        }
    }
    found
}

/// A path relative to a folder.
fn join(folder: &str, path: &str) -> String {
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in path.split('/') {
        match name {
            "." | "" => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[test]
fn every_recipe_that_is_named_exists() {
    assert_kept(&missing_recipes(Tree::repository()));
}

#[test]
fn a_person_finds_no_more_than_fifteen_recipes() {
    let recipes = recipes(Tree::repository().text("Justfile"));
    assert!(!recipes.is_empty() && recipes.len() <= 15, "{recipes:?}");
}

#[test]
fn every_command_and_option_that_the_documents_name_exists() {
    assert_kept(&missing_commands(Tree::repository(), real_help));
}

#[test]
fn every_relative_link_leads_somewhere() {
    assert_kept(&dead_links(Tree::repository()));
}

#[test]
fn a_recipe_or_script_that_is_missing_is_found() {
    let justfile = "name := `x`\n[private]\ndefault:\n    x\n# Builds.\nbuild *args: other\n    cargo build\njudge name=\"\":\n    x";
    let of = |path, text| {
        let files = [
            ("Justfile", justfile),
            ("tests/judges/slow.sh", ""),
            ("bootstrap.sh", "case x in\n    test)\n"),
            (path, text),
        ];
        missing_recipes(&Tree::of(&files))
    };
    assert_kept(&of(
        "README.md",
        "`just build x`, `just judge slow`, `just judge NAME`, a just cause\n\n    ./bootstrap.sh test",
    ));
    assert_found(&of("docs/a.md", "see\n\n`just biuld`"), &["docs/a.md:3", "just biuld"]);
    assert_found(&of("README.md", "```\ncd x && just test\n```"), &["README.md:2", "just test"]);
    assert_found(&of("README.md", "`just judge fast`"), &["tests/judges/fast.sh"]);
    assert_found(&of("README.md", "`./bootstrap.sh tset`"), &["./bootstrap.sh tset"]);
    assert_found(&of("a/src/b.rs", "//! A.\n/// Made by `just runner`."), &["a/src/b.rs:2"]);
    assert_found(
        &of("a/src/b.rs", "//! A.\nconst A: &str = \"build it with `just runner`\";"),
        &["a/src/b.rs:2"],
    );
}

#[test]
fn a_command_or_option_that_is_missing_is_found() {
    let help_of = |command: &[String]| {
        let text = match command.join(" ").as_str() {
            "" => {
                "Commands:\n  bench  Measure\n  run    Work [alias: go]\n\nOptions:\n      --config <PATH>  The file"
            }
            "bench" => "Commands:\n  start  Measure\n\nOptions:\n      --config <PATH>",
            "bench start" => "Options:\n  -n, --n <N>\n      --config <PATH>",
            _ => "Options:\n      --detach\n      --config <PATH>",
        };
        text.to_owned()
    };
    let of = |text| missing_commands(&Tree::of(&[("README.md", text)]), help_of);
    assert_kept(&of(
        "`mgx run PROMPT --detach`, `mgx bench start --n 3 --config x`, `mgx go x`, `mgx` alone, `mgx.toml`",
    ));
    assert_found(&of("`mgx walk`"), &["README.md:1", "command walk"]);
    assert_found(&of("`mgx bench start --m 3`"), &["option --m of mgx bench start"]);
    assert_found(
        &of("```sh\nx=1; target/bin/mgx bench stop   # remark\n```"),
        &["README.md:2", "command stop"],
    );
}

#[test]
fn a_dead_link_is_found() {
    let of =
        |text| dead_links(&Tree::of(&[("docs/a.md", text), ("docs/b.md", "# B c\n"), ("README.md", "")]));
    assert_kept(&of("# A\n[b](b.md#b-c) [r](../README.md) [a](#a) [x](https://x.example/y)"));
    assert_found(&of("\n[c](c.md)"), &["docs/a.md:2", "docs/c.md"]);
    assert_found(&of("[b](b.md#d)"), &["no heading #d"]);
}
