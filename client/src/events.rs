//! The events of a session: a page at a time, or as a stream.

pub mod event;
pub mod feed;

use mgx_protocol::SessionId;
use reqwest::header::ACCEPT;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use event::Event;

/// How many events a page holds at most.
const PAGE_EVENTS: u64 = 1000;

impl Client {
    /// A page of the events of a session, after number `after`, or from the oldest event that is kept; `None` if there
    /// is no such session. An empty page is the end.
    ///
    /// # Errors
    /// [`Problem`](crate::Problem) `events-trimmed` if events right after `after` are no longer kept; or the server did
    /// not answer.
    pub async fn event_page(
        &self,
        session: &SessionId,
        after: Option<u64>,
    ) -> Result<Option<Vec<Event>>, Error> {
        let request = self.request(Method::GET, &format!("/api/sessions/{session}/events"));
        let mut query = vec![("limit", PAGE_EVENTS)];
        query.extend(after.map(|after| ("after", after)));
        let page: Option<Value> = self.found(request.query(&query)).await?;
        let Some(mut page) = page else { return Ok(None) };
        match page["events"].take() {
            Value::Array(events) => Ok(Some(events.into_iter().filter_map(Event::of).collect())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Err(self.foreign(StatusCode::OK, "no page of events"))
            }
        }
    }

    /// Opens the event stream of a session after number `after`, or from the oldest event that is kept. The answer has
    /// no deadline. [`Feed`](crate::Feed) opens and reads such streams.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn event_stream(&self, session: &SessionId, after: Option<u64>) -> reqwest::Result<Response> {
        let path = format!("/api/sessions/{session}/events");
        let mut request = self.authorized(Method::GET, &path).header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        request.send().await
    }
}
