//! The tools of the team: what the model is told about each, and how a call is run.
//!
//! A wrong call becomes an error text for the model, never the end of the run.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::reply::ToolCall;
use super::search::search;
use super::workspace::{ToolResult, Workspace};

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    ListFiles,
    ReadFile,
    WriteFile,
    EditFile,
    DeleteFile,
    SearchFiles,
}

impl Tool {
    /// Every tool.
    pub(crate) const ALL: [Self; 6] = [
        Self::ListFiles,
        Self::ReadFile,
        Self::WriteFile,
        Self::EditFile,
        Self::DeleteFile,
        Self::SearchFiles,
    ];

    /// The tool called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListFiles => "list_files",
            Self::ReadFile => "read_file",
            Self::WriteFile => "write_file",
            Self::EditFile => "edit_file",
            Self::DeleteFile => "delete_file",
            Self::SearchFiles => "search_files",
        }
    }

    /// Its entry in a request's `tools`, as the chat completions API describes functions.
    pub(crate) fn definition(self) -> Value {
        let path =
            json!({ "type": "string", "description": "Path relative to the workspace, e.g. src/app.ts" });
        let text = |description: &str| json!({ "type": "string", "description": description });
        let number =
            |description: &str| json!({ "type": "integer", "minimum": 1, "description": description });
        let (description, properties, required) = match self {
            Self::ListFiles => (
                "List the files below a directory of the workspace, with their sizes. Dependencies and build \
                 output are left out.",
                json!({ "path": { "type": "string", "description": "Directory; the whole workspace if absent" } }),
                json!([]),
            ),
            Self::ReadFile => (
                "Read a text file. Long files come in parts.",
                json!({
                    "path": path,
                    "first_line": number("Line to begin with; 1 if absent"),
                    "lines": number("How many lines; as many as fit if absent"),
                }),
                json!(["path"]),
            ),
            Self::WriteFile => (
                "Write a text file, new or in place of the old one. Directories are made as needed.",
                json!({ "path": path, "content": text("The whole content of the file") }),
                json!(["path", "content"]),
            ),
            Self::EditFile => (
                "Replace one passage of a text file. The old passage must occur exactly once.",
                json!({
                    "path": path,
                    "old": text("The passage as it stands, with enough context to be unique"),
                    "new": text("What to put in its place"),
                }),
                json!(["path", "old", "new"]),
            ),
            Self::DeleteFile => {
                ("Delete a file or an empty directory.", json!({ "path": path }), json!(["path"]))
            }
            Self::SearchFiles => (
                "Find the lines of the workspace's text files that contain a text or match a regular expression.",
                json!({
                    "pattern": text("What to look for"),
                    "regex": { "type": "boolean", "description": "Whether it is a regular expression" },
                    "path": { "type": "string", "description": "Directory; the whole workspace if absent" },
                }),
                json!(["pattern"]),
            ),
        };
        let parameters = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        json!({
            "type": "function",
            "function": { "name": self.name(), "description": description, "parameters": parameters },
        })
    }

    fn run(self, workspace: &Workspace, arguments: &str) -> ToolResult {
        match self {
            Self::ListFiles => {
                let Directory { path } = parsed(arguments)?;
                workspace.list(&path)
            }
            Self::ReadFile => {
                let Read { path, first_line, lines } = parsed(arguments)?;
                workspace.read(&path, first_line.unwrap_or(1), lines)
            }
            Self::WriteFile => {
                let Write { path, content } = parsed(arguments)?;
                workspace.write(&path, &content)
            }
            Self::EditFile => {
                let Edit { path, old, new } = parsed(arguments)?;
                workspace.edit(&path, &old, &new)
            }
            Self::DeleteFile => {
                let File { path } = parsed(arguments)?;
                workspace.delete(&path)
            }
            Self::SearchFiles => {
                let Search { pattern, regex, path } = parsed(arguments)?;
                search(workspace, &path, &pattern, regex)
            }
        }
    }
}

/// Runs `call` for a role that may use the tools `allowed`.
pub(crate) fn call(workspace: &Workspace, allowed: &[Tool], call: &ToolCall) -> ToolResult {
    let Some(tool) = allowed.iter().find(|tool| tool.name() == call.name) else {
        let names: Vec<_> = allowed.iter().map(|tool| tool.name()).collect();
        return Err(format!("there is no tool {:?}; there are: {}", call.name, names.join(", ")));
    };
    tool.run(workspace, &call.arguments)
}

/// The arguments of a call; an empty text counts as an empty object.
fn parsed<T: DeserializeOwned>(arguments: &str) -> Result<T, String> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(arguments).map_err(|error| format!("the arguments are not right: {error}"))
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
struct File {
    path: String,
}

#[derive(Deserialize)]
struct Read {
    path: String,
    first_line: Option<usize>,
    lines: Option<usize>,
}

#[derive(Deserialize)]
struct Write {
    path: String,
    content: String,
}

#[derive(Deserialize)]
struct Edit {
    path: String,
    old: String,
    new: String,
}

#[derive(Deserialize)]
struct Search {
    pattern: String,
    #[serde(default)]
    regex: bool,
    #[serde(default)]
    path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_models_are_told_about_the_tools() {
        insta::assert_json_snapshot!(Tool::ALL.map(Tool::definition));
    }

    #[test]
    fn a_wrong_call_is_answered_with_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(directory.path()).unwrap();
        let answer = |name: &str, arguments: &str| {
            let wrong = ToolCall { id: "1".into(), name: name.into(), arguments: arguments.into() };
            call(&workspace, &[Tool::ListFiles, Tool::WriteFile], &wrong)
        };
        let answers = [
            answer("rm", "{}"),
            answer("read_file", r#"{"path":"x"}"#),
            answer("write_file", r#"{"path":"x""#),
            answer("write_file", r#"{"path":"x"}"#),
            answer("write_file", r#"{"path":1,"content":""}"#),
            answer("list_files", ""),
        ];
        insta::assert_debug_snapshot!(answers);
    }
}
