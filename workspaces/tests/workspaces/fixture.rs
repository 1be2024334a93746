//! A workspace in a temporary directory, with a file outside of it that must stay as it is.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use include_dir::include_dir;
use mgx_protocol::WorkspaceId;
use mgx_workspaces::{Condition, FileError, StarterFiles, Workspace, WorkspacePath, Workspaces, Written};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

pub(crate) const SECRET: &str = "the content of a file outside of the workspace";

pub(crate) struct TestWorkspace {
    pub(crate) dir: TempDir,
    pub(crate) workspaces: Workspaces,
    pub(crate) id: WorkspaceId,
    pub(crate) workspace: Workspace,
}

impl TestWorkspace {
    /// A workspace without files, beside another workspace and a sentinel file.
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

    /// The path of a file of the workspace on the host.
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

    /// Asserts that everything outside is as it was, and that no unfinished file is left inside.
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

/// The starter files of a workspace that a test creates.
pub(crate) static STARTER: StarterFiles = include_dir!("$CARGO_MANIFEST_DIR/../templates/nextjs");
