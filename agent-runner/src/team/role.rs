//! One role of the team: asks the model, runs the tools that it calls, and asks again until its work is done.

use std::fmt::Write;
use std::io;

use mgx_protocol::{EventKind, MessageRole, Role};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::begun::{is_final, reply_data, reply_of};
use super::memory;
use super::model::error::LlmError;
use super::model::reply::arguments::Arguments;
use super::model::reply::{Reply, ToolCall, Usage, tool_result_message};
use super::model::retry::Retries;
use super::progress::{Progress, Stuck};
use super::report::deltas::Deltas;
use super::team_context::{RoleEnd, RoleOutput, TeamContext, request};
use super::tools::{Tool, call};
use super::verdict::{AfterReply, Judge, MAX_CUT_CALLS};

/// What a role is told that goes on after a reply which ended an earlier job.
const GO_ON: &str =
    "Your last reply did not end the task. Go on with it: call a tool, or say what you have done.";

/// How often a request is shortened because the provider says that it is too long.
const MAX_SHORTENINGS: u32 = 3;

/// Why a role could not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// The model gave no reply.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// The role used up its model calls.
    #[error("it did not finish within {0} model calls (agents.max_turns); what it has written is kept")]
    Turns(u32),
    /// The model did not do its work.
    #[error("{why}")]
    Unfinished {
        /// The value of `error_type` in its event.
        kind: &'static str,
        /// What happened, and what can be done.
        why: String,
    },
}

impl From<io::Error> for RoleError {
    fn from(error: io::Error) -> Self {
        Self::Llm(LlmError::Report(error))
    }
}

impl RoleError {
    /// The value of `error_type` in its event.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Llm(error) => error.kind(),
            Self::Turns(_) => "max_turns",
            Self::Unfinished { kind, .. } => kind,
        }
    }
}

/// The work of one role.
struct Work {
    tools: Vec<Tool>,
    messages: Vec<Value>,
    judge: Judge,
    progress: Progress,
    usage: Usage,
    /// Text of replies that were cut at the limit, before their continuation.
    text: String,
}

impl TeamContext {
    /// Runs `role`, after the roles whose output is `earlier`.
    ///
    /// # Errors
    /// The role could not finish.
    pub(crate) async fn run_role(
        &mut self,
        role: &Role,
        earlier: &[RoleOutput],
    ) -> Result<RoleOutput, RoleError> {
        let mut work = Work {
            tools: role.tools.iter().filter_map(|name| Tool::named(name)).collect(),
            messages: memory::opening(self, role, earlier),
            judge: Judge::new(&role.name, self.is_change_asked),
            progress: Progress::default(),
            usage: Usage::default(),
            text: String::new(),
        };
        if let Some(output) = self.take_up(role, &mut work).await? {
            return Ok(output);
        }
        for _ in 0..self.max_turns {
            let reply = self.ask(role, &mut work).await?;
            work.usage = work.usage.plus(reply.usage);
            let after = work.judge.after(&reply, &work.tools);
            let is_final = matches!(after, AfterReply::Done);
            let mut data = reply_data(&reply, is_final);
            if is_final {
                // whole, for the jobs that come after
                data["content"] = json!(format!("{}{}", work.text, reply.content));
            }
            self.report.event(&EventKind::MessageComplete, &role.name, data).await?;
            work.messages.push(reply.message());
            match after {
                AfterReply::Done => return Ok(work.output(role, RoleEnd::Done, &reply.content)),
                AfterReply::UseTools => {
                    if let Some(output) = self.use_tools(role, &mut work, &reply, &[]).await? {
                        return Ok(output);
                    }
                }
                AfterReply::GoOn(text) => {
                    work.text.push_str(&reply.content);
                    self.nudge(role, &mut work, text).await?;
                }
                AfterReply::Nudge(text) => self.nudge(role, &mut work, text).await?,
                AfterReply::Fail { kind, why } => return Err(RoleError::Unfinished { kind, why }),
            }
        }
        Err(RoleError::Turns(self.max_turns))
    }

