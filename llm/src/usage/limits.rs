//! The limits of what is used, and how near a job, its session and its user are to them. Pure.

use serde_json::{Value, json};

use crate::Usage;

/// The part of a limit, in hundredths, from which on it is announced.
const WARN_PERCENT: u64 = 80;

/// The limits of the proxy; 0 means without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LlmLimits {
    /// Of one session in all.
    pub session: UsageLimits,
    /// Of one job.
    pub job: UsageLimits,
    /// Of all jobs of one user on one day (UTC).
    pub user_per_day: UsageLimits,
    /// Requests of one attempt within a minute.
    pub requests_per_minute: u32,
}

/// How much may be used; 0 means without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageLimits {
    /// Requests that reached a model.
    pub max_requests: u64,
    /// Tokens, sent and received.
    pub max_tokens: u64,
    /// The cost, in millionths of the operator's unit.
    pub max_cost_micros: u64,
}

/// What a limit counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Job,
    Session,
    UserPerDay,
}

/// One limit, and what has been used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetUse {
    pub(crate) scope: Scope,
    /// The limit's key in the configuration.
    pub(crate) limit: &'static str,
    pub(crate) value: u64,
    pub(crate) used: u64,
}

impl LlmLimits {
    /// Whether a cost is limited, so that models need a price.
    pub(crate) fn has_cost(&self) -> bool {
        [self.session, self.job, self.user_per_day].iter().any(|limits| limits.max_cost_micros > 0)
    }

    /// Every limit that is set, with what the job, its session and its user have used of it.
    pub(crate) fn budget(&self, job: Usage, session: Usage, user: Usage) -> Vec<BudgetUse> {
        let scopes = [
            (Scope::Job, self.job, job),
            (Scope::Session, self.session, session),
            (Scope::UserPerDay, self.user_per_day, user),
        ];
        scopes.into_iter().flat_map(|(scope, limits, used)| limits.budget(scope, used)).collect()
    }
}

impl UsageLimits {
    fn budget(self, scope: Scope, used: Usage) -> impl Iterator<Item = BudgetUse> {
        let [requests, tokens, cost] = scope.keys();
        [
            (requests, self.max_requests, used.requests),
            (tokens, self.max_tokens, used.prompt_tokens.saturating_add(used.completion_tokens)),
            (cost, self.max_cost_micros, used.cost_micros),
        ]
        .into_iter()
        .filter(|(_, value, _)| *value > 0)
        .map(move |(limit, value, used)| BudgetUse { scope, limit, value, used })
    }
}

impl Scope {
    /// The keys of its limits: requests, tokens, cost.
    fn keys(self) -> [&'static str; 3] {
        match self {
            Self::Job => ["llm.max_requests_per_job", "llm.max_tokens_per_job", "llm.max_cost_per_job"],
            Self::Session => {
                ["llm.max_requests_per_session", "llm.max_tokens_per_session", "llm.max_cost_per_session"]
            }
            // the requests of a user are not limited
            Self::UserPerDay => ["", "llm.max_tokens_per_user_per_day", "llm.max_cost_per_user_per_day"],
        }
    }

    /// Whose budget it is, for people.
    pub(crate) fn owner(self) -> &'static str {
        match self {
            Self::Job => "the job's budget",
            Self::Session => "the session's budget",
            Self::UserPerDay => "the user's budget of this day",
        }
    }
}

impl BudgetUse {
    /// Whether nothing of it is left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used >= self.value
    }

    fn percent(&self) -> u64 {
        u64::try_from(u128::from(self.used) * 100 / u128::from(self.value.max(1))).unwrap_or(u64::MAX)
    }

    /// The budget as events report it: the limits that are nearest to their bound, the nearest first, and a text for people
    /// once the nearest is at 80 %.
    pub(crate) fn report(mut all: Vec<Self>) -> (Value, Option<String>) {
        all.sort_by_key(|budget| std::cmp::Reverse(budget.percent()));
        let near = |(place, budget): &(usize, &Self)| *place == 0 || budget.percent() >= WARN_PERCENT;
        let list: Vec<_> = all
            .iter()
            .enumerate()
            .filter(near)
            .map(|(_, budget)| json!({ "limit": budget.limit, "value": budget.value, "used": budget.used }))
            .collect();
        let warning = all.first().filter(|budget| budget.percent() >= WARN_PERCENT);
        let warning = warning.map(|budget| {
            format!(
                "{} % of {} are used: {} is {}",
                budget.percent(),
                budget.scope.owner(),
                budget.limit,
                budget.value
            )
        });
        (list.into(), warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_nearest_to_its_bound_is_told_first_and_announced_at_80_percent() {
        let tokens = |max_tokens| UsageLimits { max_tokens, ..UsageLimits::default() };
        let limits = LlmLimits { session: tokens(1000), user_per_day: tokens(500), ..LlmLimits::default() };
        let used = |tokens| Usage { prompt_tokens: tokens, ..Usage::default() };
        let report = |day| BudgetUse::report(limits.budget(used(9), used(100), used(day)));
        let (list, warning) = report(399);
        assert_eq!(list, json!([{ "limit": "llm.max_tokens_per_user_per_day", "value": 500, "used": 399 }]));
        assert_eq!(warning, None);
        assert_eq!(
            report(400).1.as_deref(),
            Some("80 % of the user's budget of this day are used: llm.max_tokens_per_user_per_day is 500")
        );
        let (list, warning) = BudgetUse::report(LlmLimits::default().budget(used(9), used(9), used(9)));
        assert_eq!((list, warning), (json!([]), None));
    }
}
