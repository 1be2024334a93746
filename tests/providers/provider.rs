//! The provider: plays the answers of each case over plain sockets, and counts the requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::case::{Answer, Case, End, Fault, Step};

/// What `write` puts into a file.
const PAGE: &str = "export default function Page() {\n  return <main><h1>Bakery 🥐</h1></main>;\n}\n";

/// How long a connection that stays open does.
const HOLD: Duration = Duration::from_mins(1);

/// A provider on a port of its own.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    /// Its base URL.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    cases: HashMap<String, Case>,
    /// The requests of the engineer, by case.
    requests: HashMap<String, Vec<Value>>,
    /// The answers that were given in order, by case.
    answered: HashMap<String, usize>,
    /// How many clients have hung up before the end of their answer.
    hang_ups: usize,
    /// Answers every request, in the place of the cases.
    scripted: Option<Script>,
}

/// Decides about each request: the steps of a stream, or a status with a body.
type Script = fn(&Value, &[Value]) -> Answer;

impl Provider {
    /// Starts a provider that plays `cases`.
    pub(crate) async fn start(cases: &[Case]) -> Result<Self> {
        let cases = cases.iter().map(|case| (case.name.clone(), case.clone())).collect();
        Self::serve(State { cases, ..State::default() }).await
    }

    /// Starts a provider that answers as `script` says.
    pub(crate) async fn scripted(script: Script) -> Result<Self> {
        Self::serve(State { scripted: Some(script), ..State::default() }).await
    }

    async fn serve(state: State) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let provider = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let provider = serving.clone();
                // a client that hangs up ends its connection only
                tokio::spawn(async move {
                    if provider.answer(socket).await.is_err() {
                        provider.lock().hang_ups += 1;
                    }
                });
            }
        });
        Ok(provider)
    }

    /// How many requests of the engineer a case had.
    pub(crate) fn requests(&self, case: &str) -> usize {
        self.lock().requests.get(case).map_or(0, Vec::len)
    }

    /// Every request of a case.
    pub(crate) fn all_requests(&self, case: &str) -> Vec<Value> {
        self.lock().requests.get(case).cloned().unwrap_or_default()
    }

    /// How many clients have hung up before the end of their answer.
    pub(crate) fn hang_ups(&self) -> usize {
        self.lock().hang_ups
    }

    /// The last request of the engineer of a case, as text.
    pub(crate) fn last_request(&self, case: &str) -> String {
        self.lock().requests.get(case).and_then(|all| all.last()).map(Value::to_string).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, mut socket: TcpStream) -> Result<()> {
        socket.set_nodelay(true)?;
        let body = read(&mut socket).await?;
        let answer = self.answer_to(&body);
        play(socket, answer).await
    }

    fn answer_to(&self, body: &Value) -> Answer {
        let mut state = self.lock();
        if let Some(script) = state.scripted {
            let earlier = state.requests.entry(String::new()).or_default();
            let answer = script(body, earlier);
            earlier.push(body.clone());
            return answer;
        }
        if body["model"] == "router" {
            let steps = vec![
                Step::Text(r#"{"roles": ["engineer"]}"#.to_owned()),
                Step::Finish("stop".to_owned()),
                Step::Done,
            ];
            return Answer { steps, ..Answer::default() };
        }
        let name = case_of(body);
        state.requests.entry(name.clone()).or_default().push(body.clone());
        let Some(case) = state.cases.get(&name).cloned() else { return Answer::default() };
        if let Some(refusal) = case.refuses.iter().find(|refusal| refusal.when.is_in(body)) {
            let (status, body) = (refusal.status.clone(), Some(refusal.body.clone()));
            return Answer { status, body, ..Answer::default() };
        }
        let number = state.answered.entry(name).or_default();
        let answer = case.answers.get(*number).or(case.answers.last()).cloned().unwrap_or_default();
        *number += 1;
        answer
    }
}

impl Fault {
    fn is_in(&self, body: &Value) -> bool {
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let calls =
            || messages.iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten());
        match self {
            Self::HasField(name) => body.get(name).is_some(),
            Self::HasRole(role) => messages.iter().any(|message| message["role"] == role.as_str()),
            Self::MessageHas(name) => messages.iter().any(|message| message.get(name).is_some()),
            Self::NullContent => {
                messages.iter().any(|message| message.get("content").is_some_and(Value::is_null))
            }
            Self::MessageLacks(name) => messages.iter().any(|message| {
                message["tool_calls"].is_array() && message[name].as_str().is_none_or(str::is_empty)
            }),
            Self::CallLacks(name) => calls().any(|call| call.get(name).is_none()),
            Self::SharedId => {
                let ids: Vec<_> = calls().map(|call| &call["id"]).collect();
                ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id))
            }
            Self::BadName => calls().any(|call| {
                let name = call["function"]["name"].as_str().unwrap_or_default();
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                !(1..=64).contains(&name.len()) || !name.bytes().all(is_plain)
            }),
            Self::EmptyContent => messages.iter().any(|message| message["content"] == ""),
            Self::LongerThan(tokens) => body["messages"].to_string().len() / 4 > *tokens,
        }
    }
}

