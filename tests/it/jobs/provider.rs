//! A session with a faulty model provider: it succeeds, and the provider's key never enters a container.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mgx_testkit::{Engine, ModelProvider, Server};
use serde_json::json;

use crate::jobs::session::settings;

const KEY: &str = "sk-canary-5a1f0c-never-in-a-container";

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_provider_does_not_stop_a_session_and_the_key_never_enters_the_container() -> Result<()> {
    let provider = ModelProvider::start().await?;
    let env = [("OPENAI_BASE_URL", &*provider.url), ("OPENAI_API_KEY", KEY)];
    let server = Server::start(&settings(), &env).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "prompt": "Write notes" })).await?;

    let first = client.follow(&session, 0, |frame| frame.event == "tool_start").await?;
    for name in Engine::containers_of(&session)? {
        search_container(&name)?;
    }
    let frames = client.until_finish(&session).await?;
    assert!(!first.is_empty());
    assert_eq!(
        frames.last().map(|frame| frame.data["data"]["status"].clone()),
        Some(json!("success")),
        "{frames:?}"
    );
    let notes = fs::read_dir(server.data_dir().join(format!("workspaces/{session}/notes")))?.count();
    assert!(notes >= 1, "the tool calls were put together from their fragments");

    let requests = provider.requests();
    assert!(requests.len() > 3, "{} requests", requests.len());
    for (headers, _) in &requests {
        assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
        let names: Vec<_> = headers.keys().map(http_name).collect();
        assert!(!names.iter().any(|name| name.starts_with("x-mgx")), "only listed headers go out: {names:?}");
    }
    assert!(!client.job(&job).await?.to_string().contains(KEY));
    assert!(!format!("{frames:?}").contains(KEY), "the key is in an event");
    assert!(!server.log().contains(KEY), "the key is in the log");
    Ok(())
}

fn http_name(name: &reqwest::header::HeaderName) -> String {
    name.as_str().to_owned()
}

/// Looks for the key in the container's environment, arguments and files, and in what the engine reports.
fn search_container(name: &str) -> Result<()> {
    assert!(!Engine::inspect(name)?.to_string().contains(KEY), "the key is in inspect");
    let mut looked = 0;
    for pid in Engine::processes(name).unwrap_or_default() {
        for file in ["environ", "cmdline"] {
            if let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) {
                assert!(!contains(&bytes), "the key is in /proc/{pid}/{file}");
                looked += 1;
            }
        }
        for part in ["tmp", "run", "etc", "workspace"] {
            looked += search_files(&Path::new("/proc").join(pid.to_string()).join("root").join(part));
        }
    }
    assert!(looked > 0, "nothing could be looked at");
    Ok(())
}

fn search_files(dir: &Path) -> usize {
    let mut looked = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            looked += search_files(&path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(bytes) = fs::read(&path)
        {
            assert!(!contains(&bytes), "the key is in {}", path.display());
            looked += 1;
        }
    }
    looked
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes())
}
