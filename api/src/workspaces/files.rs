//! `/api/workspaces/{id}/files`: list, read, write and delete the files of a workspace.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mgx_protocol::WorkspaceId;
use mgx_workspaces::{Entry, FileError, InvalidPath, ListQuery, Workspace, WorkspacePath, Written};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::file_body;
use super::file_request::{FilePath, condition, etag_header};
use crate::auth::Caller;
use crate::http::extract::{Json, MAX_BODY, Path, Query, limit, too_large};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::state::App;

/// What to list, or which file to read as text.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// A text file: its content is the answer, and there is no list.
    path: Option<String>,
    /// The directory to list; the workspace itself if absent.
    dir: Option<String>,
    /// How many levels to list: 1 (the default) to 32.
    #[param(minimum = 1, maximum = 32, default = 1)]
    depth: Option<usize>,
    /// Only after this path: `next` of the page before.
    cursor: Option<String>,
    /// At most so many: 1 to 1000 (the default).
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
}

/// Which file to write.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Target {
    /// Its path, relative to the workspace.
    path: String,
}

/// A file, directory or link in a workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    /// The last name of its path.
    name: String,
    /// Its path, relative to the workspace. In names, `\\` is a backslash, and `\xHH` a byte of a control character or of
    /// what is not UTF-8; requests take the same text.
    path: String,
    /// `file`, `directory`, `symlink` or `other`.
    #[schema(value_type = String)]
    kind: mgx_workspaces::EntryKind,
    /// Whether it is a directory.
    is_dir: bool,
    /// Its length in bytes; 0 for all but files.
    size: u64,
    /// When it was last written.
    modified: jiff::Timestamp,
    /// Its version, if it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// A page of the entries of a directory, sorted by path.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryPage {
    entries: Vec<EntryView>,
    /// The `cursor` of the next page, if there is one.
    next: Option<String>,
}

/// A text file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextFile {
    /// Its path, relative to the workspace.
    path: String,
    /// Its text.
    content: String,
    /// Its length in bytes.
    size: u64,
    /// Its version.
    etag: String,
}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "bytes are sent as they are; this describes them")]
pub(crate) struct FileBytes(Vec<u8>);

/// The entry of a path.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Found {
    /// A directory.
    Page(EntryPage),
    /// A text file.
    File(TextFile),
}

/// The text to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewText {
    /// The whole text.
    #[schema(example = "# Notes")]
    content: String,
}

/// A file that has been written.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrittenView {
    /// Its path, relative to the workspace.
    path: String,
    /// Its length in bytes.
    size: u64,
    /// Its version; also the `ETag` header.
    etag: String,
}

/// The routes that answer in JSON.
pub(crate) fn json_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, write_text))
}

/// The routes whose bodies are files.
pub(crate) fn raw_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(read, write, delete))
}

/// The entries of a directory; or, with `path`, a text file as JSON (the form of the original API).
#[utoipa::path(
    get, path = "/api/workspaces/{id}/files", tag = "files",
    params(("id" = String, Path, description = "the workspace"), FileQuery),
    responses((status = 200, description = "a page of entries, or the file",
        body = inline(Found)))
)]
async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<WorkspaceId>,
    Query(filter): Query<FileQuery>,
) -> Result<axum::Json<Found>, Problem> {
    let workspace = app.sessions.workspace(&id, caller.sees()).await?;
    if let Some(path) = filter.path {
        let path = WorkspacePath::parse(&path).map_err(FileError::from)?;
        return Ok(axum::Json(Found::File(read_text(&workspace, &path).await?)));
    }
    let depth = filter.depth.unwrap_or(1);
    if !(1..=ListQuery::MAX_DEPTH).contains(&depth) {
        let detail = format!("1 to {}", ListQuery::MAX_DEPTH);
        return Err(Problem::validation(vec![FieldError::parameter("depth", detail)]));
    }
    let query = ListQuery {
        dir: optional_path(filter.dir)?,
        depth,
        after: optional_path(filter.cursor)?,
        limit: limit(filter.limit, ListQuery::MAX_LIMIT, ListQuery::MAX_LIMIT)?,
    };
    let listing = workspace.list(query).await?;
    let entries = listing.entries.into_iter().map(EntryView::from).collect();
    Ok(axum::Json(Found::Page(EntryPage { entries, next: listing.next })))
}

/// Write a text file given as JSON (the form of the original API).
#[utoipa::path(
    put, path = "/api/workspaces/{id}/files", tag = "files", request_body = NewText,
    params(("id" = String, Path, description = "the workspace"), Target,
        ("If-Match" = Option<String>, Header, description = "the version that the file must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the file must not exist")),
    responses((status = 200, description = "replaced", body = WrittenView),
        (status = 201, description = "created", body = WrittenView))
)]
async fn write_text(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<WorkspaceId>,
    Query(target): Query<Target>,
    headers: HeaderMap,
    Json(text): Json<NewText>,
) -> Result<Response, Problem> {
    let path = WorkspacePath::parse(&target.path).map_err(FileError::from)?;
    let workspace = app.sessions.workspace(&id, caller.sees()).await?;
    let size = text.content.len() as u64;
    let done = workspace.write(&path, text.content.into(), condition(&headers)?).await?;
    Ok(written(&path, size, &done))
}

