//! The tools of the team: what the model is told about each, and how a call is run.
//!
//! A wrong call becomes an error text for the model, never the end of the run.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::files::edit::Edit;
use super::files::search::search;
use super::files::workspace::{ToolResult, Workspace};
use super::model::reply::ToolCall;
use super::model::reply::arguments::Arguments;
use super::model::reply::loose::loosened;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    ListFiles,
    FindFiles,
    ReadFile,
    SearchFiles,
    WriteFile,
    EditFile,
    RenameFile,
    DeleteFile,
    AskUser,
    SendBack,
}

impl Tool {
    /// Every tool.
    pub(crate) const ALL: [Self; 10] = [
        Self::ListFiles,
        Self::FindFiles,
        Self::ReadFile,
        Self::SearchFiles,
        Self::WriteFile,
        Self::EditFile,
        Self::RenameFile,
        Self::DeleteFile,
        Self::AskUser,
        Self::SendBack,
    ];

    /// The tool called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ListFiles => "list_files",
            Self::FindFiles => "find_files",
            Self::ReadFile => "read_file",
            Self::SearchFiles => "search_files",
            Self::WriteFile => "write_file",
            Self::EditFile => "edit_file",
            Self::RenameFile => "rename_file",
            Self::DeleteFile => "delete_file",
            Self::AskUser => "ask_user",
            Self::SendBack => "send_back",
        }
    }

    /// Whether it changes files of the workspace.
    pub(crate) fn changes_files(self) -> bool {
        match self {
            Self::WriteFile | Self::EditFile | Self::RenameFile | Self::DeleteFile => true,
            Self::ListFiles
            | Self::FindFiles
            | Self::ReadFile
            | Self::SearchFiles
            | Self::AskUser
            | Self::SendBack => false,
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
                "Read a text file, each line with its number and a tab before it. Long files come in parts.",
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
                "Replace passages of a text file: one with old and new, or several at once with edits. Each old passage \
                 must occur exactly once; without the line numbers that read_file shows. All edits are made, or none.",
                json!({
                    "path": path,
                    "old": text("The passage as it stands, with enough context to be unique"),
                    "new": text("What to put in its place"),
                    "edits": {
                        "type": "array",
                        "description": "Several edits, in order",
                        "items": {
                            "type": "object",
                            "properties": { "old": { "type": "string" }, "new": { "type": "string" } },
                            "required": ["old", "new"],
                        },
                    },
                }),
                json!(["path"]),
            ),
            Self::RenameFile => (
                "Rename or move a file or a directory. Directories are made as needed.",
                json!({ "path": path, "to": text("The new path") }),
                json!(["path", "to"]),
            ),
            Self::FindFiles => (
                "Find files by their path.",
                json!({ "pattern": text("A glob, such as src/**/*.tsx or *.{css,scss}") }),
                json!(["pattern"]),
            ),
            Self::AskUser => (
                "Ask the user a question that the work cannot go on without. The run ends with it, and goes on with the \
                 user's answer. Ask rarely, and everything at once.",
                json!({ "question": text("The question, with the choices if there are some") }),
                json!(["question"]),
            ),
            Self::SendBack => (
                "Send the work back to the engineer, who mends the defects; then you check again.",
                json!({ "findings": text("Every defect: the file, what happens, and what should happen") }),
                json!(["findings"]),
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

    fn run(self, workspace: &Workspace, arguments: Value) -> ToolResult {
        match self {
            Self::ListFiles => {
                let Directory { path } = parsed(arguments)?;
                workspace.list(&path)
            }
            Self::FindFiles => {
                let Find { pattern } = parsed(arguments)?;
                workspace.find(&pattern)
            }
            Self::ReadFile => {
                let Read { path, first_line, lines } = parsed(arguments)?;
                workspace.read(&path, first_line.unwrap_or(1), lines)
            }
            Self::SearchFiles => {
                let Search { pattern, regex, path } = parsed(arguments)?;
                search(workspace, &path, &pattern, regex)
            }
            Self::WriteFile => {
                let Write { path, content } = parsed(arguments)?;
                workspace.write(&path, &content)
            }
            Self::EditFile => {
                let EditFile { path, old, new, mut edits } = parsed(arguments)?;
                if let Some(old) = old {
                    let new = new.ok_or("new is missing; give an empty text to delete the passage")?;
                    edits.insert(0, Edit { old, new });
                }
                workspace.edit(&path, &edits)
            }
            Self::RenameFile => {
                let Rename { path, to } = parsed(arguments)?;
                workspace.rename(&path, &to)
            }
            Self::DeleteFile => {
                let File { path } = parsed(arguments)?;
                workspace.delete(&path)
            }
            Self::AskUser => {
                let Ask { question } = parsed(arguments)?;
                said(question, "a question")
            }
            Self::SendBack => {
                let Findings { findings } = parsed(arguments)?;
                said(findings, "findings")
            }
        }
    }
}

/// A text that ends the role, which must say something.
fn said(text: String, what: &str) -> ToolResult {
    if text.trim().is_empty() { Err(format!("{what} must not be empty")) } else { Ok(text) }
}

/// Runs `call` for a role that may use the tools `allowed`.
pub(crate) fn call(workspace: &Workspace, allowed: &[Tool], call: &ToolCall) -> ToolResult {
    let Some(tool) = allowed.iter().find(|tool| tool.name() == call.name) else {
        let names: Vec<_> = allowed.iter().map(|tool| tool.name()).collect();
        return Err(format!("there is no tool {:?}; there are: {}", call.name, names.join(", ")));
    };
    let arguments = match &call.arguments {
        Arguments::Object { value, .. } => loosened(value, &tool.definition()["function"]["parameters"]),
        Arguments::Invalid { why, .. } => {
            return Err(format!("the arguments are not right: {why}. Give them as one JSON object"));
        }
        Arguments::Cut { .. } => {
            return Err(
                "your reply was cut at the token limit in the middle of this call, so it was not run. Write smaller \
                 pieces: a short file first, then add to it with edit_file"
                    .to_owned(),
            );
        }
    };
    tool.run(workspace, arguments)
}

/// The arguments of a call.
fn parsed<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("the arguments are not right: {error}"))
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
struct EditFile {
    path: String,
    old: Option<String>,
    new: Option<String>,
    #[serde(default)]
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
struct Rename {
    path: String,
    to: String,
}

#[derive(Deserialize)]
struct Find {
    pattern: String,
}

#[derive(Deserialize)]
struct Ask {
    question: String,
}

#[derive(Deserialize)]
struct Findings {
    findings: String,
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
            let wrong = ToolCall {
                id: "1".into(),
                name: name.into(),
                arguments: Arguments::read(arguments, false),
                provider_fields: serde_json::Map::new(),
            };
            call(&workspace, &[Tool::ListFiles, Tool::WriteFile], &wrong)
        };
        let answers = [
            answer("rm", "{}"),
            answer("read_file", r#"{"path":"x"}"#),
            answer("write_file", r#"{"path" "x""#),
            answer("write_file", r#"{"path":"x"}"#),
            answer("write_file", r#"{"path":["a"],"content":true,"mode":1}"#),
            answer("list_files", ""),
        ];
        insta::assert_debug_snapshot!(answers);
    }
}
