//! `GET /api/jobs/{id}/timeline`: the stages of a job with their times, read from its session's log.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use mgx_protocol::{EventKind, JobId, SessionId, StateName};
use mgx_scheduler::{Event, EventLog, Job, JournalError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::find;
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::Path;
use crate::state::App;

/// How many events are read at a time.
const PAGE: usize = 1000;

/// The most attempts that are shown: an engine that is away for an hour makes thousands of them.
const MAX_ATTEMPTS: usize = 100;

/// Where a job's time went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineView {
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its session.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// Its state.
    state: &'static str,
    /// When it was accepted: where the milliseconds are counted from.
    submitted_at: Timestamp,
    /// Milliseconds until its end, or until now.
    elapsed_ms: u64,
    /// Attempts before those that are shown.
    earlier_attempts: usize,
    /// Its attempts, in order.
    attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// Its number, from 1.
    attempt: u32,
    /// How often the platform was started again and took it up.
    reattached: u32,
    /// Its stages, in order; each lasts until the next one.
    stages: Vec<StageView>,
}

/// One stage of an attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StageView {
    /// What began: `queued`, `admitted` (it has its turn), `starting` (its container is made), `running` (its command
    /// was given to the container), `first_event` and `last_event` (of its agents, or of its command), `stopping`,
    /// `finish`.
    stage: &'static str,
    /// Milliseconds from the submission to its beginning.
    start_ms: u64,
    /// Milliseconds from the submission to its end, unless it lasts.
    end_ms: Option<u64>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(timeline))
}

