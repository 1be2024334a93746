//! Checks the lines of an export one by one, and makes a session of them. Does no I/O.

use std::collections::HashMap;

use jiff::Timestamp;
use mgx_apps::{ArchivedSession, Session};
use mgx_protocol::MAX_EVENT_BYTES;
use mgx_protocol::{EventKind, JobId};
use mgx_scheduler::{Event, Failure, Job, Outcome, State};
use serde_json::{Map, Value, json};

use super::MAX_NAME;
use super::export_line::{EventLine, Line, SessionLine, VERSION};
use crate::http::strict_json;
use crate::http::{Problem, Slug};

/// The most jobs of one imported session.
const MAX_JOBS: usize = 10_000;

/// Checks one line after the other.
#[derive(Debug)]
pub(crate) struct Checker {
    user: String,
    /// The number of the line that is being checked, from 1.
    number: u64,
    at: Expected,
    jobs: Vec<Job>,
    /// Whether each job has had its `finish`.
    finished: HashMap<JobId, bool>,
    /// Messages whose events are not in the file.
    messages: Vec<Event>,
    events: Vec<Event>,
}

/// The lines that may come next.
#[derive(Clone, Debug)]
enum Expected {
    First,
    Session(Timestamp),
    More(Timestamp, Box<Session>),
    Nothing(Timestamp, Box<Session>),
}

