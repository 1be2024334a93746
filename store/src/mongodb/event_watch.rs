//! Notification of new events that another process has stored, from the server's change streams or by polling.

use std::time::Duration;

use futures_util::StreamExt;
use mgx_protocol::SessionId;
use mongodb::bson::{Document, doc};
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use tokio::time::sleep;

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::error::{has_no_change_streams, is_unreachable, summary};
use crate::mongodb::request::in_time;

/// How often the logs are read, if the server has no change streams.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pause before a broken stream is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// A receiver of notifications.
pub trait EventListener: Send + Sync {
    /// The sessions to notify about.
    fn sessions(&self) -> Vec<SessionId>;

    /// Called with the number of the newest event of a session.
    fn on_event(&self, session: &SessionId, seq: u64);
}

impl MongoDb {
    /// Notifies `listener` of new events of its sessions, until the future is dropped. A broken stream is resumed where it
    /// broke; what the server does not have any more by then is read from the logs.
    pub async fn notify(&self, listener: &dyn EventListener) {
        let mut resume = None;
        loop {
            match self.follow(listener, &mut resume).await {
                Err(error) if has_no_change_streams(&error) => {
                    tracing::warn!(
                        error = %summary(&error),
                        "the MongoDB server has no change streams; the logs are read every 100 ms instead"
                    );
                    return self.poll(listener).await;
                }
                Err(error) => {
                    tracing::warn!(error = %summary(&error), "the change stream broke; opening it again");
                    // a resume token that the server does not know any more would break it again
                    if !is_unreachable(&error) {
                        resume = None;
                    }
                }
                Ok(()) => resume = None,
            }
            sleep(REOPEN_PAUSE).await;
        }
    }

    async fn follow(
        &self,
        listener: &dyn EventListener,
        resume: &mut Option<ResumeToken>,
    ) -> Result<(), mongodb::error::Error> {
        let of_logs = doc! { "$match": { "operationType": { "$in": ["insert", "update", "replace"] } } };
        let logs = self.db.collection::<Document>("logs");
        let mut stream = logs.watch().pipeline([of_logs]).resume_after(resume.clone()).await?;
        // events from before the stream was opened
        if let Err(failure) = self.read_logs(listener).await {
            tracing::debug!(?failure, "cannot read the newest events");
        }
        while let Some(event) = stream.next().await {
            if let Some((session, seq)) = newest(event?) {
                listener.on_event(&session, seq);
            }
            *resume = stream.resume_token();
        }
        Ok(())
    }

    async fn poll(&self, listener: &dyn EventListener) {
        loop {
            sleep(POLL_INTERVAL).await;
            if let Err(failure) = self.read_logs(listener).await {
                tracing::warn!(?failure, "cannot read the newest events");
                sleep(REOPEN_PAUSE).await;
            }
        }
    }

    /// Reads the logs of the listener's sessions, and notifies it.
    async fn read_logs(&self, listener: &dyn EventListener) -> Result<(), Failure> {
        let sessions = listener.sessions();
        for ids in sessions.chunks(1000) {
            let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
            let found = in_time(async {
                let logs = self.collection("logs");
                let found = logs.find(doc! { "_id": { "$in": ids } });
                found.await?.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()
            });
            for log in found.await? {
                listener.on_event(
                    &crate::mongodb::bson_values::parse(&log, "_id")?,
                    crate::mongodb::bson_values::number(&log, "seq")?,
                );
            }
        }
        Ok(())
    }
}

/// The session of a change, and the number of its newest event.
fn newest(event: ChangeStreamEvent<Document>) -> Option<(SessionId, u64)> {
    let session = event.document_key?.get_str("_id").ok()?.parse().ok()?;
    let fields = event.full_document.or_else(|| Some(event.update_description?.updated_fields))?;
    let seq = fields.get("seq")?;
    let seq = seq.as_i64().or_else(|| seq.as_i32().map(i64::from))?;
    Some((session, seq.unsigned_abs()))
}
