//! What follows a reply of the model: whether the role's work is done, or what the model has to be told. Pure.

use super::model::reply::{FinishReason, Reply};
use super::tools::Tool;

/// How often a reply that was cut at the token limit is continued.
const MAX_CONTINUATIONS: u32 = 3;

/// How often calls may be cut at the token limit.
pub(crate) const MAX_CUT_CALLS: u32 = 3;

/// The answer with which the engineer says that a request asks for no change.
const NO_CHANGE: &str = "no change needed";

/// What follows a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AfterReply {
    /// Its calls are run.
    UseTools,
    /// The role has finished.
    Done,
    /// The reply was cut at the token limit: the model is told to go on, and the text counts.
    GoOn(&'static str),
    /// The model is told what is missing.
    Nudge(&'static str),
    /// The role cannot finish.
    Fail {
        /// The value of `error_type` in its event.
        kind: &'static str,
        /// What happened, and what can be done.
        why: String,
    },
}

/// Judges the replies of one role.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    is_engineer: bool,
    /// Whether the request asks for a change of the app, if the router has said so.
    is_change_asked: Option<bool>,
    has_changed: bool,
    continuations: u32,
    cut_calls: u32,
    /// What the model was told last without having called a tool since.
    nudged: Option<Fault>,
}

/// What is wrong with a reply without calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Empty,
    ReasoningOnly,
    CallsMissing,
    CallUnread,
    Filtered,
    Announced,
    NothingChanged,
}

impl Judge {
    pub(crate) fn new(role: &str, is_change_asked: Option<bool>) -> Self {
        Self {
            is_engineer: role == super::ENGINEER,
            is_change_asked,
            has_changed: false,
            continuations: 0,
            cut_calls: 0,
            nudged: None,
        }
    }

    /// Notes that a tool was used.
    pub(crate) fn used(&mut self, tool: Option<Tool>, success: bool) {
        self.nudged = None;
        self.has_changed |= success && tool.is_some_and(Tool::changes_files);
        if success && tool.is_some_and(Tool::changes_files) {
            self.cut_calls = 0;
        }
    }

    /// Notes that a call was cut at the token limit.
    pub(crate) fn cut(&mut self) {
        self.cut_calls += 1;
    }

    /// How many calls in a row were cut.
    pub(crate) fn cut_calls(&self) -> u32 {
        self.cut_calls
    }

    /// What follows `reply` of a role that has these `tools`.
    pub(crate) fn after(&mut self, reply: &Reply, tools: &[Tool]) -> AfterReply {
        if !reply.calls.is_empty() {
            return AfterReply::UseTools;
        }
        if reply.finish == FinishReason::Length {
            self.continuations += 1;
            if self.continuations > MAX_CONTINUATIONS {
                let why = format!(
                    "the model's reply was cut at the provider's token limit (finish_reason length), also after \
                     {MAX_CONTINUATIONS} continuations; raise llm.max_tokens or use a model with longer replies"
                );
                return AfterReply::Fail { kind: "reply_cut", why };
            }
            return AfterReply::GoOn(if reply.content.trim().is_empty() {
                "Your reply was cut at the token limit before you said anything. Think shorter, and answer or call a tool."
            } else {
                "Your reply was cut at the token limit. Go on exactly where it stopped, without repeating anything."
            });
        }
        let Some(fault) = self.fault(reply, tools) else { return AfterReply::Done };
        if fault == Fault::Announced && self.nudged == Some(Fault::Announced) && !self.lacks_change(reply) {
            return AfterReply::Done;
        }
        if fault == Fault::NothingChanged && self.nudged == Some(fault) && says_no_change(reply) {
            return AfterReply::Done;
        }
        if self.nudged.is_some() {
            return AfterReply::Fail { kind: fault.kind(), why: fault.failure(reply) };
        }
        self.nudged = Some(fault);
        AfterReply::Nudge(fault.nudge())
    }

