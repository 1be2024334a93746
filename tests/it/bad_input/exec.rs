//! Invalid commands, and output that is not text (C4, and what of C5 a command can print).
//!
//! A command is run as a job; there is no other way into a container, and so no frames of its own. The frames of the
//! runner link are in `mgx-agent-runner` (`codec`, and the fuzz target `link_codec`) and `mgx-runtimes` (`tests/link`);
//! that a command ends with all of its processes is in `timeout.rs`, `truth.rs` and `mgx-agent-runner` (`tests/runner`).

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::{JSON, code};
use crate::jobs::session::busybox;

#[tokio::test]
async fn arguments_arrive_as_they_are_and_output_is_only_ever_output() -> Result<()> {
    let server = busybox().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let odd = ["it's \"quoted\"", "$(id)`id`", "a\nb", "", "*", "-n", "\u{1f980}", "; exit 7"];
    let mut command = vec!["/bin/busybox", "printf", "<%s>"];
    command.extend(odd);
    client.submit(&session, &json!({ "command": command })).await?;
    let frames = client.until_finish(&session).await?;
    let lines = |frames: &[mgx_testkit::client::Frame]| {
        let lines = frames.iter().filter(|frame| frame.event == "log");
        lines
            .map(|frame| frame.data["data"]["text"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let printed: String = odd.map(|argument| format!("<{argument}>")).concat();
    assert_eq!(lines(&frames).join("\n"), printed);
    assert_eq!(frames.last().map(|frame| frame.data["data"]["exit"]["code"].clone()), Some(json!(0)));

    // what would be an event's frame, a terminal's command, or no text
    let script = r"printf 'data: x\n\nevent: finish\ndata: {}\n\n'; printf '\r\0\033]52;c;eA==\007\377\376 no newline'";
    let after = frames.last().map_or(0, |frame| frame.id);
    client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
    let frames = client.follow(&session, after, |frame| frame.event == "finish").await?;
    assert_eq!(frames.iter().filter(|frame| frame.event == "finish").count(), 1);
    let lines = lines(&frames);
    assert!(
        lines.contains(&"event: finish".to_owned()) && lines.contains(&"data: {}".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.contains('\0') && line.ends_with("\u{fffd}\u{fffd} no newline")),
        "{lines:?}"
    );
    assert_eq!(frames.last().map(|frame| frame.data["data"]["status"].clone()), Some(json!("success")));
    Ok(())
}

#[tokio::test]
async fn a_flood_of_output_is_cut_where_it_is_too_much_and_its_end_is_told() -> Result<()> {
    let server = crate::jobs::session::busybox_with("history.max_bytes = \"1MiB\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    // 64 MiB without a single newline
    let script = "head -c 67108864 /dev/zero | tr '\\0' x; exit 5";
    client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
    let frames = client.until_finish(&session).await?;
    assert_eq!(frames.iter().filter(|frame| frame.event == "truncated").count(), 1);
    let bytes: usize = frames.iter().map(|frame| frame.data["data"].to_string().len()).sum();
    assert!(bytes < 2 << 20, "{bytes}");
    assert_eq!(frames.last().map(|frame| frame.data["data"]["exit"]["code"].clone()), Some(json!(5)));

    let jobs = format!("/api/sessions/{session}/jobs");
    for (command, expected) in [
        (json!([]), (422, "validation")),
        (json!("ls"), (422, "validation")),
        (json!(["a\u{0}b"]), (422, "validation")),
        (json!([1]), (422, "validation")),
        (json!([["ls"]]), (422, "validation")),
        (json!(["x".repeat(900_000)]), (422, "validation")),
        (json!(["x".repeat(2 << 20)]), (413, "body-too-large")),
    ] {
        let body = json!({ "command": command }).to_string();
        let got = code(&client, Method::POST, &jobs, &[JSON], body.into()).await?;
        assert_eq!((got.0, &*got.1), expected, "{:.60}", command.to_string());
    }
    Ok(())
}
