//! Every dialect of the stream that a reply is assembled from.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn offered() -> Assembly {
    Assembly::new(["write_file", "list_files"].map(str::to_owned).to_vec())
}

fn assembled(chunks: &[&str]) -> Option<Reply> {
    let mut assembly = offered();
    for chunk in chunks {
        assembly.push(chunk).unwrap();
    }
    assembly.finish(&mut CallIds::default()).unwrap()
}

/// The calls of `fragments`, each in a chunk of its own, as `id name arguments`; ids of ours are `*`.
fn calls(fragments: &[Value]) -> Vec<String> {
    let chunks: Vec<_> = fragments
        .iter()
        .map(|fragment| json!({ "choices": [{ "delta": { "tool_calls": [fragment] } }] }).to_string())
        .chain(["[DONE]".to_owned()])
        .collect();
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let shown = |call: ToolCall| {
        let is_sent = fragments.iter().any(|fragment| fragment["id"] == call.id.as_str());
        format!("{} {} {}", if is_sent { &call.id } else { "*" }, call.name, call.arguments.value())
    };
    assembled(&chunks).unwrap().calls.into_iter().map(shown).collect()
}

#[test]
fn every_spelling_of_text_and_end_is_understood() {
    for chunks in [
        &[
            r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
            "[DONE]",
        ][..],
        &[
            r#"{"created":1.5,"choices":[{"delta":{"content":"H"},"finish_reason":""}]}"#,
            "",
            r#"{"choices":[{"delta":{"content":"i"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3.0,"completion_tokens":2}}"#,
            r#"{"usage":{"prompt_tokens":-3,"completion_tokens":null}}"#,
        ],
        &[
            r#"{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"end_turn"}],"usage":{"input_tokens":3,"output_tokens":2}}"#,
        ],
        &[
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"H"}]}}]}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"i"}],"new_field":{"x":1}},"finish_reason":"STOP"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            "{ no json",
        ],
    ] {
        let reply = assembled(chunks).unwrap_or_else(|| panic!("{chunks:?}"));
        assert_eq!((reply.content.as_str(), &reply.finish), ("Hi", &FinishReason::Stop), "{chunks:?}");
        assert_eq!(reply.usage, Usage { prompt_tokens: 3, completion_tokens: 2 }, "{chunks:?}");
    }
}

