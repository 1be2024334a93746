//! Files of any name and any length, as a client asks for them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::json;

use crate::testing::server::{TestServer, ask, test_server};

const FILES: &str = "/api/workspaces/demo/files";

async fn demo() -> TestServer {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    server
}

/// Everything but letters and digits, as a client encodes a name once.
fn encoded(name: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || byte == b'/' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

#[tokio::test]
async fn a_file_of_any_name_is_listed_and_reached_by_the_path_of_the_list() {
    let server = demo().await;
    let dir = server.dir.path().join("workspaces/demo/odd");
    std::fs::create_dir(&dir).unwrap();
    let names: [&[u8]; 14] = [
        b"index.html%3Fq%2Fx",
        b"%2E",
        b"%2e%2e",
        b"..%2Fsecret",
        b"%252F",
        b"%00",
        b"50%",
        b"back\\slash",
        b"..\\up",
        b"\\x41",
        b"caf\xe9",
        b"\xff\xfe",
        b"two\nlines\t",
        "\u{65e5}\u{672c} #?&+".as_bytes(),
    ];
    for name in names {
        std::fs::write(dir.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let (_, _, page) = server.get(&format!("{FILES}?dir=odd")).await;
    let entries = page["entries"].as_array().unwrap();
    assert_eq!(entries.len(), names.len(), "{page}");
    for entry in entries {
        let path = entry["path"].as_str().unwrap();
        let file = format!("{FILES}/{}", encoded(path));
        let got = server.send(ask("GET", &file), Body::empty()).await;
        assert_eq!(got.status(), 200, "{file}");
        let content = got.into_body().collect().await.unwrap().to_bytes();
        assert!(names.contains(&&*content), "the content is the name: {content:?}");
        let put = server.send(ask("PUT", &file).header("if-match", "*"), "new").await;
        assert_eq!(put.status(), 204, "{file}");
        assert_eq!(std::fs::read(dir.join(OsStr::from_bytes(&content))).unwrap(), b"new");
        let (status, _, text) = server.get(&format!("{FILES}?path={}", encoded(path))).await;
        assert_eq!((status, &text["content"], &text["path"]), (200, &json!("new"), &json!(path)));
        assert_eq!(server.send(ask("DELETE", &file), Body::empty()).await.status(), 204, "{file}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_of_any_name_is_listed_page_by_page() {
    let server = demo().await;
    let dir = server.dir.path().join("workspaces/demo").join(OsStr::from_bytes(b"d\xe9\\%2F"));
    std::fs::create_dir(&dir).unwrap();
    for name in [&b"a\xff"[..], b"b\\", b"c"] {
        std::fs::write(dir.join(OsStr::from_bytes(name)), "").unwrap();
    }
    let list = format!("{FILES}?dir={}&limit=1", encoded("d\\xE9\\\\%2F"));
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let (_, _, page) = server.get(&format!("{list}&cursor={}", encoded(&next))).await;
        found.push(page["entries"][0]["name"].as_str().unwrap().to_owned());
        match page["next"].as_str() {
            Some(path) => path.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(found, ["a\\xFF", "b\\\\", "c"]);
    let made = server.send(ask("PUT", &format!("{FILES}/{}", encoded("d\\xE9\\\\%2F/new/x"))), "x").await;
    assert_eq!(made.status(), 201);
    assert!(dir.join("new/x").is_file());
}

#[tokio::test]
async fn a_path_that_could_be_read_in_two_ways_is_refused() {
    let server = demo().await;
    for bad in [
        "a%2Fb",
        "..%5Cx",
        "a%5Cb",
        "a%5C",
        "%5Cx41",
        "%5Cx2E%5Cx2E/x",
        "%5Cx2F",
        "a%5Cx00",
        "%FF",
        "a%",
        "a%2",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let (status, code, _) = server.code(ask(method, &format!("{FILES}/{bad}")), "x").await;
            assert_eq!((status, &*code), (400, "invalid-path"), "{method} {bad}");
        }
    }
}

#[tokio::test]
async fn an_empty_file_is_sent_whole_to_a_client_that_asks_from_its_first_byte_on() {
    let server = demo().await;
    let file = format!("{FILES}/empty");
    assert_eq!(server.send(ask("PUT", &file), Body::empty()).await.status(), 201);
    for (range, status) in
        [("bytes=0-", 200), ("bytes=0-99", 200), ("bytes=-5", 200), ("bytes=1-", 416), ("bytes=-0", 416)]
    {
        for method in ["GET", "HEAD"] {
            let got = server.send(ask(method, &file).header("range", range), Body::empty()).await;
            assert_eq!(got.status(), status, "{method} {range}");
            if status == 200 {
                assert_eq!(got.headers()["content-length"], "0");
                assert!(!got.headers().contains_key("content-range"));
            }
        }
    }
}
