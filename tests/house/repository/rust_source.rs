//! Rust source taken apart as far as the rules need it: code, comments and strings.

/// What a piece of source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Code,
    Comment,
    Text,
}

/// The code of a file, with spaces in place of comments and of what stands in strings and characters.
pub(crate) fn code(source: &str) -> String {
    keep(source, Piece::Code)
}

/// The comments of a file, with spaces in place of everything else; lines stay where they are.
pub(crate) fn comments(source: &str) -> String {
    keep(source, Piece::Comment)
}

/// What stands in the strings of a file, with spaces in place of everything else; lines stay where they are.
pub(crate) fn strings(source: &str) -> String {
    keep(source, Piece::Text)
}

/// The code without the modules that are for tests alone.
pub(crate) fn code_without_tests(source: &str) -> String {
    let mut code = code(source);
    while let Some(start) = code.find("#[cfg(test)]\nmod ") {
        let rest = &code[start..];
        let end = match (rest.find(';'), rest.find('{')) {
            (Some(semicolon), Some(brace)) if semicolon < brace => start + semicolon + 1,
            (Some(semicolon), None) => start + semicolon + 1,
            (_, Some(brace)) => start + brace + block_length(&rest[brace..]),
            (None, None) => code.len(),
        };
        code.replace_range(start..end, "");
    }
    code
}

/// The length of the block at whose opening brace `code` begins.
fn block_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn keep(source: &str, wanted: Piece) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (piece, length) = next_piece(rest);
        for letter in rest[..length].chars() {
            kept.push(if piece == wanted || letter == '\n' { letter } else { ' ' });
        }
        rest = &rest[length..];
    }
    kept
}

/// What the source begins with, and how long that is, in bytes.
fn next_piece(source: &str) -> (Piece, usize) {
    if source.starts_with("//") {
        return (Piece::Comment, source.find('\n').unwrap_or(source.len()));
    }
    if source.starts_with("/*") {
        return (Piece::Comment, source.find("*/").map_or(source.len(), |end| end + 2));
    }
    if source.starts_with('"') {
        return (Piece::Text, string_length(source));
    }
    let raw = source.strip_prefix('b').unwrap_or(source).strip_prefix('r');
    if let Some(hashes) = raw.map(|raw| raw.bytes().take_while(|byte| *byte == b'#').count())
        && raw.is_some_and(|raw| raw[hashes..].starts_with('"'))
    {
        let closing = format!("\"{}", "#".repeat(hashes));
        let opening = source.find('"').unwrap_or_default() + 1;
        let end = source[opening..].find(&closing).map_or(source.len(), |end| opening + end + closing.len());
        return (Piece::Text, end);
    }
    if let Some(length) = character_length(source) {
        return (Piece::Text, length);
    }
    // a whole word, so that the end of `for` or `br` does not open a raw string
    let word = source.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(source.len());
    (Piece::Code, word.max(source.chars().next().map_or(0, char::len_utf8)))
}

fn string_length(source: &str) -> usize {
    let mut letters = source.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    source.len()
}

/// The length of a character literal, which a lifetime is not.
fn character_length(source: &str) -> Option<usize> {
    let inside = source.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return Some(2 + inside[2..].find('\'')? + 2);
    }
    let letter = inside.chars().next()?.len_utf8();
    inside[letter..].starts_with('\'').then_some(letter + 2)
}

#[test]
fn code_comments_and_strings_are_told_apart() {
    let source =
        "let a = \"x // y\"; // says \"z\"\nlet b: &'static str = r#\"p \" q\"#; let c = '\"'; /* d */ e";
    assert_eq!(
        code(source).split_whitespace().collect::<Vec<_>>().join(" "),
        "let a = ; let b: &'static str = ; let c = ; e"
    );
    assert_eq!(comments(source).split_whitespace().collect::<Vec<_>>().join(" "), "// says \"z\" /* d */");
    assert!(
        strings(source).contains("x // y")
            && strings(source).contains("p \" q")
            && !strings(source).contains('z')
    );
}

#[test]
fn modules_for_tests_are_left_out() {
    let source = "use a::b;\n#[cfg(test)]\nmod tests {\n    fn f() { '{' }\n}\nfn g() {}\n#[cfg(test)]\nmod more;\nfn h() {}";
    let code = code_without_tests(source);
    assert!(
        code.contains("fn g()")
            && code.contains("fn h()")
            && !code.contains("fn f()")
            && !code.contains("more")
    );
}
