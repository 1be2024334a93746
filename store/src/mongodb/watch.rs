//! Hearing of new events that another process has stored: from the server's change streams, or by asking.

use std::time::Duration;

use futures_util::StreamExt;
use mgx_protocol::SessionId;
use mongodb::bson::{Document, doc};
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use tokio::time::sleep;

use super::error::{Fault, is_away, short};
use super::{MongoDb, in_time};

/// How often it is asked, if the server has no change streams.
const ASK: Duration = Duration::from_millis(100);

/// How long to wait before a stream that has broken is opened again.
const AGAIN: Duration = Duration::from_millis(250);

/// Whoever wants to hear of new events.
pub trait Ear: Send + Sync {
    /// The sessions that somebody follows.
    fn follows(&self) -> Vec<SessionId>;

    /// The newest event of a session has this number.
    fn hears(&self, session: &SessionId, seq: u64);
}

impl MongoDb {
    /// Tells `ear` of the newest events of every session that it follows, until this is dropped. A stream that breaks
    /// goes on where it broke; what the server no longer knows by then is asked for.
    pub async fn watch(&self, ear: &dyn Ear) {
        let mut resume = None;
        loop {
            match self.follow(ear, &mut resume).await {
                // its own word for it, and the words of servers that speak this protocol but do not know the stage
                Err(error) if has_no_streams(&error) => {
                    tracing::warn!(
                        error = %short(&error),
                        "the MongoDB server has no change streams; it is asked every 100 ms instead"
                    );
                    return self.ask(ear).await;
                }
                Err(error) => {
                    tracing::warn!(error = %short(&error), "the change stream has broken; it is opened again");
                    // a place that the server does not know any more would break it again
                    if !is_away(&error) {
                        resume = None;
                    }
                }
                Ok(()) => resume = None,
            }
            sleep(AGAIN).await;
        }
    }

    async fn follow(
        &self,
        ear: &dyn Ear,
        resume: &mut Option<ResumeToken>,
    ) -> Result<(), mongodb::error::Error> {
        let of_logs = doc! { "$match": { "operationType": { "$in": ["insert", "update", "replace"] } } };
        let logs = self.db.collection::<Document>("logs");
        let mut stream = logs.watch().pipeline([of_logs]).resume_after(resume.clone()).await?;
        // what happened before it was opened
        if let Err(fault) = self.tell(ear).await {
            tracing::debug!(?fault, "cannot ask for the newest events");
        }
        while let Some(event) = stream.next().await {
            if let Some((session, seq)) = newest(event?) {
                ear.hears(&session, seq);
            }
            *resume = stream.resume_token();
        }
        Ok(())
    }

    async fn ask(&self, ear: &dyn Ear) {
        loop {
            sleep(ASK).await;
            if let Err(fault) = self.tell(ear).await {
                tracing::warn!(?fault, "cannot ask for the newest events");
                sleep(AGAIN).await;
            }
        }
    }

    /// Asks where the logs stand that somebody follows, and tells.
    async fn tell(&self, ear: &dyn Ear) -> Result<(), Fault> {
        let follows = ear.follows();
        for ids in follows.chunks(1000) {
            let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
            let found = in_time(async {
                let logs = self.rows("logs");
                let found = logs.find(doc! { "_id": { "$in": ids } });
                found.await?.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()
            });
            for log in found.await? {
                ear.hears(&super::document::parse(&log, "_id")?, super::document::number(&log, "seq")?);
            }
        }
        Ok(())
    }
}

/// The session that an event is about, and its newest number.
fn newest(event: ChangeStreamEvent<Document>) -> Option<(SessionId, u64)> {
    let session = event.document_key?.get_str("_id").ok()?.parse().ok()?;
    let fields = event.full_document.or_else(|| Some(event.update_description?.updated_fields))?;
    let seq = fields.get("seq")?;
    let seq = seq.as_i64().or_else(|| seq.as_i32().map(i64::from))?;
    Some((session, seq.unsigned_abs()))
}

/// Whether the server says that it has no change streams at all: `$changeStream` only on replica sets (40573), or no
/// such stage (40324).
fn has_no_streams(error: &mongodb::error::Error) -> bool {
    match &*error.kind {
        mongodb::error::ErrorKind::Command(error) => [40573, 40324].contains(&error.code),
        // the driver's, and it adds to them
        _ => false,
    }
}
