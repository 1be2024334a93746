//! A workspace is owned by one session of one user.

use crate::fixture::{TestWorkspace, path};

#[tokio::test]
async fn ownership_is_kept_where_no_path_of_a_workspace_leads() {
    let fixture = TestWorkspace::new().await;
    let session = "s1".parse().unwrap();
    assert!(fixture.workspaces.take_ownership(&fixture.id, &session, "ann").await.unwrap());
    assert!(fixture.workspaces.take_ownership(&fixture.id, &session, "ann").await.unwrap());
    assert!(!fixture.workspaces.take_ownership(&fixture.id, &session, "bob").await.unwrap());
    fixture.workspaces.release_ownership(&fixture.id, &session, "bob").await.unwrap();
    assert!(!fixture.workspaces.take_ownership(&fixture.id, &"s2".parse().unwrap(), "bob").await.unwrap());
    assert!(fixture.workspace.read(&path(".claims")).await.is_err());
    assert!(".claims".parse::<mgx_protocol::WorkspaceId>().is_err());
}