/// The case that the newest prompt names.
fn case_of(body: &Value) -> String {
    let users = body["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "user");
    let text = users.map(|message| message["content"].to_string()).collect::<String>();
    let name = text.rsplit("case=").next().unwrap_or_default();
    name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Reads one request; its body.
pub(crate) async fn read(socket: &mut TcpStream) -> Result<Value> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            bail!("the client has closed the connection");
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no content-length")?.trim().parse()?;
        if bytes.len() >= end + 4 + length {
            return Ok(serde_json::from_slice(&bytes[end + 4..end + 4 + length])?);
        }
    }
}

async fn play(mut socket: TcpStream, answer: Answer) -> Result<()> {
    let status = if answer.status.is_empty() { "200 OK" } else { &answer.status };
    let headers = answer.headers.iter().flat_map(|header| [header.as_str(), "\r\n"]).collect::<String>();
    let text = answer.body.as_ref().map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned));
    if let Some(body) = text.map(String::into_bytes).or(answer.body_hex.as_deref().map(from_hex)) {
        let kind = if answer.content_type.is_empty() { "application/json" } else { &answer.content_type };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), &body[..]].concat()).await?;
        return Ok(socket.shutdown().await?);
    }
    let is_chunked = !answer.is_http10;
    let framing = if is_chunked { "HTTP/1.1" } else { "HTTP/1.0" };
    let encoding = if is_chunked { "transfer-encoding: chunked\r\n" } else { "" };
    let mut sending = Sending {
        socket,
        head: Some(format!(
            "{framing} {status}\r\ncontent-type: text/event-stream\r\n{encoding}connection: close\r\n{headers}\r\n"
        )),
        is_chunked,
    };
    for step in answer.steps {
        sending.step(step).await?;
    }
    sending.bytes(b"").await?;
    match answer.end {
        End::Close => {
            if is_chunked {
                sending.socket.write_all(b"0\r\n\r\n").await?;
            }
            sending.socket.shutdown().await?;
        }
        End::Reset => sending.socket.set_zero_linger()?,
        End::Hold => sleep(HOLD).await,
    }
    Ok(())
}

/// A stream that is being sent.
struct Sending {
    socket: TcpStream,
    /// The head, until the first bytes are sent: a pause before them is one before the head.
    head: Option<String>,
    is_chunked: bool,
}

fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

impl Sending {
    async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Text(text) => {
                let chars: Vec<char> = text.chars().collect();
                for piece in chars.chunks(40) {
                    self.delta(&json!({ "content": piece.iter().collect::<String>() }), None).await?;
                }
                Ok(())
            }
            Step::Write(path) => {
                let arguments = json!({ "path": path, "content": PAGE }).to_string();
                let begin = json!({ "tool_calls": [{ "index": 0, "id": format!("call_{path}"), "type": "function",
                    "function": { "name": "write_file", "arguments": "" } }] });
                self.delta(&begin, None).await?;
                let chars: Vec<char> = arguments.chars().collect();
                for piece in chars.chunks(30) {
                    let piece: String = piece.iter().collect();
                    self.delta(
                        &json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
                        None,
                    )
                    .await?;
                }
                Ok(())
            }
            Step::Delta(delta) => self.delta(&delta, None).await,
            Step::Finish(reason) => self.delta(&json!({}), Some(&reason)).await,
            Step::Data(data) => {
                let data = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
                self.bytes(format!("data: {data}\n\n").as_bytes()).await
            }
            Step::Raw(text) => self.bytes(text.as_bytes()).await,
            Step::Hex(digits) => self.bytes(&from_hex(&digits)).await,
            Step::Pause(millis) => {
                sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
            Step::Repeat(delta, times, millis) => {
                for _ in 0..times {
                    self.delta(&delta, None).await?;
                    sleep(Duration::from_millis(millis)).await;
                }
                Ok(())
            }
            Step::Done => {
                let usage =
                    json!({ "choices": [], "usage": { "prompt_tokens": 50, "completion_tokens": 20 } });
                self.bytes(format!("data: {usage}\n\ndata: [DONE]\n\n").as_bytes()).await
            }
        }
    }

    async fn delta(&mut self, delta: &Value, finish: Option<&str>) -> Result<()> {
        let chunk = json!({ "id": "1", "object": "chat.completion.chunk", "choices": [
            { "index": 0, "delta": delta, "finish_reason": finish }] });
        self.bytes(format!("data: {chunk}\n\n").as_bytes()).await
    }

    async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(head) = self.head.take() {
            self.socket.write_all(head.as_bytes()).await?;
        }
        if !self.is_chunked {
            self.socket.write_all(bytes).await?;
        } else if !bytes.is_empty() {
            self.socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
            self.socket.write_all(bytes).await?;
            self.socket.write_all(b"\r\n").await?;
        }
        Ok(())
    }
}
