//! Rule: words that were replaced by clearer ones do not come back, and a comment says who does what.

use crate::repository::rust_source::{code, comments};
use crate::repository::tree::{Tree, assert_found, assert_kept};

/// Types that the code no longer has, and what to use in their place. Only declarations count: many of these words are
/// good names of variants, and of types of other crates.
const TYPES: [(&str, &str); 17] = [
    ("Handed", "OwnershipLost"),
    ("Seat", "Allocation"),
    ("Desk", "RecoveryProgress"),
    ("Telling", "RunLogQuota"),
    ("Said", "SizedEvent"),
    ("Pace", "RunTimeEstimator"),
    ("Terms", "SchedulingOptions"),
    ("Contained", "EngineRuntime"),
    ("Deaths", "ExitWatcher"),
    ("House", "a name that says what it holds"),
    ("Hands", "OwnedContainers"),
    ("Way", "LeaderProxy"),
    ("Ear", "EventListener"),
    ("Again", "RetryPlan"),
    ("Lens", "Observed"),
    ("Fate", "PlannedJob"),
    ("Dice", "SeededRandom"),
];

/// Names that the code no longer uses, and what to use in their place.
const NAMES: [(&str, &str); 3] = [
    ("PATIENCE", "what the constant bounds, such as CONNECT_TIMEOUT"),
    ("stillborn", "startup_error"),
    ("overdraw", "acquire_unchecked"),
];

/// The keywords before the name of a new type.
const DECLARATIONS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

/// Words of comments that name nothing that a reader can point at.
const SUBJECTS: [&str; 8] =
    ["whoever", "nobody", "somebody", "anybody", "everybody", "someone", "anyone", "whomever"];

fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.rust_files().filter(|(path, _)| *path != "tests/house/words.rs") {
        for (line, text) in (1..).zip(code(text).lines()) {
            let declared = words(text).zip(words(text).skip(1));
            let declared =
                declared.filter(|(keyword, _)| DECLARATIONS.contains(keyword)).map(|(_, name)| name);
            let types = declared.filter_map(|word| TYPES.iter().find(|(name, _)| *name == word));
            let names = words(text).filter_map(|word| NAMES.iter().find(|(name, _)| *name == word));
            for (name, instead) in types.chain(names) {
                found.push(format!("{path}:{line}: `{name}` is not used any more: {instead}"));
            }
        }
        for (line, text) in (1..).zip(comments(text).lines()) {
            for word in words(text) {
                if let Some(subject) = SUBJECTS.iter().find(|subject| word.eq_ignore_ascii_case(subject)) {
                    found.push(format!(
                        "{path}:{line}: \"{subject}\" in a comment: name the one who acts: the caller, the user, the \
                         operator, the runner, the job's task, …"
                    ));
                }
            }
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

#[test]
fn replaced_words_do_not_come_back() {
    assert_kept(&violations(Tree::repository()));
}

#[test]
fn a_word_that_came_back_is_found() {
    let of = |source| violations(&Tree::of(&[("a/src/b.rs", source)]));
    assert_found(&of("//! A file.\nstruct Desk;\nstruct Desktop;"), &["a/src/b.rs:2", "RecoveryProgress"]);
    assert_found(&of("/// Whoever asks is told.\nfn f() {}"), &["a/src/b.rs:1", "whoever"]);
    assert_found(&of("//! A file.\nconst PATIENCE: u8 = 1;"), &["a/src/b.rs:2", "CONNECT_TIMEOUT"]);
    assert_kept(&of("enum Entry { Again(Seat) }"));
    assert_kept(&of("/// The caller.\nconst CLIENT: &str = \"nobody\";"));
}
