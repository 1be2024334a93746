//! The event stream: where it begins, where it ends, and which requests are refused.

use anyhow::Result;
use mgx_testkit::Server;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::jobs::session::settings;

#[tokio::test]
async fn a_stream_resumes_anywhere_and_ends_with_the_session() -> Result<()> {
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

#[tokio::test]
async fn a_log_that_is_full_says_so_and_still_ends() -> Result<()> {
    let server = Server::start("runtime = \"null\"\nhistory.max_events = 1000", &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let count = |frames: &[mgx_testkit::client::Frame], kind: &str| {
        frames.iter().filter(|frame| frame.event == kind).count()
    };
    client.submit(&session, &json!({ "command": ["say", "3000", "10"] })).await?;
    let frames = client.until_finish(&session).await?;
    let last = frames.last().expect("at least the finish").clone();
    assert_eq!(last.data["data"]["status"], "success", "{last:?}");
    assert_eq!(count(&frames, "truncated"), 1);
    let own = count(&frames, "message_delta");
    assert!((900..1000).contains(&own), "{own} events of 3000 are stored");
    let marker = &frames[frames.len() - 2].data;
    assert_eq!(
        (&marker["event_type"], &marker["data"]["limit"]),
        (&json!("truncated"), &json!("history.max_events"))
    );
    assert_eq!(marker["data"]["from"], own + 1, "the first that is not there");

    client.submit(&session, &json!({ "command": ["say", "50", "10"] })).await?;
    let more = client.follow(&session, last.id, |frame| frame.event == "finish").await?;
    assert_eq!((count(&more, "truncated"), count(&more, "message_delta")), (1, 0), "{more:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_is_exported_and_imported_as_one_file() -> Result<()> {
    let settings = "runtime = \"null\"";
    let (here, there) = (Server::start(settings, &[]).await?, Server::start(settings, &[]).await?);
    let session = here.client().session("nextjs").await?;
    here.client().submit(&session, &json!({ "command": ["say", "1000", "500"] })).await?;
    let frames = here.client().until_finish(&session).await?;
    let exported = here.command(&["export", &session]).output()?;
    assert!(exported.status.success(), "{exported:?}");
    let file = there.data_dir().join("session.jsonl");
    std::fs::write(&file, &exported.stdout)?;
    let imported = there.command(&["import", &file.display().to_string()]).output()?;
    assert!(imported.status.success(), "{imported:?}");
    assert_eq!(there.client().until_finish(&session).await?, frames);
    let again = there.command(&["import", &file.display().to_string()]).output()?;
    assert_eq!(again.status.code(), Some(1), "it is there already: {again:?}");
    std::fs::write(&file, &exported.stdout[..exported.stdout.len() / 2])?;
    let cut = there.command(&["import", &file.display().to_string()]).output()?;
    assert_eq!(cut.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("line "), "{cut:?}");
    Ok(())
}
