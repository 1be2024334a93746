//! Edits of a text by exact passages, which tolerate other white space than the file's. Pure.

use std::ops::Range;

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Edit {
    /// The passage as it stands.
    pub(crate) old: String,
    /// What takes its place.
    pub(crate) new: String,
}

/// How many lines are shown around the place that a passage was probably meant for.
const NEAR_LINES: usize = 6;

/// `text` after all of `edits`, in order; nothing is changed if one of them is not possible.
///
/// # Errors
/// A text for the model: which edit is not possible, why, and what stands near the place that it probably meant.
pub(crate) fn edited(text: &str, edits: &[Edit]) -> Result<String, String> {
    if edits.is_empty() {
        return Err("there is nothing to replace: give old and new, or a list of edits".to_owned());
    }
    let mut text = text.to_owned();
    for (number, Edit { old, new }) in (1..).zip(edits) {
        let which = if edits.len() == 1 { String::new() } else { format!("edit {number}: ") };
        if old.trim().is_empty() {
            return Err(format!("{which}the old passage is empty; use write_file to write a whole file"));
        }
        let found = occurrence(&text, old).map_err(|why| format!("{which}{why}"))?;
        let new = with_indentation(&text[found.clone()], old, new);
        text.replace_range(found, &new);
    }
    Ok(text)
}

/// The one place of `old` in `text`: exactly, or else with other white space at the beginnings and ends of lines.
fn occurrence(text: &str, old: &str) -> Result<Range<usize>, String> {
    let places: Vec<_> = text.match_indices(old).map(|(at, _)| at..at + old.len()).collect();
    match places.as_slice() {
        [place] => return Ok(place.clone()),
        [] => {}
        several => {
            return Err(format!("the old passage occurs {} times; add lines around it to it", several.len()));
        }
    }
    let lines = lines(text);
    let wanted: Vec<_> = old.trim_matches('\n').lines().map(str::trim).collect();
    let is_same = |window: &[Range<usize>]| {
        window.iter().zip(&wanted).all(|(line, wanted)| text[line.clone()].trim() == *wanted)
    };
    let places: Vec<_> = lines.windows(wanted.len().max(1)).filter(|window| is_same(window)).collect();
    match places.as_slice() {
        [place] => {
            let begin = place.first().map_or(0, |line| line.start);
            let mut end = place.last().map_or(0, |line| line.end);
            // the line end after the passage belongs to it only if the passage has one
            if !old.ends_with('\n') {
                end = begin + text[begin..end].trim_end_matches(['\n', '\r']).len();
            }
            Ok(begin..end)
        }
        [] => Err(format!("the old passage does not occur{}", near(text, &lines, &wanted))),
        several => Err(format!(
            "the old passage occurs {} times apart from white space; add lines around it to it",
            several.len()
        )),
    }
}

/// `new` with the indentation of the passage that it replaces, if `old` was written with another one.
fn with_indentation(found: &str, old: &str, new: &str) -> String {
    let indentation = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    let (there, given) = (indentation(found), indentation(old));
    if found == old || there <= given || indentation(new) != given {
        return new.to_owned();
    }
    let more = &found[given..there];
    let lines = new.split_inclusive('\n');
    lines.map(|line| if line.trim().is_empty() { line.to_owned() } else { format!("{more}{line}") }).collect()
}

/// The lines of `text` with their ends.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            at += line.len();
            at - line.len()..at
        })
        .collect()
}

/// What stands at the place that is most like the passage.
fn near(text: &str, lines: &[Range<usize>], wanted: &[&str]) -> String {
    let likeness = |at: usize| {
        let pairs = lines[at..].iter().zip(wanted);
        pairs.filter(|(line, wanted)| !wanted.is_empty() && text[(*line).clone()].trim() == **wanted).count()
    };
    let Some(best) = (0..lines.len()).max_by_key(|at| (likeness(*at), usize::MAX - at)) else {
        return "; the file is empty".to_owned();
    };
    if likeness(best) == 0 {
        return "; read the file again".to_owned();
    }
    let end = (best + wanted.len().clamp(NEAR_LINES, 4 * NEAR_LINES)).min(lines.len());
    let shown: Vec<_> = (best..end)
        .map(|at| format!("{:>5}\t{}", at + 1, text[lines[at].clone()].trim_end_matches('\n')))
        .collect();
    format!("; this is what stands near the place that you probably mean:\n{}", shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "fn main() {\n    let x = 1;\n    let y = 2;\n}\n";

    fn edit(old: &str, new: &str) -> Edit {
        Edit { old: old.into(), new: new.into() }
    }

    #[test]
    fn passages_are_replaced_in_order() {
        let edits = [edit("x = 1", "x = 3"), edit("x = 3;\n    let y", "x = 3;\n    let z")];
        assert_eq!(edited(TEXT, &edits).unwrap(), "fn main() {\n    let x = 3;\n    let z = 2;\n}\n");
    }

    #[test]
    fn other_white_space_is_tolerated_and_the_files_indentation_is_kept() {
        let text = edited(TEXT, &[edit("let x = 1;\nlet y = 2;", "let x = 5;\nlet y = 6;")]).unwrap();
        assert_eq!(text, "fn main() {\n    let x = 5;\n    let y = 6;\n}\n");
        let text = edited(TEXT, &[edit("\tlet x = 1;  \n", "\tlet x = 7;\n")]).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(edited("a\r\nb\r\n", &[edit("a\nb", "c")]).unwrap(), "c\r\n");
    }

    #[test]
    fn an_edit_that_is_not_possible_says_why_and_what_is_near() {
        let refusals = [
            edited(TEXT, &[]),
            edited(TEXT, &[edit(" ", "x")]),
            edited(TEXT, &[edit("let", "x")]),
            edited(TEXT, &[edit("let q = 1;", "x")]),
            edited(TEXT, &[edit("x = 1", "x = 2"), edit("fn main() {\n    let x = 1;", "")]),
        ];
        insta::assert_debug_snapshot!(refusals);
    }

    proptest! {
        #[test]
        fn what_is_not_meant_stays(before in "[ab\n]{0,20}", after in "[ab\n]{0,20}", new in "[ab ]{0,8}") {
            let text = format!("{before}MARK{after}");
            prop_assert_eq!(edited(&text, &[edit("MARK", &new)]).unwrap(), format!("{before}{new}{after}"));
        }
    }
}