#[test]
fn reasoning_is_kept_apart_and_sent_back_as_it_came() {
    let call = r#"{"index":0,"id":"a","function":{"name":"write_file","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}}"#;
    for (delta, field) in [
        (r#""reasoning_content":"hm""#, Some("reasoning_content")),
        (r#""reasoning":"hm""#, Some("reasoning")),
        (r#""reasoning":"hm","reasoning_content":"hm""#, Some("reasoning_content")),
        (
            r#""reasoning_details":[{"type":"reasoning.text","index":0,"text":"hm","signature":"s"}]"#,
            Some("reasoning_details"),
        ),
        (r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]"#, None),
        (r#""content":"<think>hm</think>""#, None),
    ] {
        let chunk = format!(
            r#"{{"choices":[{{"delta":{{{delta},"tool_calls":[{call}]}},"finish_reason":"tool_calls"}}]}}"#
        );
        let reply = assembled(&[&chunk]).unwrap();
        assert_eq!((reply.reasoning.as_str(), reply.content.as_str()), ("hm", ""), "{delta}");
        let message = reply.message();
        assert_eq!(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "c2ln");
        for name in ["reasoning_content", "reasoning", "reasoning_details"] {
            assert_eq!(message.get(name).is_some(), field == Some(name), "{delta}: {message}");
        }
        assert!(!message.to_string().contains("<think>"));
    }
}

#[test]
fn fragments_of_reasoning_details_become_whole_blocks() {
    let chunk =
        |detail: Value| json!({ "choices": [{ "delta": { "reasoning_details": [detail] } }] }).to_string();
    let chunks = [
        chunk(json!({ "type": "reasoning.text", "index": 0, "text": "a" })),
        chunk(json!({ "type": "reasoning.text", "index": 0, "text": "b", "signature": "s" })),
        chunk(json!({ "type": "reasoning.encrypted", "index": 1, "data": "x" })),
        "[DONE]".to_owned(),
    ];
    let reply = assembled(&chunks.each_ref().map(String::as_str)).unwrap();
    assert_eq!(
        reply.provider_fields["reasoning_details"],
        json!([
            { "type": "reasoning.text", "index": 0, "text": "ab", "signature": "s" },
            { "type": "reasoning.encrypted", "index": 1, "data": "x" },
        ])
    );
}

#[test]
fn calls_are_told_apart_by_index_id_name_or_order() {
    let args = r#"{"path":"x"}"#;
    let two = ["a write_file {\"path\":\"x\"}", "b list_files {}"];
    // as OpenAI sends them: id and name first, then pieces of the arguments, by index
    assert_eq!(
        calls(&[
            json!({"index":0,"id":"a","type":"function","function":{"name":"write_file","arguments":""}}),
            json!({"index":1,"id":"b","function":{"name":"list_files","arguments":"{}"}}),
            json!({"index":0,"function":{"arguments":"{\"path\":"}}),
            json!({"index":0,"id":"a","function":{"name":"write_file","arguments":"\"x\"}"}}),
        ]),
        two
    );
    // no index: an id begins a call
    assert_eq!(
        calls(&[
            json!({"id":"a","function":{"name":"write_file","arguments":null}}),
            json!({"id":null,"function":{"name":null,"arguments":"{\"path\":"}}),
            json!({"id":"","function":{"name":"","arguments":"\"x\"}"}}),
            json!({"id":"b","function":{"name":"list_files","arguments":{}}}),
        ]),
        two
    );
    // every call at index 0
    assert_eq!(
        calls(&[
            json!({"index":0,"id":"a","function":{"name":"write_file","arguments":args}}),
            json!({"index":0,"id":"b","function":{"name":"list_files","arguments":"{}"}}),
        ]),
        two
    );
    // Gemini: every call whole, at index 0, with an empty id; or with a name only
    let ours = ["* write_file {\"path\":\"x\"}", "* write_file {\"path\":\"y\"}"];
    for index in [json!(0), Value::Null] {
        let call = |path: &str| json!({"index":index,"id":"","function":{"name":"write_file","arguments":format!("{{\"path\":\"{path}\"}}")}});
        assert_eq!(calls(&[call("x"), call("y")]), ours);
    }
    // the same id at two indices
    let call = |index: i64, path: &str| json!({"index":index,"id":"a","function":{"name":"write_file","arguments":json!({"path":path}).to_string()}});
    assert_eq!(
        calls(&[call(0, "x"), call(1, "y")]),
        ["a write_file {\"path\":\"x\"}", "* write_file {\"path\":\"y\"}"]
    );
    // a new id with every fragment
    assert_eq!(
        calls(&[
            json!({"index":0,"id":"a","function":{"name":"write_file","arguments":""}}),
            json!({"index":0,"id":"c","function":{"arguments":"{\"path\":"}}),
            json!({"index":0,"id":"d","function":{"name":"write_file","arguments":"\"x\"}"}}),
            json!({"index":1,"id":"b","function":{"name":"list_files","arguments":"{}"}}),
        ]),
        two
    );
    // names alone, one after the other, and indices as texts
    assert_eq!(
        calls(&[
            json!({"function":{"name":"list_files"}}),
            json!({"function":{"name":"write_file","arguments":"{\"path\":\"x\"}"}})
        ]),
        ["* list_files {}", "* write_file {\"path\":\"x\"}"]
    );
    assert_eq!(
        calls(&[
            json!({"index":"0","id":"a","function":{"name":"write_file","arguments":"{\"path\":"}}),
            json!({"index":"1","id":"b","function":{"name":"list_files","arguments":"{}"}}),
            json!({"index":"0","function":{"arguments":"\"x\"}"}}),
        ]),
        two
    );
}

#[test]
fn a_whole_message_after_its_deltas_is_not_taken_twice() {
    let chunks = [
        r#"{"choices":[{"delta":{"reasoning_content":"hm","content":"Hi"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"write_file","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"message":{"content":"Hi","reasoning_content":"hm","tool_calls":[{"id":"a","function":{"name":"write_file","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
    ];
    let reply = assembled(&chunks).unwrap();
    assert_eq!((&reply.content[..], &reply.reasoning[..], reply.calls.len()), ("Hi", "hm", 1));
    assert_eq!(reply.calls[0].arguments.value(), json!({}));
}

#[test]
fn signed_thoughts_are_sent_back_as_they_came() {
    let call = json!([{ "index": 0, "id": "a", "function": { "name": "write_file", "arguments": "{}" } }]);
    let message = |deltas: &[Value]| {
        let chunks = deltas.iter().map(|delta| json!({ "choices": [{ "delta": delta }] }).to_string());
        let chunks: Vec<_> = chunks.chain(["[DONE]".to_owned()]).collect();
        assembled(&chunks.iter().map(String::as_str).collect::<Vec<_>>()).unwrap().message()
    };
    let blocks = message(&[
        json!({ "thinking_blocks": [{ "type": "thinking", "thinking": "h", "signature": null }] }),
        json!({ "thinking_blocks": [{ "type": "thinking", "thinking": "m", "signature": "s" }] }),
        json!({ "tool_calls": call }),
    ]);
    assert_eq!(
        blocks["thinking_blocks"],
        json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }])
    );
    let parts = message(&[
        json!({ "content": [{ "type": "thinking", "thinking": "hm", "signature": "s" }] }),
        json!({ "content": [{ "type": "text", "text": "Now." }], "tool_calls": call }),
    ]);
    assert_eq!(
        parts["content"],
        json!([{ "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "text", "text": "Now." }])
    );
    let extra = message(&[
        json!({ "extra_content": { "google": { "thought_signature": "s" } }, "tool_calls": call }),
    ]);
    assert_eq!(extra["extra_content"]["google"]["thought_signature"], "s");
    let empty = message(&[json!({ "reasoning_content": "", "tool_calls": call })]);
    assert_eq!(empty["reasoning_content"], "");
}

#[test]
fn names_and_arguments_come_in_every_shape() {
    let one = ["a write_file {\"path\":\"x\"}"];
    let fragment = |name: Value, arguments: Value| json!({"index":0,"id":"a","function":{"name":name,"arguments":arguments}});
    let args = json!(r#"{"path":"x"}"#);
    let cases = [
        vec![
            fragment(json!("write"), json!("")),
            fragment(json!("_file"), json!("")),
            fragment(Value::Null, args.clone()),
        ],
        vec![
            fragment(json!("write_file"), json!("{\"pa")),
            fragment(json!("write_file"), json!("th\":\"x\"}")),
        ],
        vec![fragment(json!("write_file"), json!({ "path": "x" }))],
        vec![fragment(json!("write_file"), json!("{}")), fragment(Value::Null, args.clone())],
        vec![fragment(json!("write_file"), json!(args.to_string()))],
        vec![json!({"index":0,"id":"a","name":"write_file","arguments":args})],
    ];
    for fragments in cases {
        assert_eq!(calls(&fragments), one, "{fragments:?}");
    }
    let legacy = [
        r#"{"choices":[{"delta":{"function_call":{"name":"write_file","arguments":""}}}]}"#,
        r#"{"choices":[{"delta":{"function_call":{"arguments":"{\"path\":\"x\"}"}}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
    ];
    let reply = assembled(&legacy).unwrap();
    assert_eq!(
        (reply.calls.len(), &reply.calls[0].name[..], reply.finish),
        (1, "write_file", FinishReason::ToolCalls)
    );
}

#[test]
fn a_stream_without_an_end_mark_counts_if_it_is_whole() {
    let text = r#"{"choices":[{"delta":{"content":"Done."}}]}"#;
    assert_eq!(assembled(&[text]).unwrap().content, "Done.");
    let call = |arguments: &str| {
        json!({"choices":[{"delta":{"tool_calls":[{"function":{"name":"write_file","arguments":arguments}}]}}]}).to_string()
    };
    assert_eq!(assembled(&[&call("{}")]).unwrap().calls.len(), 1);
    assert_eq!(assembled(&[&call("{\"path\":")]), None);
    assert_eq!(assembled(&[&call("{\"path\":\"x\",}")]).unwrap().calls.len(), 1);
    assert_eq!(assembled(&[]), None);
    let mut assembly = Assembly::default();
    assembly.push("<html>").unwrap();
    assert_eq!(assembly.finish(&mut CallIds::default()), Err("<html>".to_owned()));
}

#[test]
fn an_error_in_mid_stream_ends_the_reply() {
    for error in [r#"{"error":{"message":"overloaded","code":529}}"#, r#"{"error":"no"}"#] {
        assert!(matches!(Assembly::default().push(error), Err(BadChunk::Error(_))), "{error}");
    }
    for none in ["\"\"", "{}", "[]", "{\"code\":0}", "false", "null"] {
        let reply = format!(r#"{{"error":{none},"choices":[{{"delta":{{"content":"Hi"}}}}]}}"#);
        assert_eq!(assembled(&[&reply]).unwrap().content, "Hi", "{none}");
    }
}

#[test]
fn a_reply_has_bounds() {
    let mut assembly = Assembly::default();
    let chunk = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(MAX_TEXT_BYTES));
    assembly.push(&chunk).unwrap();
    assert_eq!(assembly.push(&chunk), Err(BadChunk::TooLarge));
    let mut assembly = Assembly::default();
    let call =
        |id| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{id},"id":"c{id}"}}]}}}}]}}"#);
    assert!((0..70).all(|id| assembly.push(&call(id)).is_ok()));
    assembly.push("[DONE]").unwrap();
    let reply = assembly.finish(&mut CallIds::default()).unwrap().unwrap();
    assert_eq!((reply.calls.len(), reply.calls_left_out), (64, 6));
}