/// A file. It is always sent as a download, so that no browser shows it as a page of this site.
#[utoipa::path(
    get, path = "/api/workspaces/{id}/files/{*path}", tag = "files",
    params(("id" = String, Path, description = "the workspace"),
        ("path" = String, Path, description = "the file's path as a list has it, percent-encoded once; its slashes are not encoded"),
        ("Range" = Option<String>, Header, description = "one range of bytes"),
        ("If-None-Match" = Option<String>, Header, description = "the versions that the client has")),
    responses(
        (status = 200, description = "the file", body = FileBytes, content_type = "application/octet-stream"),
        (status = 206, description = "the range", body = FileBytes, content_type = "application/octet-stream"),
        (status = 304, description = "the client has this version"))
)]
async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    target: FilePath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let workspace = app.sessions.workspace(&target.workspace, caller.sees()).await?;
    let view = workspace.read(&target.path).await?;
    file_body::response(&target.path, view, &headers).await
}

/// Write a file: all of it, or nothing.
#[utoipa::path(
    put, path = "/api/workspaces/{id}/files/{*path}", tag = "files",
    request_body(content = FileBytes, content_type = "application/octet-stream"),
    params(("id" = String, Path, description = "the workspace"),
        ("path" = String, Path, description = "the file's path as a list has it, percent-encoded once; its slashes are not encoded"),
        ("If-Match" = Option<String>, Header, description = "the version that the file must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the file must not exist")),
    responses((status = 204, description = "replaced; the `ETag` header has its version"),
        (status = 201, description = "created", body = WrittenView))
)]
async fn write(
    State(app): State<Arc<App>>,
    caller: Caller,
    target: FilePath,
    request: Request,
) -> Result<Response, Problem> {
    let condition = condition(request.headers())?;
    let workspace = app.sessions.workspace(&target.workspace, caller.sees()).await?;
    let mut upload = workspace.upload(&target.path, condition).await?;
    let size = file_body::receive(request.into_body(), &mut upload).await?;
    let done = upload.commit().await?;
    if done.created {
        return Ok(written(&target.path, size, &done));
    }
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag_header(&done.etag))]).into_response())
}

/// Delete a file, a link, or a directory with its content.
#[utoipa::path(
    delete, path = "/api/workspaces/{id}/files/{*path}", tag = "files",
    params(("id" = String, Path, description = "the workspace"),
        ("path" = String, Path, description = "the path as a list has it, percent-encoded once; its slashes are not encoded"),
        ("If-Match" = Option<String>, Header, description = "the version that the file must have")),
    responses((status = 204, description = "it is gone"))
)]
async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    target: FilePath,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let workspace = app.sessions.workspace(&target.workspace, caller.sees()).await?;
    workspace.delete(&target.path, condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read_text(workspace: &Workspace, path: &WorkspacePath) -> Result<TextFile, Problem> {
    let view = workspace.read(path).await?;
    let mut bytes = Vec::new();
    view.file.take(MAX_BODY as u64 + 1).read_to_end(&mut bytes).await.map_err(FileError::from)?;
    if bytes.len() > MAX_BODY {
        return Err(too_large(MAX_BODY));
    }
    let content = String::from_utf8(bytes).map_err(|_| {
        Problem::new(Slug::NotAcceptable, "the file is not UTF-8 text: read its bytes at files/{path}")
    })?;
    Ok(TextFile { path: path.to_string(), size: content.len() as u64, content, etag: view.etag.to_string() })
}

fn written(path: &WorkspacePath, size: u64, done: &Written) -> Response {
    let status = if done.created { StatusCode::CREATED } else { StatusCode::OK };
    let tag = etag_header(&done.etag);
    let view = WrittenView { path: path.to_string(), size, etag: done.etag.to_string() };
    (status, [(header::ETAG, tag)], axum::Json(view)).into_response()
}

fn optional_path(text: Option<String>) -> Result<Option<WorkspacePath>, FileError> {
    let given = text.filter(|text| !text.is_empty());
    Ok(given.as_deref().map(WorkspacePath::parse).transpose()?)
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            is_dir: entry.is_dir(),
            name: entry.name,
            path: entry.path,
            kind: entry.kind,
            size: entry.size,
            modified: entry.modified,
            etag: entry.etag.map(|etag| etag.to_string()),
        }
    }
}

impl From<InvalidPath> for Problem {
    fn from(error: InvalidPath) -> Self {
        Self::new(Slug::InvalidPath, error.to_string())
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::InvalidPath(error) => error.into(),
            FileError::Escape => Self::new(Slug::PathEscape, "the path leads out of the workspace"),
            FileError::NotFound => Self::not_found("file or workspace"),
            FileError::NotRegular => Self::new(Slug::NotRegularFile, "it is there, but not a regular file"),
            FileError::NotDirectory => {
                Self::new(Slug::NotRegularFile, "a name on the path is not a directory")
            }
            FileError::EtagMismatch { current } => {
                let problem = Self::new(Slug::EtagMismatch, "the file is not at the expected version");
                match current {
                    Some(etag) => problem.header(header::ETAG, etag_header(&etag)),
                    None => problem,
                }
            }
            FileError::TooLarge { limit } => {
                Self::new(Slug::BodyTooLarge, format!("a file has at most {limit} bytes"))
            }
            FileError::Full => {
                Self::new(Slug::WorkspaceFull, "there is no room for it; what was there is unchanged")
            }
            FileError::Io(cause) => {
                tracing::error!(%cause, "a workspace's file system failed");
                Self::new(Slug::Internal, "the file system failed")
            }
        }
    }
}
