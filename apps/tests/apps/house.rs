//! A workspace in a directory of its own, with a file outside of it that nobody may touch.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use mgx_apps::{Condition, FileError, Framework, Workspace, WorkspacePath, Workspaces, Written};
use mgx_protocol::WorkspaceId;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

pub(crate) const SECRET: &str = "outside, and none of your business";

pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) workspaces: Workspaces,
    pub(crate) id: WorkspaceId,
    pub(crate) workspace: Workspace,
}

impl House {
    /// A workspace without files, beside a neighbour and below a sentinel.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sentinel"), SECRET).unwrap();
        let workspaces = Workspaces::open(dir.path().join("workspaces"), None).unwrap();
        let id: WorkspaceId = "shop".parse().unwrap();
        fs::create_dir(workspaces.root().join("shop")).unwrap();
        fs::create_dir(workspaces.root().join("other")).unwrap();
        fs::write(workspaces.root().join("other/secret"), SECRET).unwrap();
        let workspace = workspaces.workspace(&id).await.unwrap();
        Self { dir, workspaces, id, workspace }
    }

    /// Where a file of the workspace really is.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.workspaces.root().join(self.id.as_str()).join(path)
    }

    pub(crate) fn sentinel(&self) -> PathBuf {
        self.dir.path().join("sentinel")
    }

    pub(crate) async fn write(
        &self,
        at: &str,
        text: &str,
        condition: Condition,
    ) -> Result<Written, FileError> {
        self.workspace.write(&path(at), Bytes::copy_from_slice(text.as_bytes()), condition).await
    }

    pub(crate) async fn read(&self, at: &str) -> Result<String, FileError> {
        let mut view = self.workspace.read(&path(at)).await?;
        let mut text = String::new();
        view.file.read_to_string(&mut text).await.unwrap();
        assert_eq!(view.size, text.len() as u64);
        Ok(text)
    }

    /// Everything outside is as it was, and nothing unfinished is left inside.
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(fs::read_to_string(self.sentinel()).unwrap(), SECRET);
        assert_eq!(fs::read_to_string(self.workspaces.root().join("other/secret")).unwrap(), SECRET);
        assert_eq!(fs::read_dir(self.workspaces.root().join("other")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2, "sentinel and workspaces");
        assert_eq!(self.leftovers(), 0);
    }

    /// Unfinished files in the workspace's own directory.
    pub(crate) fn leftovers(&self) -> usize {
        let entries = fs::read_dir(self.at("")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".mgx-"))
            .count()
    }
}

pub(crate) fn path(text: &str) -> WorkspacePath {
    text.parse().unwrap()
}

pub(crate) fn id(text: &str) -> WorkspaceId {
    text.parse().unwrap()
}

/// Both frameworks.
pub(crate) const FRAMEWORKS: [Framework; 2] = Framework::ALL;
