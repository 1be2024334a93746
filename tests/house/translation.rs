//! Rule: `README.zh.md` has the headings and the code blocks of `README.md`.

use crate::repository::markdown::{code_blocks, headings};
use crate::repository::tree::{Tree, assert_found, assert_kept};

fn violations(tree: &Tree) -> Vec<String> {
    let (original, translated) = (tree.text("README.md"), tree.text("README.zh.md"));
    let levels = |text| headings(text).into_iter().map(|(level, _)| level).collect::<Vec<_>>();
    let mut found = Vec::new();
    if levels(original) != levels(translated) {
        found.push(format!(
            "README.zh.md: its headings have the levels {:?}, those of README.md {:?}: translate what was added or removed",
            levels(translated),
            levels(original)
        ));
    }
    let (blocks, translated) = (code_blocks(original), code_blocks(translated));
    for number in 0..blocks.len().max(translated.len()) {
        if blocks.get(number) != translated.get(number) {
            found.push(format!(
                "README.zh.md: its code block {} differs from that of README.md: copy it from there\n{:?}\n{:?}",
                number + 1,
                translated.get(number),
                blocks.get(number)
            ));
            break;
        }
    }
    found
}

#[test]
fn the_chinese_readme_corresponds_to_the_english_one() {
    assert!(!Tree::repository().text("README.zh.md").is_empty(), "README.zh.md is missing");
    assert_kept(&violations(Tree::repository()));
}

#[test]
fn a_translation_that_is_behind_is_found() {
    let english = "# A\n\ntext\n\n## B\n\n```sh\n# no heading\njust up\n```\n";
    let of = |chinese| violations(&Tree::of(&[("README.md", english), ("README.zh.md", chinese)]));
    assert_kept(&of("# 甲\n\n## 乙\n\n```sh\n# no heading\njust up\n```\n"));
    assert_found(&of("# 甲\n\n```sh\n# no heading\njust up\n```\n"), &["headings"]);
    assert_found(&of("# 甲\n\n## 乙\n\n```sh\n# no heading\njust down\n```\n"), &["code block 1"]);
    assert_found(&of("# 甲\n\n## 乙\n"), &["code block 1"]);
}