    fn fault(&self, reply: &Reply, tools: &[Tool]) -> Option<Fault> {
        let content = reply.content.trim();
        if reply.finish == FinishReason::ContentFilter {
            Some(Fault::Filtered)
        } else if reply.has_unread_call {
            Some(Fault::CallUnread)
        } else if reply.finish == FinishReason::ToolCalls && !tools.is_empty() {
            Some(Fault::CallsMissing)
        } else if content.is_empty() && !reply.reasoning.trim().is_empty() {
            Some(Fault::ReasoningOnly)
        } else if content.is_empty() {
            Some(Fault::Empty)
        } else if tools.iter().any(|tool| tool.changes_files()) && announces(content) {
            Some(Fault::Announced)
        } else if self.lacks_change(reply) && tools.iter().any(|tool| tool.changes_files()) {
            Some(Fault::NothingChanged)
        } else {
            None
        }
    }

    /// Whether the engineer has changed nothing although the request may ask for a change.
    fn lacks_change(&self, reply: &Reply) -> bool {
        let is_fine = match self.is_change_asked {
            Some(false) => true,
            // the model is asked once more if the router sees a change where it sees none
            Some(true) => false,
            None => says_no_change(reply),
        };
        self.is_engineer && !self.has_changed && !is_fine
    }
}

impl Fault {
    fn nudge(self) -> &'static str {
        match self {
            Self::Empty => {
                "Your reply was empty. Go on with the task: call a tool, or say what you have done."
            }
            Self::ReasoningOnly => {
                "You thought, and then said nothing. Go on with the task: call a tool, or say what you have done."
            }
            Self::CallsMissing => {
                "You wanted to call a tool, but no call has arrived. Make the call again, as a tool call of the API."
            }
            Self::CallUnread => {
                "Your reply holds a tool call written as text, which cannot be read. Make the call again, as a tool call \
                 of the API, with its arguments as one JSON object."
            }
            Self::Filtered => {
                "Your reply was ended by the provider's content filter. Go on with the task without that passage."
            }
            Self::Announced => {
                "You said what you will do and did not do it. Do it now with the tools; if all is done, say what you have \
                 done."
            }
            Self::NothingChanged => {
                "No file was changed. If the request asks for a change of the app, make it now with the tools. If it does \
                 not, because it is a question, answer it again and begin your answer with the words: No change needed."
            }
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Empty | Self::ReasoningOnly => "empty_reply",
            Self::CallsMissing | Self::CallUnread => "no_tool_parser",
            Self::Filtered => "content_filter",
            Self::Announced | Self::NothingChanged => "nothing_changed",
        }
    }

    fn failure(self, reply: &Reply) -> String {
        match self {
            Self::Empty => "the model answered with an empty reply, also when it was asked again; nothing was done since. \
                            Try again, or another model"
                .to_owned(),
            Self::ReasoningOnly => "the model only sent its reasoning and then nothing, also when it was asked again. Try \
                                    again, a lower agents.roles.<name>.effort, or another model"
                .to_owned(),
            Self::CallsMissing | Self::CallUnread => {
                "the model wants to call a tool, but its provider delivers no call that can be read: it seems to serve the \
                 model without a tool parser. The operator can switch it on (vLLM: --enable-auto-tool-choice \
                 --tool-call-parser; llama.cpp: --jinja) or choose another model"
                    .to_owned()
            }
            Self::Filtered => "the provider's content filter ended the model's reply (finish_reason content_filter), also \
                               when it was asked again. Reword the request, or use another provider"
                .to_owned(),
            Self::Announced => {
                "the model announced what it would do, and did not do it, also when it was asked again; no file was changed"
                    .to_owned()
            }
            Self::NothingChanged => {
                let end = reply.content.floor_char_boundary(300);
                format!(
                    "the model says that it is done, but changed no file, also when it was asked again. It said: {}",
                    reply.content[..end].trim()
                )
            }
        }
    }
}

/// Whether the engineer says that the request asks for no change.
fn says_no_change(reply: &Reply) -> bool {
    reply.content.trim_start().to_lowercase().starts_with(NO_CHANGE)
}

