//! A session that has used up what it may use of the model gets no new work for its agents.

use crate::batch::{RequestedJob, Submitter};
use crate::limits::LlmResource;
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// What a session may use of the model in all; 0 means without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionBudget {
    /// Requests (`llm.max_requests_per_session`).
    pub requests: u64,
    /// Tokens, sent and received (`llm.max_tokens_per_session`).
    pub tokens: u64,
    /// What they cost, in millionths of the operator's unit (`llm.max_cost_per_session`).
    pub cost_micros: u64,
}

/// Refuses the agents' jobs of sessions that have used up their allowance. A plain command may do without the model.
pub(crate) fn layer(allowance: SessionBudget) -> GateLayer<SessionBudget> {
    GateLayer::new(allowance)
}

impl Policy for SessionBudget {
    fn admit(&self, from: &Submitter, job: &mut RequestedJob) -> Result<(), Refusal> {
        if !job.spec.command.is_empty() {
            return Ok(());
        }
        let spent = from.spent;
        left(LlmResource::Requests, spent.requests, self.requests)?;
        left(LlmResource::Tokens, spent.tokens, self.tokens)?;
        left(LlmResource::Cost, spent.cost_micros, self.cost_micros)
    }

    fn take_back(&self, _: &Submitter, _: u32) {}
}

fn left(of: LlmResource, used: u64, max: u64) -> Result<(), Refusal> {
    if max > 0 && used >= max { Err(Refusal::BudgetSpent { of, used, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::SpentBudget;
    use crate::testing::{accept, ask, batch, outcomes, submitter};
    use tower::{Layer, service_fn};

    const ALLOWANCE: SessionBudget = SessionBudget { requests: 10, tokens: 1000, cost_micros: 2_500_000 };

    async fn decided(allowance: SessionBudget, spent: SpentBudget) -> Vec<String> {
        let mut batch = batch(&["agents", "command"]);
        batch.jobs[1].spec.command = vec!["true".to_owned()];
        batch.from = Arc::new(Submitter { spent, ..submitter("ann") });
        outcomes(ask(layer(allowance).layer(service_fn(accept)), batch).await)
    }

    #[tokio::test]
    async fn what_is_used_up_keeps_agents_out_and_commands_not() {
        for (spent, agents) in [
            (SpentBudget { requests: 9, tokens: 999, cost_micros: 2_499_999 }, "agents"),
            (SpentBudget { requests: 10, ..SpentBudget::default() }, "llm.max_requests_per_session"),
            (SpentBudget { tokens: 1000, ..SpentBudget::default() }, "llm.max_tokens_per_session"),
            (SpentBudget { cost_micros: 2_500_000, ..SpentBudget::default() }, "llm.max_cost_per_session"),
        ] {
            assert_eq!(decided(ALLOWANCE, spent).await, [agents, "command"]);
        }
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_ever_used_up() {
        let much = SpentBudget { requests: u64::MAX, tokens: u64::MAX, cost_micros: u64::MAX };
        assert_eq!(decided(SessionBudget::default(), much).await, ["agents", "command"]);
    }
}