    /// Goes on from the messages that an earlier attempt has stored; the output, if the role had ended already.
    async fn take_up(&mut self, role: &Role, work: &mut Work) -> Result<Option<RoleOutput>, RoleError> {
        let stored = self.begun.take(&role.name);
        let mut open: Option<(Reply, Vec<String>)> = None;
        let mut ended = None;
        for message in &stored {
            match message.role {
                MessageRole::Assistant => {
                    let reply = reply_of(message);
                    work.messages.push(reply.message());
                    if is_final(message) {
                        work.text.clear();
                        return Ok(Some(work.output(role, RoleEnd::Done, &message.content)));
                    }
                    // what it was told about this reply is stored after it; here it counts only
                    work.judge.after(&reply, &work.tools);
                    if reply.calls.is_empty() && message.metadata.get("finish") == Some(&json!("length")) {
                        work.text.push_str(&message.content);
                    }
                    open = (!reply.calls.is_empty()).then_some((reply, Vec::new()));
                }
                MessageRole::Tool => {
                    let id = message.tool_call_id.clone().unwrap_or_default();
                    work.messages.push(tool_result_message(&id, &message.content));
                    let Some((reply, answered)) = &mut open else { continue };
                    if let Some(call) = reply.calls.iter().find(|call| call.id == id) {
                        let is_error = message.metadata.get("success") == Some(&Value::Bool(false));
                        work.judge.used(Tool::named(&call.name), !is_error);
                        work.progress.add(call, &message.content, !is_error);
                        if let Some(end) = end_of(Tool::named(&call.name), !is_error) {
                            ended.get_or_insert((end, message.content.clone()));
                        }
                    }
                    answered.push(id);
                }
                MessageRole::User | MessageRole::System => {
                    work.messages.push(json!({ "role": "user", "content": message.content }));
                    open = None;
                }
            }
        }
        let ended = ended.map(|(end, text)| work.output(role, end, &text));
        match open {
            Some((reply, answered)) if answered.len() < reply.calls.len() => {
                let more = self.use_tools(role, work, &reply, &answered).await?;
                Ok(ended.or(more))
            }
            Some(_) | None if ended.is_some() => Ok(ended),
            Some(_) | None => {
                let ends_with_reply = work.messages.last().is_some_and(|last| last["role"] == "assistant");
                if ends_with_reply {
                    self.nudge(role, work, GO_ON).await?;
                }
                Ok(None)
            }
        }
    }

