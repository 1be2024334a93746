//! Markdown taken apart as far as the rules need it: headings, code blocks, code spans and links.

/// The headings: their level and text.
pub(crate) fn headings(text: &str) -> Vec<(usize, &str)> {
    let lines = prose(text).into_iter().map(|(_, line)| line);
    let levelled = lines.filter_map(|line| {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        Some((level, line[level..].strip_prefix(' ')?.trim())).filter(|_| level > 0)
    });
    levelled.collect()
}

/// The code blocks, fenced or indented, each without its fences.
pub(crate) fn code_blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut last = None;
    for (number, line) in code_lines(text) {
        match blocks.last_mut().filter(|_| last.is_some_and(|last| last + 1 == number)) {
            Some(block) => *block = format!("{block}\n{line}"),
            None => blocks.push(line.to_owned()),
        }
        last = Some(number);
    }
    blocks
}

/// The lines of code blocks, by their number from one.
pub(crate) fn code_lines(text: &str) -> Vec<(usize, &str)> {
    lines(text)
        .into_iter()
        .filter(|(_, _, is_code)| *is_code)
        .map(|(number, line, _)| (number, line))
        .collect()
}

/// The code spans of the prose, by the number of their line.
pub(crate) fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut spans = Vec::new();
    for (number, line) in prose(text) {
        spans.extend(line.split('`').skip(1).step_by(2).map(|span| (number, span)));
    }
    spans
}

/// The targets of the links of the prose, by the number of their line.
pub(crate) fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        links.extend(line.split("](").skip(1).filter_map(|rest| Some((number, rest.split_once(')')?.0))));
    }
    links
}

/// How a heading is named in a link.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}

fn prose(text: &str) -> Vec<(usize, &str)> {
    lines(text)
        .into_iter()
        .filter(|(_, _, is_code)| !is_code)
        .map(|(number, line, _)| (number, line))
        .collect()
}

/// Every line but fences: its number, what it says, and whether it is code.
fn lines(text: &str) -> Vec<(usize, &str, bool)> {
    let (mut lines, mut is_fenced, mut after_blank) = (Vec::new(), false, true);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        let is_indented = !is_fenced
            && line.starts_with("    ")
            && (after_blank || lines.last().is_some_and(|(_, _, is_code)| *is_code));
        let is_code = is_fenced || is_indented;
        lines.push((number, if is_indented { &line[4..] } else { line }, is_code));
        after_blank = line.trim().is_empty();
    }
    lines
}

#[test]
fn markdown_is_taken_apart() {
    let text =
        "# A `b`\n\nsee [c](d.md#e), `just f`\n\n    just g\n\n```sh\n# no heading\njust h\n```\n## I\n";
    assert_eq!(headings(text), [(1, "A `b`"), (2, "I")]);
    assert_eq!(code_blocks(text), ["just g", "# no heading\njust h"]);
    assert_eq!(code_spans(text), [(1, "b"), (3, "just f")]);
    assert_eq!(links(text), [(3, "d.md#e")]);
    assert_eq!(anchor("What is promised, and to whom"), "what-is-promised-and-to-whom");
}
