//! A session of many prompts, with a provider whose context is small and that counts the tokens.

use anyhow::{Result, ensure};
use mgx_testkit::Server;
use serde_json::{Value, json};

use crate::case::{Answer, Step};
use crate::provider::Provider;
use crate::settings;

/// How many prompts one session has.
const PROMPTS: usize = 30;

/// A fact of the first prompt.
const FACT: &str = "the bakery is called Sonnenschein";

fn tokens(body: &Value) -> usize {
    body["messages"].to_string().len() / 4
}

fn said(text: &str) -> Answer {
    let steps = vec![Step::Text(text.to_owned()), Step::Finish("stop".to_owned()), Step::Done];
    Answer { steps, ..Answer::default() }
}

/// A provider with a context of `window` tokens. The engineer writes one file for each prompt and talks much.
fn answer(body: &Value, window: usize) -> Answer {
    if tokens(body) > window {
        let message = format!(
            "This model's maximum context length is {window} tokens. However, you sent {}.",
            tokens(body)
        );
        let body = Some(json!({ "error": { "message": message, "code": 400 } }));
        return Answer { status: "400 Bad Request".to_owned(), body, ..Answer::default() };
    }
    if body["model"] == "router" {
        return said(r#"{"roles": ["engineer"]}"#);
    }
    if body["tools"].is_null() {
        return said("They build a page for a bakery.");
    }
    let has_written =
        body["messages"].as_array().is_some_and(|all| all.iter().any(|one| one["role"] == "tool"));
    if has_written {
        return said(
            &"I have changed the page as you asked, and this is what I have thought about it. ".repeat(60),
        );
    }
    let steps =
        vec![Step::Write("app/page.tsx".to_owned()), Step::Finish("tool_calls".to_owned()), Step::Done];
    Answer { steps, ..Answer::default() }
}

/// Plays the prompts; the tokens of the largest request of each.
async fn play(provider: &Provider, context_tokens: usize) -> Result<Vec<usize>> {
    let server =
        Server::start(&settings(provider, &format!("agents.context_tokens = {context_tokens}")), &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let mut sizes = Vec::new();
    let mut after = 0;
    for number in 0..PROMPTS {
        let prompt = if number == 0 { FACT.to_owned() } else { format!("change number {number}, please") };
        let job = client.submit(&session, &json!({ "prompt": prompt })).await?;
        let frames = client.follow(&session, after, |frame| frame.event == "finish").await?;
        after = frames.last().map_or(after, |frame| frame.id);
        let job = client.job(&job).await?;
        ensure!(job["state"] == "succeeded", "prompt {number}: {job}");
        let requests = provider.all_requests("");
        let earlier: usize = sizes.iter().map(|(count, _)| count).sum();
        let largest = requests[earlier..].iter().map(tokens).max().unwrap_or(0);
        sizes.push((requests.len() - earlier, largest));
    }
    let last = provider.last_request("");
    ensure!(last.contains(FACT), "the last request knows nothing of the first prompt");
    ensure!(last.contains("change number 28"), "the last request knows nothing of the one before");
    Ok(sizes.into_iter().map(|(_, largest)| largest).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_prompts_fit_into_a_small_context_and_the_first_is_not_forgotten() -> Result<()> {
    // the platform is told of a larger one, and has to learn the truth from a refusal
    let provider = Provider::scripted(|body, _| answer(body, 32_768)).await?;
    let sizes = play(&provider, 128_000).await?;
    ensure!(sizes.iter().all(|size| *size <= 40_000), "{sizes:?}");
    ensure!(sizes[PROMPTS - 1] <= 32_768, "{sizes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_prompts_in_a_large_context_stay_bounded_too() -> Result<()> {
    let provider = Provider::scripted(|body, _| answer(body, 200_000)).await?;
    let sizes = play(&provider, 200_000).await?;
    ensure!(sizes.iter().all(|size| *size <= 60_000), "{sizes:?}");
    Ok(())
}
