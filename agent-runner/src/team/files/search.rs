//! The search tool: lines of the workspace's text files that contain a text or match a regular expression.

use regex_lite::Regex;

use crate::team::files::workspace::{MAX_FILE_BYTES, ToolResult, Workspace};
use crate::team::report::reporter::cut;

/// How many lines one search finds.
const MAX_MATCHES: usize = 100;

/// How much of a line is shown, in bytes.
const MAX_LINE_BYTES: usize = 200;

/// How much text one search reads, in bytes.
const MAX_TEXT_BYTES: u64 = 32 * 1024 * 1024;

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

/// Finds `pattern` below the directory `path`.
pub(crate) fn search(workspace: &Workspace, path: &str, pattern: &str, regex: bool) -> ToolResult {
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes"));
    }
    let expression = regex.then(|| Regex::new(pattern)).transpose();
    let expression = expression.map_err(|error| format!("the regular expression is not right: {error}"))?;
    let matches = |line: &str| match &expression {
        Some(expression) => expression.is_match(line),
        None => line.contains(pattern),
    };
    let mut found = Vec::new();
    let mut left = MAX_TEXT_BYTES;
    let complete = workspace.walk(path, &mut |path, size| {
        if usize::try_from(size).is_ok_and(|size| size > MAX_FILE_BYTES) {
            return true;
        }
        left = left.saturating_sub(size);
        // a file that is no text has no lines to find
        let text = path.to_str().and_then(|path| workspace.text(path).ok()).unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| matches(line)) {
            found.push(format!("{}:{number}: {}", path.display(), cut(line.trim(), MAX_LINE_BYTES)));
            if found.len() == MAX_MATCHES {
                return false;
            }
        }
        left > 0
    })?;
    if !complete {
        found.push("… there may be more; name a directory or a longer pattern".into());
    }
    if found.is_empty() { Ok("nothing was found".into()) } else { Ok(found.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_text_and_by_regular_expression() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(directory.path()).unwrap();
        workspace.write("src/a.ts", "let x = 1;\n  let yy = 2;\n").unwrap();
        workspace.write("b.md", "a letter (x)\n").unwrap();
        workspace.write("node_modules/c.js", "let x = 3;\n").unwrap();
        std::fs::write(directory.path().join("binary"), b"let x\xFF").unwrap();
        let found = [
            search(&workspace, "", "let ", false),
            search(&workspace, "src", "(x", false),
            search(&workspace, "", "(x", true),
            search(&workspace, "", r"let \w{2} =", true),
            search(&workspace, "", "", false),
        ];
        insta::assert_debug_snapshot!(found);
        workspace.write("many", &"needle in a haystack\n".repeat(1000)).unwrap();
        let many = search(&workspace, "", "needle", false).unwrap();
        assert_eq!(many.lines().count(), MAX_MATCHES + 1);
    }
}
