//! Ids as users type them: whole, or so much of the beginning or the end that it is the only one.

use std::fmt::Display;
use std::str::FromStr;

use mgx_client::{Client, Job, JobQuery, Session};
use mgx_protocol::{JobId, SessionId};

use super::out::{Failure, harmless};

/// The shortest part of an id that counts.
const SHORTEST: usize = 4;

/// Among how many of the newest a part of an id is looked for.
const LOOKED_AT: usize = 20_000;

/// How many of several ids a message names.
const NAMED: usize = 5;

/// The id of a job, or a part of one.
#[derive(Debug, Clone)]
pub(crate) enum JobName {
    Whole(JobId),
    Part(String),
}

impl FromStr for JobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Whole(id));
        }
        let is_part = text.len() >= SHORTEST && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if is_part {
            Ok(Self::Part(text.to_ascii_lowercase()))
        } else {
            Err(format!(
                "a job id is a UUID, or {SHORTEST} or more characters of the beginning or end of one"
            ))
        }
    }
}

impl JobName {
    /// The id of the job that is meant.
    pub(crate) async fn find(&self, client: &Client) -> Result<JobId, Failure> {
        let part = match self {
            Self::Whole(id) => return Ok(*id),
            Self::Part(part) => part,
        };
        let mut found = Vec::new();
        let mut query = JobQuery { limit: Some(200), ..JobQuery::default() };
        let mut seen = 0;
        loop {
            let page = client.jobs(&query).await?;
            seen += page.jobs.len();
            found.extend(
                page.jobs.iter().map(|job: &Job| job.job_id).filter(|id| is_meant(&id.to_string(), part)),
            );
            query.cursor = page.next;
            if query.cursor.is_none() || seen >= LOOKED_AT {
                break;
            }
        }
        only(&found, part, "job", "`mgx ps --all` lists them")
    }
}

/// The session that a user has named.
pub(crate) async fn session(client: &Client, named: &SessionId) -> Result<Session, Failure> {
    if let Some(session) = client.session(named).await? {
        return Ok(session);
    }
    let part = named.as_str();
    let mut found: Vec<Session> = Vec::new();
    let (mut cursor, mut seen) = (None, 0);
    while part.len() >= SHORTEST {
        let page = client.sessions(cursor.as_deref()).await?;
        seen += page.sessions.len();
        found.extend(page.sessions.into_iter().filter(|session| is_meant(session.session_id.as_str(), part)));
        cursor = page.next;
        if cursor.is_none() || seen >= LOOKED_AT {
            break;
        }
    }
    let ids: Vec<SessionId> = found.iter().map(|session| session.session_id.clone()).collect();
    let id = only(&ids, part, "session", "`mgx session list` lists them")?;
    found.into_iter().find(|session| session.session_id == id).ok_or_else(|| Failure::new("it is gone"))
}

/// The id of the session that a user has named.
pub(crate) async fn session_id(client: &Client, named: &SessionId) -> Result<SessionId, Failure> {
    session(client, named).await.map(|session| session.session_id)
}

/// The only one of `ids` that is `part`, or begins or ends with it. `what` they are, and which command lists them.
pub(crate) fn one_of<T: Display + Clone>(
    ids: &[T],
    part: &str,
    what: &str,
    list: &str,
) -> Result<T, Failure> {
    let lower = part.to_ascii_lowercase();
    let found: Vec<T> = ids
        .iter()
        .filter(|id| {
            let id = id.to_string();
            id == lower || (part.len() >= SHORTEST && is_meant(&id, &lower))
        })
        .cloned()
        .collect();
    only(&found, part, what, list)
}

fn is_meant(id: &str, part: &str) -> bool {
    id.starts_with(part) || id.ends_with(part)
}

/// The only id that was found.
fn only<T: Display + Clone>(found: &[T], part: &str, what: &str, list: &str) -> Result<T, Failure> {
    match found {
        [id] => Ok(id.clone()),
        [] => Err(Failure::new(format!("there is no {what} {part}; {list}"))),
        several => {
            let named: Vec<String> = several.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if several.len() > NAMED { ", …" } else { "" };
            let count = several.len();
            Err(Failure::new(harmless(&format!(
                "{part} is a part of {count} {what}s: {}{more}",
                named.join(", ")
            ))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_id_is_enough_if_it_is_the_only_one() {
        let ids = ["bakery", "bakery-2", "shop"].map(|id| id.parse::<SessionId>().unwrap());
        let of = |part: &str| {
            let found: Vec<_> = ids.iter().filter(|id| is_meant(id.as_str(), part)).cloned().collect();
            only(&found, part, "session", "`mgx session list` lists them").map_err(|failure| failure.message)
        };
        assert_eq!(of("ry-2").unwrap().as_str(), "bakery-2");
        assert_eq!(of("bake").unwrap_err(), "bake is a part of 2 sessions: bakery, bakery-2");
        assert_eq!(of("akery").unwrap().as_str(), "bakery", "only the beginning and the end count");
        assert_eq!(of("cafe").unwrap_err(), "there is no session cafe; `mgx session list` lists them");
        for wrong in ["", "abc", "x-y-z", "../x"] {
            assert!(wrong.parse::<JobName>().is_err(), "{wrong}");
        }
    }
}
