//! The content of a file, sent and received in pieces.

use std::io::SeekFrom;
use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use mgx_workspaces::{FileError, FileView, Upload, WorkspacePath};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::file_request::{etag_header, is_unchanged, range_applies};
use crate::http::byte_range;
use crate::http::extract::{BODY_TIMEOUT, discard};
use crate::http::{Problem, Slug};

/// How many bytes are read from a file at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How much of a refused file is still read, in bytes.
const DISCARDED_BYTES: usize = 16 << 20;

/// The answer to a GET: the file, one range of it, or 304.
pub(crate) async fn response(
    path: &WorkspacePath,
    view: FileView,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let etag = etag_header(&view.etag);
    if is_unchanged(headers, &view.etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let range = wanted(headers, &view)?;
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let Range { start, end } = range.clone().unwrap_or(0..view.size);

    let mut file = view.file;
    file.seek(SeekFrom::Start(start)).await.map_err(FileError::from)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(end - start), CHUNK_BYTES));
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    out.insert(header::ETAG, etag);
    out.insert(header::CONTENT_LENGTH, (end - start).into());
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if range.is_some() {
        out.insert(header::CONTENT_RANGE, ascii(&format!("bytes {start}-{}/{}", end - 1, view.size)));
    }
    as_download(path, out);
    Ok(response)
}

/// Writes a body into `upload`, and returns the number of bytes. If the client stops sending, the request fails and the
/// old file stays.
pub(crate) async fn receive(mut body: Body, upload: &mut Upload) -> Result<u64, Problem> {
    let mut size = 0;
    loop {
        let frame = match timeout(BODY_TIMEOUT, body.frame()).await {
            Ok(None) => return Ok(size),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Problem::new(Slug::RequestTimeout, "the body ended early")),
            Err(_) => return Err(Problem::new(Slug::RequestTimeout, "no byte of the body came for a while")),
        };
        if let Ok(bytes) = frame.into_data() {
            size += bytes.len() as u64;
            if let Err(error) = upload.write(bytes).await {
                discard(&mut body, DISCARDED_BYTES, BODY_TIMEOUT).await;
                return Err(error.into());
            }
        }
    }
}

fn wanted(headers: &HeaderMap, view: &FileView) -> Result<Option<Range<u64>>, Problem> {
    let Some(range) = headers.get(header::RANGE).filter(|_| range_applies(headers, &view.etag)) else {
        return Ok(None);
    };
    byte_range::parse(range.to_str().unwrap_or(""), view.size).map_err(|byte_range::Unsatisfiable| {
        Problem::new(Slug::RangeNotSatisfiable, "the file has none of these bytes")
            .header(header::CONTENT_RANGE, ascii(&format!("bytes */{}", view.size)))
    })
}

/// Agents and users write the files: no browser may treat one as a page, a script or a style of this site.
fn as_download(path: &WorkspacePath, headers: &mut HeaderMap) {
    let name = format!("attachment; filename*=UTF-8''{}", percent_encoded(path.name()));
    headers.insert(header::CONTENT_DISPOSITION, ascii(&name));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}

/// RFC 8187 section 3.2.1: everything but letters, digits and a few marks is encoded.
fn percent_encoded(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.extend([
                '%',
                char::from(HEX[usize::from(byte >> 4)]),
                char::from(HEX[usize::from(byte & 15)]),
            ]);
        }
    }
    text
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("it is made of visible ASCII here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;

    async fn read(name: &str, headers: &[(&'static str, &'static str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        let view = FileView {
            size: 10,
            etag: "\"v1\"".parse().unwrap(),
            modified: jiff::Timestamp::UNIX_EPOCH,
            file: tokio::fs::File::open(&file).await.unwrap(),
        };
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let path = WorkspacePath::parse(name).unwrap();
        show(response(&path, view, &headers).await.into_response()).await
    }

    #[tokio::test]
    async fn a_page_is_only_ever_a_download() {
        insta::assert_snapshot!(read("web/évil \"x\".html", &[]).await);
    }

    #[tokio::test]
    async fn a_range_is_a_part() {
        insta::assert_snapshot!(read("a.txt", &[("range", "bytes=2-4")]).await);
    }

    #[tokio::test]
    async fn a_range_of_another_version_is_the_whole_file() {
        let text = read("a.txt", &[("range", "bytes=2-4"), ("if-range", "\"v0\"")]).await;
        assert!(text.starts_with("200") && text.ends_with("0123456789"), "{text}");
    }

    #[tokio::test]
    async fn a_range_outside_is_refused_with_the_size() {
        insta::assert_snapshot!(read("a.txt", &[("range", "bytes=10-")]).await);
    }

    #[tokio::test]
    async fn a_client_with_the_current_version_gets_no_bytes() {
        let text = read("a.txt", &[("if-none-match", "\"v1\"")]).await;
        assert!(text.starts_with("304") && !text.contains("0123"), "{text}");
    }
}