impl Checker {
    /// `user` will own the session.
    pub(crate) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            number: 1,
            at: Expected::First,
            jobs: Vec::new(),
            finished: HashMap::new(),
            messages: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Checks one more line.
    ///
    /// # Errors
    /// `invalid-export`, with the number of the line.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line: Line = strict_json::parse(line).map_err(|problem| {
            let where_and_what = problem.errors().first().map(|error| {
                let pointer = error.pointer.as_deref().unwrap_or_default();
                format!("{pointer} {}", error.detail).trim().to_owned()
            });
            self.wrong(where_and_what.as_deref().unwrap_or("not a line of JSON"))
        })?;
        self.at = match (self.at.clone(), line) {
            (Expected::First, Line::MgxExport { version: VERSION, at }) => Expected::Session(at),
            (Expected::First, Line::MgxExport { version, .. }) => {
                return Err(self.wrong(&format!("version {version} is not known here; version {VERSION} is")));
            }
            (Expected::Session(at), Line::Session(session)) => {
                Expected::More(at, Box::new(self.session(session)?))
            }
            (Expected::More(at, session), Line::Job(job)) => {
                self.job(*job, &session)?;
                Expected::More(at, session)
            }
            (Expected::More(at, session), Line::Message(message)) => {
                self.message(message, &session)?;
                Expected::More(at, session)
            }
            (Expected::More(at, session), Line::Event(event)) => {
                self.event(event, &session)?;
                Expected::More(at, session)
            }
            (Expected::More(at, session), Line::End { jobs, events }) => {
                self.count("jobs", jobs, self.jobs.len())?;
                self.count("events", events, self.events.len())?;
                Expected::Nothing(at, session)
            }
            (at, _) => return Err(self.wrong(&format!("{} is expected here", at.name()))),
        };
        self.number += 1;
        Ok(())
    }

    /// The session, if its last line has come. Jobs that had not ended are failed.
    ///
    /// # Errors
    /// `invalid-export`.
    pub(crate) fn finish(mut self) -> Result<ArchivedSession, Problem> {
        let Expected::Nothing(at, session) = self.at.clone() else {
            return Err(self.wrong(&format!("the file ends here, and {} is expected", self.at.name())));
        };
        let next = self.events.last().map_or(0, |event| event.seq) + 1;
        let unfinished = self.jobs.iter_mut().filter(|job| !job.state.has_ended());
        for (seq, job) in (next..).zip(unfinished) {
            job.state = State::Ended(Outcome::Failed(Failure::RuntimeLost));
            job.ended_at = Some(at);
            job.error = Some("it had not ended when it was exported".to_owned());
            self.events.push(Event {
                seq,
                at,
                session: session.id.clone(),
                job: job.id,
                attempt: job.attempt,
                kind: EventKind::Finish,
                agent: None,
                data: finish(job),
            });
        }
        Ok(ArchivedSession {
            session: *session,
            jobs: self.jobs,
            messages: self.messages,
            events: self.events,
        })
    }

    /// The problem with the line that is being checked.
    pub(crate) fn wrong(&self, what: &str) -> Problem {
        Problem::new(Slug::InvalidExport, format!("line {}: {what}", self.number))
    }

    fn session(&self, line: SessionLine) -> Result<Session, Problem> {
        let SessionLine { session_id, name, framework, created_at, usage } = line;
        if name.chars().count() > MAX_NAME || name.contains(char::is_control) {
            return Err(self.wrong(&format!("/name at most {MAX_NAME} characters on one line")));
        }
        let workspace =
            session_id.as_str().parse().expect("session ids and workspace ids have the same rules");
        Ok(Session { id: session_id, name, framework, workspace, user: self.user.clone(), created_at, usage })
    }

    fn job(&mut self, mut job: Job, session: &Session) -> Result<(), Problem> {
        if !self.events.is_empty() {
            return Err(self.wrong("jobs come before events"));
        }
        if job.session != session.id {
            return Err(self.wrong(&format!("a job of session {}", job.session)));
        }
        if self.jobs.len() >= MAX_JOBS {
            return Err(self.wrong(&format!("more than {MAX_JOBS} jobs")));
        }
        if self.finished.insert(job.id, false).is_some() {
            return Err(self.wrong(&format!("job {} for the second time", job.id)));
        }
        job.user.clone_from(&self.user);
        self.jobs.push(job);
        Ok(())
    }

    fn message(&mut self, message: EventLine, session: &Session) -> Result<(), Problem> {
        if !self.events.is_empty() || self.messages.last().is_some_and(|before| before.seq >= message.seq) {
            return Err(self.wrong("messages come in order, before the events"));
        }
        if message.event_type != EventKind::MessageComplete {
            return Err(self.wrong("/event_type a message is message_complete"));
        }
        if !self.finished.contains_key(&message.job_id) {
            return Err(self.wrong(&format!("a message of job {}, which is not there", message.job_id)));
        }
        self.bounded(&message)?;
        self.messages.push(message.event(&session.id));
        Ok(())
    }

    /// Checks the number of an event or a message, and its size.
    fn bounded(&self, event: &EventLine) -> Result<(), Problem> {
        if !(1..=u64::from(u32::MAX)).contains(&event.seq) {
            return Err(self.wrong(&format!("no event has number {}", event.seq)));
        }
        // the platform's own events may be a little larger than those of agents
        if serde_json::to_vec(&event.data).map_or(true, |data| data.len() > 2 * MAX_EVENT_BYTES) {
            return Err(self.wrong(&format!("/data more than {} bytes", 2 * MAX_EVENT_BYTES)));
        }
        Ok(())
    }

    fn event(&mut self, event: EventLine, session: &Session) -> Result<(), Problem> {
        if self.messages.last().is_some_and(|message| message.seq >= event.seq) {
            return Err(self.wrong(&format!("event {} comes after a message of its number", event.seq)));
        }
        if let Some(before) = self.events.last()
            && event.seq != before.seq + 1
        {
            return Err(self.wrong(&format!("event {} comes after event {}", event.seq, before.seq)));
        }
        self.bounded(&event)?;
        if !event.event_type.is_well_formed() {
            return Err(self.wrong("/event_type 1 to 40 of a-z 0-9 _"));
        }
        match self.finished.get_mut(&event.job_id) {
            None => return Err(self.wrong(&format!("an event of job {}, which is not there", event.job_id))),
            Some(true) => return Err(self.wrong(&format!("job {} has finished before", event.job_id))),
            Some(finished) => *finished = event.event_type == EventKind::Finish,
        }
        self.events.push(event.event(&session.id));
        Ok(())
    }

    fn count(&self, what: &str, declared: u64, read: usize) -> Result<(), Problem> {
        if declared == read as u64 {
            return Ok(());
        }
        Err(self.wrong(&format!("the last line declares {declared} {what}, and {read} were read")))
    }
}

impl Expected {
    fn name(&self) -> &'static str {
        match self {
            Self::First => "{\"mgx_export\": …}",
            Self::Session(_) => "{\"session\": …}",
            Self::More(..) => "a job, an event or the end",
            Self::Nothing(..) => "nothing more",
        }
    }
}

fn finish(job: &Job) -> Map<String, Value> {
    let text = |key: &str, value: Option<&str>| (key.to_owned(), json!(value));
    Map::from_iter([
        text("status", Some("failed")),
        text("state", Some(job.state.name().as_str())),
        text("reason", job.state.reason()),
        text("error", job.error.as_deref()),
    ])
}
