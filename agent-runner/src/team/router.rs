//! The intent router: asks a model, in one cheap request, which of the roles a request needs.

use mgx_protocol::{EventKind, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::begun::reply_data;
use super::memory;
use super::model::error::LlmError;
use super::model::reply::{Reply, Usage};
use super::model::retry::Retries;
use super::report::deltas::Deltas;
use super::team_context::{TeamContext, request};

/// The name of the role that routes and does nothing else.
pub(crate) const ROUTER: &str = "router";

/// Which roles work, and what the question has used.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    pub(crate) roles: Vec<&'a Role>,
    pub(crate) usage: Usage,
    /// Whether the request asks for a change of the app, if the router has said so.
    pub(crate) changes: Option<bool>,
    /// Why the question was not answered; then all roles work.
    pub(crate) error: Option<LlmError>,
}

/// Asks `router` which of `roles` the request needs. Without a usable answer: all of them.
pub(crate) async fn route<'a>(context: &mut TeamContext, router: &Role, roles: &[&'a Role]) -> Route<'a> {
    if let Some(stored) = context.begun.take(&router.name).first() {
        let (roles, changes) = chosen(&stored.content, roles);
        return Route { roles, usage: Usage::default(), changes, error: None };
    }
    let names: Vec<_> = roles.iter().map(|role| role.name.as_str()).collect();
    let mut messages = memory::opening(context, router, &[]);
    let task = messages[1]["content"].as_str().unwrap_or_default();
    messages[1]["content"] = json!(format!(
        "{task}\n\n---\nThe roles are: {}. Answer with one JSON object, {{\"roles\": [\"…\"], \"changes\": true or false}}: \
         those which this request needs, and whether it asks for a change of the app.",
        names.join(", ")
    ));
    let mut answer = ask(context, router, &mut messages).await;
    if let Err(error) = &answer
        && error.is_context_too_long()
    {
        context.contexts.of(&router.model).refused(&messages, &error.to_string());
        answer = ask(context, router, &mut messages).await;
    }
    match answer {
        Ok(reply) => {
            let data = reply_data(&reply, true);
            let stored = context.report.event(&EventKind::MessageComplete, &router.name, data).await;
            let (roles, changes) = chosen(&reply.content, roles);
            Route { roles, usage: reply.usage, changes, error: stored.err().map(LlmError::Report) }
        }
        Err(error) => {
            Route { roles: roles.to_vec(), usage: Usage::default(), changes: None, error: Some(error) }
        }
    }
}

/// The router's reply to `messages`, which are shortened to fit.
async fn ask(context: &mut TeamContext, router: &Role, messages: &mut Vec<Value>) -> Result<Reply, LlmError> {
    context.contexts.of(&router.model).fit(messages);
    let request = request(router, messages, &[]);
    let retries = Retries::new(context.retry);
    let mut deltas = Deltas::hidden(&mut context.report, &router.name);
    let reply = context.client.turn(&router.name, &request, retries, &mut context.ids, &mut deltas).await?;
    context.contexts.of(&router.model).observe(messages, reply.usage.prompt_tokens);
    Ok(reply)
}

/// The roles that `answer` names, in the team's own order, and whether it says that the app changes; all roles if it names
/// none.
fn chosen<'a>(answer: &str, roles: &[&'a Role]) -> (Vec<&'a Role>, Option<bool>) {
    #[derive(Deserialize)]
    struct Choice {
        roles: Vec<String>,
        #[serde(default)]
        changes: Value,
    }
    // models like to wrap JSON into prose or a code fence
    let objects = answer.match_indices('{').filter_map(|(start, _)| {
        serde_json::Deserializer::from_str(&answer[start..]).into_iter::<Choice>().next()?.ok()
    });
    let choice = objects.reduce(|_, last| last);
    let changes = choice.as_ref().and_then(|choice| choice.changes.as_bool());
    let named = choice.map(|choice| choice.roles).unwrap_or_default();
    // only the engineer changes the app
    let is_chosen = |role: &Role| {
        named.contains(&role.name)
            || (changes == Some(true) && !named.is_empty() && role.name == super::ENGINEER)
    };
    let chosen: Vec<_> = roles.iter().copied().filter(|role| is_chosen(role)).collect();
    (if chosen.is_empty() { roles.to_vec() } else { chosen }, changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_chooses_roles_and_no_answer_chooses_all() {
        let role = |name: &str| Role {
            name: name.into(),
            model: String::new(),
            temperature: None,
            effort: None,
            prompt: String::new(),
            tools: Vec::new(),
        };
        let roles = [role("architect"), role("engineer"), role("qa")];
        let roles: Vec<_> = roles.iter().collect();
        let names = |answer| {
            let (chosen, changes) = chosen(answer, &roles);
            (chosen.iter().map(|role| role.name.clone()).collect::<Vec<_>>().join(" "), changes)
        };
        assert_eq!(names(r#"{"roles":["engineer"]}"#), ("engineer".into(), None));
        assert_eq!(
            names(r#"{"a":1} {"roles":["engineer"],"changes":false}"#),
            ("engineer".into(), Some(false))
        );
        assert_eq!(
            names("Sure:\n```json\n{\"roles\": [\"qa\", \"poet\", \"engineer\"], \"changes\": true}\n```"),
            ("engineer qa".into(), Some(true))
        );
        for unusable in
            ["", "engineer", "{}", "}{", r#"{"roles":[]}"#, r#"{"roles":["poet"]}"#, r#"{"roles":1}"#]
        {
            assert_eq!(names(unusable), ("architect engineer qa".into(), None), "{unusable}");
        }
    }
}
