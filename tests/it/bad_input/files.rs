//! Invalid paths and files (C3). Elsewhere, in `mgx-workspaces`: a link that changes places with a directory 100,000
//! times (`confinement`), a directory that is too deep and a disk that is full (`files`), a page of many (`listing`); in
//! `mgx-api`: a body that is cut (`routes_tests`).

use std::ffi::CString;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use anyhow::Result;
use mgx_testkit::{Server, Volume};
use reqwest::Method;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::code;

const SETTINGS: &str = "runtime = \"null\"";

#[tokio::test]
async fn paths_and_what_they_lead_to() -> Result<()> {
    let server = Server::start(SETTINGS, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let files = format!("/api/workspaces/{session}/files");
    let dir = server.data_dir().join("workspaces").join(&session);
    let secret = server.data_dir().join("secret.txt");
    std::fs::write(&secret, "do not read")?;
    std::fs::create_dir(dir.join("dir"))?;
    symlink("/etc/passwd", dir.join("passwd"))?;
    symlink("../../secret.txt", dir.join("up"))?;
    symlink("loop", dir.join("loop"))?;
    let fifo = CString::new(dir.join("fifo").to_str().expect("a text path"))?;
    mknodat(CWD, &*fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    let _socket = UnixListener::bind(dir.join("socket"))?;
    std::fs::hard_link(&secret, dir.join("hard"))?;

    let name = "x".repeat(256);
    let long = "x/".repeat(2049);
    for path in [
        "%2e%2e%2fsecret.txt",
        "..%5csecret.txt",
        "a%00b",
        "%ff",
        "a//b",
        "/etc/passwd",
        "/proc/self/root",
        &name,
        &long,
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], b"x".to_vec()).await?;
            assert_eq!(got, (400, "invalid-path".to_owned()), "{method} {path}");
        }
    }
    // decoded once, these are names with percent signs in them, of files that do not exist
    for path in ["%252e%252e/secret.txt", "%252e%252e%252fsecret.txt", "%25252e"] {
        for method in [Method::GET, Method::DELETE] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], vec![]).await?;
            assert_eq!(got, (404, "not-found".to_owned()), "{method} {path}");
        }
    }
    for path in ["passwd", "up", "loop"] {
        for method in [Method::GET, Method::PUT] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], b"x".to_vec()).await?;
            assert_eq!(got, (403, "path-escape".to_owned()), "{method} {path}");
        }
    }
    for path in ["fifo", "dir", "socket", "hard"] {
        for method in [Method::GET, Method::PUT] {
            let got = code(&client, method.clone(), &format!("{files}/{path}"), &[], b"x".to_vec()).await?;
            assert_eq!(got, (409, "not-regular-file".to_owned()), "{method} {path}");
        }
    }
    for query in ["depth=0", "depth=1000000", "limit=0", "limit=1001", "limit=-1", "depth=x", "sort=name"] {
        let got = code(&client, Method::GET, &format!("{files}?{query}"), &[], vec![]).await?;
        assert_eq!(got, (422, "validation".to_owned()), "{query}");
    }
    assert_eq!(std::fs::read_to_string(&secret)?, "do not read");
    Ok(())
}

#[tokio::test]
async fn no_update_is_lost_and_nothing_half_written() -> Result<()> {
    let server = Server::start(SETTINGS, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let file = format!("/api/workspaces/{session}/files/notes/evil.html");
    let put = |tag: Option<String>, text: &'static str| {
        let request = client.request(Method::PUT, &file).body(text);
        match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        }
    };
    let first = put(None, "one").send().await?;
    assert_eq!(first.status(), 201);
    let tag = first.headers()["etag"].to_str()?.to_owned();
    assert_eq!(put(Some(tag.clone()), "two").send().await?.status(), 204);
    let lost = put(Some(tag), "three").send().await?;
    assert_eq!(lost.status(), 412);

    let got = client.request(Method::GET, &file).send().await?;
    for (header, value) in [
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
    ] {
        assert!(got.headers()[header].to_str()?.contains(value), "{header}");
    }
    assert_eq!(got.text().await?, "two");
    for (range, status) in [("bytes=1-", 206), ("bytes=9-", 416), ("bytes=x", 200)] {
        assert_eq!(
            client.request(Method::GET, &file).header("range", range).send().await?.status(),
            status,
            "{range}"
        );
    }
    let (_, listing) = client.get(&format!("/api/workspaces/{session}/files?dir=notes")).await?;
    assert_eq!(listing["entries"].as_array().map(Vec::len), Some(1), "no temporary file is left: {listing}");
    Ok(())
}

#[tokio::test]
async fn a_file_of_ten_gibibytes_is_sent_piece_by_piece_and_only_one_range_of_it() -> Result<()> {
    const SIZE: u64 = 10 << 30;
    let server = Server::start(SETTINGS, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let path = server.data_dir().join("workspaces").join(&session).join("huge");
    std::fs::File::create(path)?.set_len(SIZE)?;
    let url = format!("/api/workspaces/{session}/files/huge");
    let before = server.peak_memory_mib()?;
    let mut answer = client.request(Method::GET, &url).send().await?;
    assert_eq!(answer.content_length(), Some(SIZE));
    let mut read = 0;
    while read < 64 << 20 {
        read += answer.chunk().await?.map_or(0, |chunk| chunk.len());
    }
    drop(answer);
    let ten_thousand = (0..10_000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    for (range, status, length) in [
        (format!("bytes={}-", SIZE - 3), 206, Some(3)),
        (format!("bytes={SIZE}-"), 416, None),
        ("bytes=5-2".to_owned(), 200, Some(SIZE)),
        ("bytes=0-9,5-12".to_owned(), 200, Some(SIZE)),
        (ten_thousand, 431, None),
    ] {
        let answer = client.request(Method::GET, &url).header("range", &range).send().await?;
        let shown = &range[..range.len().min(40)];
        assert_eq!(answer.status(), status, "{shown}");
        if let Some(length) = length {
            assert_eq!(answer.content_length(), Some(length), "{shown}");
        }
    }
    let more = server.peak_memory_mib()?.saturating_sub(before);
    assert!(more < 64, "{more} MiB more for a file that does not fit into memory");
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_old_file_stays() -> Result<()> {
    if !Volume::is_possible() {
        return Ok(());
    }
    let disk = Volume::new(16)?;
    let root = disk.path().join("workspaces");
    let settings = format!("{SETTINGS}\nworkspaces.root = \"{}\"", root.display());
    let server = Server::start(&settings, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let url = format!("/api/workspaces/{session}/files/a.txt");
    assert_eq!(code(&client, Method::PUT, &url, &[], b"old".to_vec()).await?.0, 201);
    disk.fill()?;
    let full = code(&client, Method::PUT, &url, &[], vec![b'x'; 1 << 20]).await?;
    assert_eq!(full, (507, "workspace-full".to_owned()));
    assert_eq!(client.request(Method::GET, &url).send().await?.text().await?, "old");
    Ok(())
}
