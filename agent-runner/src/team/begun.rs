//! What this job has stored already, when it goes on in a new attempt: its messages, taken by the roles in their order.

use std::collections::VecDeque;

use mgx_protocol::{Message, MessageRole};
use serde_json::{Map, Value, json};

use super::model::reply::arguments::Arguments;
use super::model::reply::{CallIds, FinishReason, Reply, ToolCall};

/// The key in a message's `metadata` of the last message of a role.
const FINAL: &str = "final";

/// The messages that the roles of this attempt have not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Begun(VecDeque<Message>);

impl Begun {
    /// The team's messages among `messages`, oldest first; the ids of their calls are marked as used.
    pub(crate) fn new(messages: Vec<Message>, ids: &mut CallIds) -> Self {
        for call in messages.iter().flat_map(|message| &message.tool_calls) {
            ids.add(&call.id);
        }
        // the user's prompt is in the environment, and a summary counts for all roles
        Self(
            messages
                .into_iter()
                .filter(|message| message.agent.is_some() && message.role != MessageRole::System)
                .collect(),
        )
    }

    /// The messages with which `agent` has begun its work, up to its end if it has ended.
    pub(crate) fn take(&mut self, agent: &str) -> Vec<Message> {
        let mut taken = Vec::new();
        while self.0.front().is_some_and(|message| message.agent.as_deref() == Some(agent)) {
            let Some(message) = self.0.pop_front() else { break };
            let is_last = is_final(&message);
            taken.push(message);
            if is_last {
                break;
            }
        }
        taken
    }
}

/// Whether `message` is the last one of a role.
pub(crate) fn is_final(message: &Message) -> bool {
    message.metadata.get(FINAL) == Some(&Value::Bool(true))
}

/// The data of the event that stores `reply`.
pub(crate) fn reply_data(reply: &Reply, is_final: bool) -> Value {
    let mut metadata = Map::from_iter([("finish".to_owned(), json!(reply.finish))]);
    let mut put = |key: &str, value: Value| {
        metadata.insert(key.to_owned(), value);
    };
    if is_final {
        put(FINAL, json!(true));
    }
    if !reply.reasoning.is_empty() {
        put("reasoning", json!(reply.reasoning));
    }
    if !reply.provider_fields.is_empty() {
        put("provider_fields", json!(reply.provider_fields));
    }
    let fields: Map<String, Value> = reply
        .calls
        .iter()
        .filter(|call| !call.provider_fields.is_empty())
        .map(|call| (call.id.clone(), json!(call.provider_fields)))
        .collect();
    if !fields.is_empty() {
        put("call_fields", json!(fields));
    }
    let repairs: Map<String, Value> = reply
        .calls
        .iter()
        .filter_map(|call| match &call.arguments {
            Arguments::Object { repairs, .. } if !repairs.is_empty() => {
                Some((call.id.clone(), json!(repairs)))
            }
            Arguments::Object { .. } | Arguments::Invalid { .. } | Arguments::Cut { .. } => None,
        })
        .collect();
    if !repairs.is_empty() {
        put("repaired", json!(repairs));
    }
    let mut data =
        json!({ "content": reply.content, "role": "assistant", "usage": reply.usage, "metadata": metadata });
    if !reply.calls.is_empty() {
        let call = |call: &ToolCall| json!({ "type": "tool_call", "id": call.id, "name": call.name, "args": call.arguments.value() });
        data["tool_calls"] = reply.calls.iter().map(call).collect();
    }
    data
}

/// The reply that a stored message was.
pub(crate) fn reply_of(message: &Message) -> Reply {
    let fields =
        |key: &str| message.metadata.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let call_fields = fields("call_fields");
    let calls = message.tool_calls.iter().map(|call| ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: Arguments::read(&call.args.to_string(), false),
        provider_fields: call_fields.get(&call.id).and_then(Value::as_object).cloned().unwrap_or_default(),
    });
    Reply {
        content: message.content.clone(),
        reasoning: message.metadata.get("reasoning").and_then(Value::as_str).unwrap_or_default().to_owned(),
        calls: calls.collect(),
        finish: if message.tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls },
        provider_fields: fields("provider_fields"),
        ..Reply::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_protocol::JobId;

    fn message(agent: &str, data: &Value) -> Message {
        let mut message = json!({ "job": JobId::new(), "at": "2026-01-01T00:00:00Z", "agent": agent });
        for (key, value) in data.as_object().unwrap() {
            message[key] = value.clone();
        }
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn a_reply_survives_being_stored() {
        let reply = Reply {
            content: "I write.".into(),
            reasoning: "hm".into(),
            calls: vec![ToolCall {
                id: "a".into(),
                name: "write_file".into(),
                arguments: Arguments::read(r#"{"path":"x"}"#, false),
                provider_fields: Map::from_iter([("extra_content".to_owned(), json!({ "s": 1 }))]),
            }],
            finish: FinishReason::ToolCalls,
            provider_fields: Map::from_iter([("reasoning_content".to_owned(), json!("hm"))]),
            ..Reply::default()
        };
        let stored = message("engineer", &reply_data(&reply, false));
        assert_eq!(reply_of(&stored), reply);
        assert!(!is_final(&stored) && is_final(&message("engineer", &reply_data(&reply, true))));
    }

    #[test]
    fn each_role_takes_its_own_messages_up_to_its_end() {
        let done = |text: &str| reply_data(&Reply { content: text.into(), ..Reply::default() }, true);
        let messages = vec![
            message("router", &done("{}")),
            message("engineer", &done("one")),
            message("qa", &done("back")),
            message("engineer", &reply_data(&Reply::default(), false)),
        ];
        let mut ids = CallIds::default();
        let mut begun = Begun::new(messages, &mut ids);
        let mut count = |agent: &str| begun.take(agent).len();
        assert_eq!([count("engineer"), count("router"), count("engineer")], [0, 1, 1]);
        assert_eq!([count("qa"), count("engineer"), count("engineer")], [1, 1, 0]);
    }
}