#[test]
fn a_call_in_the_text_is_taken_and_one_that_cannot_be_read_is_noticed() {
    let content =
        |text: &str| json!({"choices":[{"delta":{"content":text},"finish_reason":"stop"}]}).to_string();
    let reply = assembled(&[&content(
        "Now.\n<tool_call>{\"name\":\"write_file\",\"arguments\":{\"path\":\"x\"}}</tool_call>",
    )])
    .unwrap();
    assert_eq!((reply.content.as_str(), reply.calls.len(), reply.has_unread_call), ("Now.", 1, false));
    let reply = assembled(&[&content("<tool_call>{write a file}</tool_call>")]).unwrap();
    assert_eq!((reply.calls.len(), reply.has_unread_call), (0, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_json_is_read_without_panic(text in r#"\{"choices":\[\{"(delta|message)":\{"(content|tool_calls|reasoning|function_call)":(null|1|"x"|\[\]|\[1\]|\[\{"index":0,"id":1,"function":\{"name":null,"arguments":\[\]\}\}\]|\{\})\},"finish_reason":(null|"stop"|1)\}\]\}"#) {
        let mut assembly = offered();
        let _ = assembly.push(&text);
        let _ = assembly.push(&text);
        let _ = assembly.finish(&mut CallIds::default());
    }

    #[test]
    fn a_reply_does_not_depend_on_how_its_bytes_arrive(cuts in prop::collection::vec(0..900_usize, 0..12)) {
        let stream = concat!(
            ": processing\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"<think>hm 🤔</think>Größe\"}}]}\r\n\r\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"write_file\",\"arguments\":\"{\\\"pa\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"th\\\":\\\"ü.md\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        )
        .as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort_unstable();
        let bounds: Vec<_> = [0].into_iter().chain(cuts).chain([stream.len()]).collect();
        let (mut events, mut assembly) = (mgx_protocol::sse::Parser::new(4096), offered());
        for pair in bounds.windows(2) {
            let mut bytes = &stream[pair[0]..pair[1]];
            while let Some(event) = events.next_frame(&mut bytes).unwrap() {
                assembly.push(event.data).unwrap();
            }
        }
        let reply = assembly.finish(&mut CallIds::default()).unwrap().unwrap();
        prop_assert_eq!((&reply.content[..], &reply.reasoning[..]), ("Größe", "hm 🤔"));
        prop_assert_eq!(reply.calls[0].arguments.value(), json!({ "path": "ü.md" }));
        prop_assert_eq!(reply.usage, Usage { prompt_tokens: 3, completion_tokens: 2 });
    }
}
