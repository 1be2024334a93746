//! The intent router: asks a model, in one cheap request, which of the roles a prompt needs.

use mgx_protocol::Role;
use serde::Deserialize;
use serde_json::json;

use super::event_reporter::Deltas;
use super::reply::Usage;
use super::role::{TeamContext, request};

/// The name of the role that routes and does nothing else.
pub(crate) const ROUTER: &str = "router";

/// Which roles work, and what the question has used.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    pub(crate) roles: Vec<&'a Role>,
    pub(crate) usage: Usage,
    /// Why the question was not answered; then all roles work.
    pub(crate) error: Option<String>,
}

/// Asks `router` which of `roles` the prompt needs. Without a usable answer: all of them.
pub(crate) async fn route<'a>(
    context: &TeamContext,
    router: &Role,
    roles: &[&'a Role],
    prompt: &str,
) -> Route<'a> {
    let names: Vec<_> = roles.iter().map(|role| role.name.as_str()).collect();
    let task = format!(
        "{prompt}\n\n---\nThe roles are: {}. Answer with one JSON object, {{\"roles\": [\"…\"]}}, that names \
         those which this request needs.",
        names.join(", ")
    );
    let messages =
        [json!({ "role": "system", "content": router.prompt }), json!({ "role": "user", "content": task })];
    let request = request(router, &messages, &[]);
    match context.client.turn(&router.name, &request, &mut Deltas::discarded()).await {
        Ok(reply) => Route { roles: chosen(&reply.content, roles), usage: reply.usage, error: None },
        Err(error) => {
            Route { roles: roles.to_vec(), usage: Usage::default(), error: Some(error.to_string()) }
        }
    }
}

/// The roles that `answer` names, in the team's own order; all if it names none.
fn chosen<'a>(answer: &str, roles: &[&'a Role]) -> Vec<&'a Role> {
    #[derive(Deserialize)]
    struct Choice {
        roles: Vec<String>,
    }
    // models like to wrap JSON into prose or a code fence
    let object = answer.find('{').zip(answer.rfind('}')).and_then(|(start, end)| answer.get(start..=end));
    let choice = object.and_then(|object| serde_json::from_str::<Choice>(object).ok());
    let named = choice.map(|choice| choice.roles).unwrap_or_default();
    let chosen: Vec<_> = roles.iter().copied().filter(|role| named.contains(&role.name)).collect();
    if chosen.is_empty() { roles.to_vec() } else { chosen }
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
            prompt: String::new(),
            tools: Vec::new(),
        };
        let roles = [role("architect"), role("engineer"), role("qa")];
        let roles: Vec<_> = roles.iter().collect();
        let names = |answer| chosen(answer, &roles).iter().map(|role| role.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(r#"{"roles":["engineer"]}"#), ["engineer"]);
        assert_eq!(
            names("Sure:\n```json\n{\"roles\": [\"qa\", \"poet\", \"engineer\"]}\n```"),
            ["engineer", "qa"]
        );
        for unusable in
            ["", "engineer", "{}", "}{", r#"{"roles":[]}"#, r#"{"roles":["poet"]}"#, r#"{"roles":1}"#]
        {
            assert_eq!(names(unusable), ["architect", "engineer", "qa"], "{unusable}");
        }
    }
}