/// Where the time of a job went: its stages, by attempt, in milliseconds since its submission.
#[utoipa::path(
    get, path = "/api/jobs/{id}/timeline", tag = "jobs",
    params(("id" = uuid::Uuid, Path, description = "the job")),
    responses((status = 200, description = "its stages so far", body = TimelineView))
)]
async fn timeline(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<axum::Json<TimelineView>, Problem> {
    let job = find(&app, &caller, id).await?;
    let log = app.jobs.log();
    let start = beginning(log, &job).await?;
    let mut stages = read(log, &job, start).await?;
    if start > 0 && !stages.is_whole() {
        // the search needs times that only grow; a clock that was set back, or a wrong time of an agent, breaks that
        stages = read(log, &job, 0).await?;
    }
    // again, so that it is not older than the events
    let job = find(&app, &caller, id).await?;
    Ok(axum::Json(stages.view(&job, Timestamp::now())))
}

/// A number in the session's log before which there is nothing of the job: found by binary search, since the log may
/// be long.
async fn beginning(log: &EventLog, job: &Job) -> Result<u64, JournalError> {
    let (mut before, mut after) = (0, log.head(&job.session).await?.seq);
    while after - before > PAGE as u64 {
        let middle = before + (after - before) / 2;
        match log.page(&job.session, middle, 1).await?.first() {
            Some(event) if event.at < job.queued_at => before = middle,
            Some(_) | None => after = middle,
        }
    }
    Ok(before)
}

/// Everything of the job after number `after`.
async fn read(log: &EventLog, job: &Job, mut after: u64) -> Result<JobStages, JournalError> {
    let mut stages = JobStages::default();
    loop {
        let page = log.page(&job.session, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(stages) };
        after = last.seq;
        for event in page.iter().filter(|event| event.job == job.id) {
            stages.add(event);
            if event.kind == EventKind::Finish {
                return Ok(stages);
            }
        }
    }
}

/// The attempts of a job with their stages, as read from the log.
#[derive(Debug, Default)]
struct JobStages {
    attempts: VecDeque<Attempt>,
    earlier: usize,
}

#[derive(Debug, Default)]
struct Attempt {
    number: u32,
    reattached: u32,
    marks: Vec<Mark>,
    /// Its newest event but the first, and the mark before which it stands.
    newest: Option<(usize, Mark)>,
}

/// The beginning of a stage.
#[derive(Clone, Copy, Debug)]
struct Mark {
    stage: &'static str,
    at: Timestamp,
    /// Whether the time comes from the container; the platform recorded the others itself.
    from_container: bool,
}

impl JobStages {
    fn add(&mut self, event: &Event) {
        if self.attempts.back().is_none_or(|attempt| attempt.number != event.attempt.0) {
            if self.attempts.len() == MAX_ATTEMPTS {
                self.attempts.pop_front();
                self.earlier += 1;
            }
            self.attempts.push_back(Attempt { number: event.attempt.0, ..Attempt::default() });
        }
        if let Some(attempt) = self.attempts.back_mut() {
            attempt.add(event);
        }
    }

    /// Whether the first stage is `queued`, where every job begins.
    fn is_whole(&self) -> bool {
        let first = self.attempts.front().and_then(|attempt| attempt.marks.first());
        self.earlier > 0 || first.is_some_and(|mark| mark.stage == "queued")
    }

    fn view(self, job: &Job, now: Timestamp) -> TimelineView {
        let Self { attempts, earlier } = self;
        let mut marks: Vec<(usize, Mark)> = Vec::new();
        let mut views = Vec::with_capacity(attempts.len());
        for (index, attempt) in attempts.into_iter().enumerate() {
            let (number, reattached) = (attempt.number, attempt.reattached);
            marks.extend(attempt.in_order().into_iter().map(|mark| (index, mark)));
            views.push(AttemptView { attempt: number, reattached, stages: Vec::new() });
        }
        let since = |at: Timestamp| u64::try_from(at.duration_since(job.queued_at).as_millis()).unwrap_or(0);
        let end = job.ended_at.map_or_else(|| since(now), since);
        let mut times: Vec<u64> = marks.iter().map(|(_, mark)| since(mark.at)).collect();
        // a time from the container is kept between the platform's own times around it
        let mut latest = end.max(times.last().copied().filter(|_| job.ended_at.is_some()).unwrap_or(0));
        for ((_, mark), time) in marks.iter().zip(&mut times).rev() {
            if mark.from_container {
                *time = (*time).min(latest);
            } else {
                latest = *time;
            }
        }
        let mut earliest = 0;
        for time in &mut times {
            earliest = (*time).max(earliest);
            *time = earliest;
        }
        for (place, ((index, mark), start_ms)) in marks.iter().zip(&times).enumerate() {
            let over = (mark.stage == "finish").then_some(*start_ms);
            let end_ms = times.get(place + 1).copied().or(over);
            views[*index].stages.push(StageView { stage: mark.stage, start_ms: *start_ms, end_ms });
        }
        TimelineView {
            job_id: job.id,
            session_id: job.session.clone(),
            state: job.state.name().as_str(),
            submitted_at: job.queued_at,
            elapsed_ms: end.max(earliest),
            earlier_attempts: earlier,
            attempts: views,
        }
    }
}

impl Attempt {
    fn add(&mut self, event: &Event) {
        let stage = match &event.kind {
            EventKind::Job(
                state @ (StateName::Queued
                | StateName::Admitted
                | StateName::Starting
                | StateName::Running
                | StateName::Stopping),
            ) => state.as_str(),
            EventKind::Finish => "finish",
            EventKind::JobReattached => {
                self.reattached = self.reattached.saturating_add(1);
                return;
            }
            // the platform's own, but no stage
            kind if kind.is_platforms() && *kind != EventKind::Truncated => return,
            // the user's prompt, which the platform writes
            EventKind::MessageComplete if event.agent.is_none() => return,
            _ => return self.add_work_event(event.at),
        };
        self.marks.push(Mark { stage, at: event.at, from_container: false });
    }

    /// An event of its agents or of its command.
    fn add_work_event(&mut self, at: Timestamp) {
        let mark = |stage| Mark { stage, at, from_container: true };
        if self.marks.iter().any(|mark| mark.from_container) {
            self.newest = Some((self.marks.len(), mark("last_event")));
        } else {
            self.marks.push(mark("first_event"));
        }
    }

    fn in_order(mut self) -> Vec<Mark> {
        if let Some((place, mark)) = self.newest {
            self.marks.insert(place, mark);
        }
        self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::view::tests::job;
    use mgx_protocol::Attempt as Number;
    use mgx_scheduler::{Outcome, State};
    use serde_json::json;

    /// `(attempt, kind, milliseconds after the submission)`.
    fn stages_of(events: &[(u32, &str, i64)]) -> JobStages {
        let mut stages = JobStages::default();
        for (seq, (attempt, kind, millis)) in (1..).zip(events) {
            let mut event = crate::events::event_view::tests::event(seq, kind, json!({}));
            event.attempt = Number(*attempt);
            event.at = Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap();
            stages.add(&event);
        }
        stages
    }

    fn show(view: &TimelineView) -> String {
        let mut lines =
            vec![format!("{} after {} ms, {} earlier", view.state, view.elapsed_ms, view.earlier_attempts)];
        for attempt in &view.attempts {
            lines.push(format!("attempt {}, reattached {}", attempt.attempt, attempt.reattached));
            for StageView { stage, start_ms, end_ms } in &attempt.stages {
                lines.push(format!("  {stage:<12}{start_ms:>6} → {end_ms:?}"));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn an_ended_job_has_every_stage_of_every_attempt() {
        let mut job = job(State::Ended(Outcome::Succeeded));
        job.ended_at = Some(Timestamp::from_millisecond(1_700_000_005_000).unwrap());
        let stages = stages_of(&[
            (1, "job_queued", 0),
            (1, "job_admitted", 10),
            (1, "job_starting", 10),
            (2, "job_queued", 400),
            (2, "job_admitted", 1400),
            (2, "job_starting", 1401),
            (2, "job_running", 1700),
            (2, "agent_start", 1750),
            (2, "llm_usage", 1800),
            (2, "message_delta", 1900),
            (2, "job_reattached", 2500),
            (2, "agent_end", 4900),
            (2, "finish", 5000),
        ]);
        assert!(stages.is_whole());
        insta::assert_snapshot!(show(&stages.view(&job, Timestamp::MAX)));
    }

    #[test]
    fn times_from_a_container_stay_between_the_platforms_own() {
        let stages = stages_of(&[
            (1, "job_queued", 0),
            (1, "job_admitted", 10),
            (1, "job_starting", 10),
            (1, "job_running", 300),
            (1, "log", -100_000),
            (1, "log", 900_000),
            (1, "job_stopping", 700),
        ]);
        let now = Timestamp::from_millisecond(1_700_000_000_900).unwrap();
        insta::assert_snapshot!(show(&stages.view(&job(State::Stopping(Outcome::Cancelled)), now)));
    }

    #[test]
    fn thousands_of_attempts_are_counted_and_not_shown() {
        let events: Vec<_> = (1..=250).map(|attempt| (attempt, "job_queued", i64::from(attempt))).collect();
        let view = stages_of(&events).view(&job(State::Queued), Timestamp::MAX);
        assert_eq!((view.earlier_attempts, view.attempts.len()), (150, MAX_ATTEMPTS));
        assert_eq!(view.attempts[0].attempt, 151);
    }
}
