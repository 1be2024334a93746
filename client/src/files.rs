//! The files of a workspace: listed, and read.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::client::{Client, TRANSFER_TIMEOUT};
use crate::error::Error;

/// A file, directory or link in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// The last name of its path.
    pub name: String,
    /// Its path, relative to the workspace.
    pub path: String,
    /// `file`, `directory`, `symlink` or `other`, and what a newer server adds.
    pub kind: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its length in bytes; 0 for all but files.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A page of the entries of a directory, sorted by path.
#[derive(Deserialize)]
struct EntryPage {
    entries: Vec<Entry>,
    next: Option<String>,
}

/// How many levels the server lists at most.
const MAX_DEPTH: u8 = 32;

impl Client {
    /// What is in the directory `dir` of a workspace, or in the workspace itself, sorted by path: with `all`, what is below
    /// it too. `None` if there is no such workspace or directory.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn files(
        &self,
        workspace: &str,
        dir: Option<&str>,
        all: bool,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let path = format!("/api/workspaces/{workspace}/files");
        let depth = if all { MAX_DEPTH } else { 1 }.to_string();
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("depth", depth.clone())];
            query.extend(dir.map(|dir| ("dir", dir.to_owned())));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page = self.found::<EntryPage>(self.request(Method::GET, &path).query(&query)).await?;
            let Some(page) = page else { return Ok(None) };
            entries.extend(page.entries);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(Some(entries)),
            }
        }
    }

    /// The bytes of the file at `path`, which is relative to the workspace and has no `..`; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Problem`](crate::Problem) `not-regular-file` if it is a directory; or the server did not answer.
    pub async fn file(
        &self,
        workspace: &str,
        path: &str,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, Error>> + Send + use<>>, Error> {
        let target = format!("/api/workspaces/{workspace}/files/{}", encoded(path));
        let answer = self.send(self.authorized(Method::GET, &target).timeout(TRANSFER_TIMEOUT)).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let base = self.base().to_owned();
                Ok(Some(
                    answer.bytes_stream().map_err(move |source| Error::Broken { base: base.clone(), source }),
                ))
            }
            _ => Err(self.refused(answer).await),
        }
    }
}

/// A path with every name percent-encoded, and its slashes as they are.
fn encoded(path: &str) -> String {
    let mut url = Url::parse("http://server/").expect("this is a URL");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(path.split('/'));
    }
    url.path().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_slashes_are_not() {
        for (path, sent) in [
            ("app/page.tsx", "app/page.tsx"),
            ("50% off?#1.txt", "50%25%20off%3F%231.txt"),
            ("[id]/a+b", "[id]/a+b"),
            ("é/a%2Fb", "%C3%A9/a%252Fb"),
        ] {
            assert_eq!(encoded(path), sent);
        }
    }
}