    /// Asks the model for its next reply, with a request that fits into its context.
    async fn ask(&mut self, role: &Role, work: &mut Work) -> Result<Reply, RoleError> {
        let mut shortenings = 0;
        loop {
            if let Some(shortened) = self.contexts.of(&role.model).fit(&mut work.messages) {
                self.report.event(&EventKind::ContextShortened, &role.name, shortened).await?;
            }
            let request = request(role, &work.messages, &work.tools);
            let retries = Retries::new(self.retry);
            let mut deltas = Deltas::of(&mut self.report, &role.name);
            match self.client.turn(&role.name, &request, retries, &mut self.ids, &mut deltas).await {
                Ok(reply) => {
                    self.contexts.of(&role.model).observe(&work.messages, reply.usage.prompt_tokens);
                    return Ok(reply);
                }
                Err(error) if error.is_context_too_long() && shortenings < MAX_SHORTENINGS => {
                    shortenings += 1;
                    self.contexts.of(&role.model).refused(&work.messages, &error.to_string());
                    // a request that cannot be shortened would only be refused again
                    let Some(shortened) = self.contexts.of(&role.model).fit(&mut work.messages) else {
                        return Err(error.into());
                    };
                    self.report.event(&EventKind::ContextShortened, &role.name, shortened).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Runs the calls of a reply but those that are `answered` already; the output, if one of them ends the role.
    async fn use_tools(
        &mut self,
        role: &Role,
        work: &mut Work,
        reply: &Reply,
        answered: &[String],
    ) -> Result<Option<RoleOutput>, RoleError> {
        let last = reply.calls.last().map(|call| call.id.clone());
        let mut end = None;
        for call in reply.calls.iter().filter(|call| !answered.contains(&call.id)) {
            let (success, mut result) = self.use_tool(&role.name, work, call).await?;
            if Some(&call.id) == last.as_ref() && reply.calls_left_out > 0 {
                // writing into a String cannot fail
                write!(
                    result,
                    "\n({} more calls of your reply were not run: at most {} in one reply; make them again)",
                    reply.calls_left_out,
                    reply.calls.len()
                )
                .ok();
            }
            let stuck = work.progress.add(call, &result, success);
            if let Some(Stuck::Warn(warning)) = &stuck {
                result = format!("{result}\n\n{warning}");
            }
            let mut data = json!({
                "role": "tool",
                "content": result,
                "tool_call_id": call.id,
                "metadata": { "success": success },
            });
            if end_of(Tool::named(&call.name), success) == Some(RoleEnd::Question) {
                data["metadata"]["question"] = json!(true);
            }
            self.report.event(&EventKind::MessageComplete, &role.name, data).await?;
            work.messages.push(tool_result_message(&call.id, &result));
            if let Some(Stuck::Stop(why)) = stuck {
                return Err(RoleError::Unfinished { kind: "stuck", why });
            }
            if let Some(ended) = end_of(Tool::named(&call.name), success) {
                end.get_or_insert(work.output(role, ended, &result));
            }
        }
        if work.judge.cut_calls() >= MAX_CUT_CALLS {
            let why = format!(
                "the model's calls were cut at the provider's token limit {MAX_CUT_CALLS} times (finish_reason length); \
                 raise llm.max_tokens or use a model with longer replies"
            );
            return Err(RoleError::Unfinished { kind: "reply_cut", why });
        }
        Ok(end)
    }

    /// Tells the model to go on, and stores that, so that another attempt sees the same conversation.
    async fn nudge(&mut self, role: &Role, work: &mut Work, text: &str) -> io::Result<()> {
        let data = json!({ "role": "user", "content": text, "metadata": { "from": "team" } });
        self.report.event(&EventKind::MessageComplete, &role.name, data).await?;
        work.messages.push(json!({ "role": "user", "content": text }));
        Ok(())
    }

    /// Runs one tool call and reports it; whether it succeeded, and the text for the model.
    async fn use_tool(
        &mut self,
        role: &str,
        work: &mut Work,
        wanted: &ToolCall,
    ) -> io::Result<(bool, String)> {
        let ToolCall { id, name, .. } = wanted;
        let args = wanted.arguments.value();
        let start = json!({ "tool_call_id": id, "tool_name": name, "tool_args": args });
        self.report.event(&EventKind::ToolStart, role, start).await?;
        let began = Instant::now();
        let outcome = call(&self.workspace, &work.tools, wanted);
        work.judge.used(Tool::named(name), outcome.is_ok());
        if matches!(wanted.arguments, Arguments::Cut { .. }) {
            work.judge.cut();
        }
        let (success, result) = match &outcome {
            Ok(result) => (true, result.clone()),
            Err(error) => (false, format!("error: {error}")),
        };
        let mut end = json!({
            "tool_call_id": id,
            "tool_name": name,
            "success": success,
            "tool_result": result,
            "duration_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if let Err(error) = &outcome {
            end["error"] = json!(error);
        }
        self.report.event(&EventKind::ToolEnd, role, end).await?;
        Ok((success, result))
    }
}

impl Work {
    fn output(&self, role: &Role, end: RoleEnd, message: &str) -> RoleOutput {
        let message = format!("{}{message}", self.text);
        RoleOutput { role: role.name.clone(), message, end, usage: self.usage }
    }
}

/// How the role ends after a successful call of `tool`, if it does.
fn end_of(tool: Option<Tool>, success: bool) -> Option<RoleEnd> {
    match tool? {
        Tool::AskUser if success => Some(RoleEnd::Question),
        Tool::SendBack if success => Some(RoleEnd::SentBack),
        Tool::AskUser
        | Tool::SendBack
        | Tool::ListFiles
        | Tool::FindFiles
        | Tool::ReadFile
        | Tool::WriteFile
        | Tool::EditFile
        | Tool::RenameFile
        | Tool::DeleteFile
        | Tool::SearchFiles => None,
    }
}
