//! The event stream: where it begins, where it ends, and what it refuses.

use anyhow::Result;
use mgx_tests::Server;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::session::settings;

#[tokio::test]
async fn it_resumes_anywhere_and_ends_when_the_session_has() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    client.submit(&session, &json!({ "prompt": "Create a simple homepage" })).await?;
    let all = client.until_finish(&session).await?;
    let last = all.last().map_or(0, |frame| frame.id);

    for after in [0, 1, last / 2, last - 1] {
        let rest = client.follow(&session, after, |_| false).await?;
        assert_eq!(rest, all[usize::try_from(after)?..], "after {after}, to the end of the stream");
    }
    let events = format!("/api/sessions/{session}/events");
    let get = |id: String| {
        client.request(Method::GET, &events).header("last-event-id", id).header("accept", "text/event-stream")
    };
    assert_eq!(get(last.to_string()).send().await?.status(), StatusCode::NO_CONTENT);

    for bad in ["abc", "-1", "1e30", "007", ""] {
        let answer = get(bad.to_owned()).send().await?;
        assert_eq!(answer.status(), 400, "{bad:?}");
        assert_eq!(answer.json::<serde_json::Value>().await?["code"], "invalid-last-event-id");
    }
    assert_eq!(get("1".to_owned()).header("last-event-id", "2").send().await?.status(), 400, "two of them");
    let ahead = get((last + 1).to_string()).send().await?;
    assert_eq!(
        (ahead.status().as_u16(), &ahead.json::<serde_json::Value>().await?["code"]),
        (409, &json!("event-id-ahead"))
    );

    let page = client
        .request(Method::GET, &format!("{events}?after=1&limit=2"))
        .header("accept", "application/json");
    let page: serde_json::Value = page.send().await?.json().await?;
    let ids: Vec<_> =
        page["events"].as_array().into_iter().flatten().map(|event| event["seq"].clone()).collect();
    assert_eq!(ids, [2, 3], "{page}");

    assert_eq!(client.request(Method::HEAD, &events).send().await?.status(), 200);
    let post = client.request(Method::POST, &events).send().await?;
    assert_eq!(post.status(), 405);
    assert!(post.headers()["allow"].to_str()?.contains("GET"));
    let zipped = client
        .request(Method::GET, &events)
        .header("accept-encoding", "gzip")
        .header("accept", "text/event-stream");
    assert!(!zipped.send().await?.headers().contains_key("content-encoding"));
    Ok(())
}