/// Whether a text ends with what its writer will do next.
fn announces(content: &str) -> bool {
    let last = content.trim_end_matches(['*', '`', ' ', '\n']);
    let sentence = last.rsplit(['\n', '.', '!', '?', '。', '！']).find(|part| !part.trim().is_empty());
    let sentence = sentence.unwrap_or(last).trim().to_lowercase();
    let intends = [
        "let me ",
        "i will now",
        "i'll now",
        "now i'll",
        "now i will",
        "now let me",
        "next, i'll",
        "next, i will",
        "i'll start",
        "i will start",
        "i'm going to",
        "i am going to",
        "let's ",
        "我现在",
        "接下来我",
        "让我",
        "我将",
        "现在开始",
    ]
    .iter()
    .any(|words| sentence.starts_with(words) || sentence.contains(&format!(" {words}")));
    let ends_open = last.ends_with([':', '：', '…']) || last.ends_with("...");
    // an offer such as "let me know" is no announcement
    intends && !sentence.contains("let me know") && (ends_open || !last.ends_with('?'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &[Tool] = &[Tool::WriteFile];

    fn reply(content: &str, finish: FinishReason) -> Reply {
        Reply { content: content.into(), finish, ..Reply::default() }
    }

    /// What follows the same reply, asked again and again.
    fn verdicts(role: &str, reply: &Reply) -> Vec<String> {
        let mut judge = Judge::new(role, None);
        let mut all = Vec::new();
        loop {
            let after = judge.after(reply, TOOLS);
            let (name, is_last) = match after {
                AfterReply::UseTools => ("tools".to_owned(), true),
                AfterReply::Done => ("done".to_owned(), true),
                AfterReply::GoOn(_) => ("go on".to_owned(), false),
                AfterReply::Nudge(_) => ("nudge".to_owned(), false),
                AfterReply::Fail { kind, .. } => (kind.to_owned(), true),
            };
            all.push(name);
            if is_last {
                return all;
            }
        }
    }

    #[test]
    fn a_reply_that_does_nothing_leads_to_one_nudge_and_then_to_a_failure() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        for (content, finish, expected) in [
            ("", Stop, &["nudge", "empty_reply"][..]),
            ("I will write.", ToolCalls, &["nudge", "no_tool_parser"]),
            ("Sure, here", ContentFilter, &["nudge", "content_filter"]),
            ("Great! Let me now create the page in app/page.tsx:", Stop, &["nudge", "nothing_changed"]),
            ("Done.", Stop, &["nudge", "nothing_changed"]),
            ("No change needed. The menu is drawn by Menu.tsx.", Stop, &["done"]),
            ("The page will have", Length, &["go on", "go on", "go on", "reply_cut"]),
        ] {
            assert_eq!(verdicts("engineer", &reply(content, finish)), expected, "{content}");
        }
        let thinking = Reply { reasoning: "hm".into(), ..reply("", Stop) };
        assert_eq!(verdicts("qa", &thinking), ["nudge", "empty_reply"]);
        assert_eq!(verdicts("architect", &reply("Use one page.", Stop)), ["done"]);
        let unread = Reply { has_unread_call: true, ..reply("<tool_call>", Stop) };
        assert_eq!(verdicts("qa", &unread), ["nudge", "no_tool_parser"]);
    }

    #[test]
    fn an_engineer_that_has_changed_something_may_end() {
        let mut judge = Judge::new("engineer", None);
        judge.used(Some(Tool::WriteFile), false);
        assert!(matches!(judge.after(&reply("Done.", FinishReason::Stop), TOOLS), AfterReply::Nudge(_)));
        judge.used(Some(Tool::WriteFile), true);
        assert_eq!(judge.after(&reply("Done.", FinishReason::Stop), TOOLS), AfterReply::Done);
        let mut asked = Judge::new("engineer", Some(false));
        assert_eq!(asked.after(&reply("It is in Menu.tsx.", FinishReason::Stop), TOOLS), AfterReply::Done);
    }

    #[test]
    fn an_announcement_is_told_from_a_summary() {
        for text in
            ["I have all I need. Let me now create the page:", "Now I'll write the tests.", "让我创建页面："]
        {
            assert!(announces(text), "{text}");
        }
        for text in [
            "The page is written.",
            "It has a hero and a menu. Let me know if you want more.",
            "Files:\n- a.txt",
        ] {
            assert!(!announces(text), "{text}");
        }
    }
}
