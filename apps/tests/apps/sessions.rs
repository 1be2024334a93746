//! A session and its workspace are created and deleted together, even if the process stops in between.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::store::MemoryStore;
use mgx_apps::{Framework, NewSession, Opened, SessionError, Sessions, Usage};
use mgx_workspaces::Workspaces;
use tempfile::TempDir;

struct Platform {
    _dir: TempDir,
    store: Arc<MemoryStore>,
    sessions: Sessions,
}

impl Platform {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let workspaces = Workspaces::open(dir.path().join("w"), None).unwrap();
        Self { _dir: dir, store: store.clone(), sessions: Sessions::new(store, workspaces) }
    }

    async fn create(&self, user: &str, id: &str, workspace: Option<&str>) -> Result<Opened, SessionError> {
        self.sessions.create(request(user, id, workspace)).await
    }

    fn has(&self, workspace: &str) -> bool {
        self.sessions.workspaces().root().join(workspace).join("README.md").exists()
    }
}

fn request(user: &str, id: &str, workspace: Option<&str>) -> NewSession {
    NewSession {
        id: Some(id.parse().unwrap()),
        name: "A shop".to_owned(),
        framework: Framework::Nextjs,
        user: user.to_owned(),
        workspace: workspace.map(|text| text.parse().unwrap()),
    }
}

#[tokio::test]
async fn a_session_gets_an_id_and_a_workspace_of_its_own() {
    let platform = Platform::new();
    let new = || NewSession { id: None, ..request("ann", "unused", None) };
    let first = platform.sessions.create(new()).await.unwrap();
    let second = platform.sessions.create(new()).await.unwrap();
    assert!(first.created && second.created);
    assert_ne!(first.session.id, second.session.id);
    assert_eq!(first.session.id.as_str().len(), 12);
    assert_eq!(first.session.id.as_str(), first.session.workspace.as_str());
    assert!(platform.has(first.session.workspace.as_str()));
}

#[tokio::test]
async fn the_same_request_again_finds_the_same_session() {
    let platform = Platform::new();
    let first = platform.create("ann", "s1", Some("w1")).await.unwrap();
    let again = platform.create("ann", "s1", Some("w1")).await.unwrap();
    assert_eq!((first.created, again.created), (true, false));
    assert_eq!(first.session, again.session);
    for other in [
        request("bob", "s1", Some("w1")),
        request("ann", "s1", Some("w2")),
        request("ann", "s1", None),
        NewSession { framework: Framework::FastapiVite, ..request("ann", "s1", Some("w1")) },
    ] {
        let refused = platform.sessions.create(other.clone()).await;
        assert!(matches!(refused, Err(SessionError::Conflict)), "{other:?}: {refused:?}");
    }
}

#[tokio::test]
async fn the_same_request_again_makes_a_deleted_workspace_again() {
    let platform = Platform::new();
    platform.create("ann", "s1", Some("shop")).await.unwrap();
    std::fs::remove_dir_all(platform.sessions.workspaces().root().join("shop")).unwrap();
    let again = platform.create("ann", "s1", Some("shop")).await.unwrap();
    assert!(!again.created && platform.has("shop"));
    let user = Some("ann");
    platform.sessions.workspace(&again.session.workspace, user).await.expect("it is theirs as before");
}

#[tokio::test]
async fn nobody_gets_the_workspace_of_another_session() {
    let platform = Platform::new();
    platform.create("ann", "s1", Some("w1")).await.unwrap();
    for (user, id) in [("bob", "s2"), ("ann", "s3"), ("bob", "w1")] {
        let refused = platform.create(user, id, Some("w1")).await;
        assert!(matches!(refused, Err(SessionError::Conflict)), "{user} {id}: {refused:?}");
    }
    let refused = platform.create("bob", "w1", None).await;
    assert!(
        matches!(refused, Err(SessionError::Conflict)),
        "the workspace of that name is hers: {refused:?}"
    );
    platform.sessions.delete(&"s1".parse().unwrap(), Some("ann")).await.unwrap();
    assert!(platform.create("bob", "s2", Some("w1")).await.unwrap().created, "now it is free");
}

#[tokio::test]
async fn users_see_their_own_sessions_only() {
    let platform = Platform::new();
    for (user, id) in [("ann", "a1"), ("ann", "a2"), ("bob", "b1")] {
        platform.create(user, id, None).await.unwrap();
    }
    let sessions = &platform.sessions;
    let a1 = "a1".parse().unwrap();
    assert_eq!(sessions.get(&a1, Some("ann")).await.unwrap().id, a1);
    assert_eq!(sessions.get(&a1, None).await.unwrap().id, a1);
    assert!(matches!(sessions.get(&a1, Some("bob")).await, Err(SessionError::NotFound)));
    assert!(matches!(sessions.delete(&a1, Some("bob")).await, Err(SessionError::NotFound)));
    assert!(platform.has("a1"));
    assert_eq!(sessions.list(Some("ann"), None, 10).await.unwrap().len(), 2);
    assert_eq!(sessions.list(None, None, 10).await.unwrap().len(), 3);
    let used = Usage { requests: 1, prompt_tokens: 20, completion_tokens: 3, cost_micros: 7 };
    sessions.add_usage(&a1, used).await.unwrap();
    assert_eq!(sessions.add_usage(&a1, used).await.unwrap().prompt_tokens, 40);
}

#[tokio::test]
async fn a_session_is_deleted_with_its_workspace() {
    let platform = Platform::new();
    let id = platform.create("ann", "s1", None).await.unwrap().session.id;
    platform.sessions.delete(&id, Some("ann")).await.unwrap();
    assert!(!platform.has("s1"));
    assert!(matches!(platform.sessions.delete(&id, Some("ann")).await, Err(SessionError::NotFound)));
    let owners = platform.sessions.workspaces().root().join(".claims");
    assert_eq!(fs::read_dir(owners).unwrap().count(), 0);
}

#[tokio::test]
async fn an_interrupted_creation_is_completed_by_the_same_user_only() {
    let platform = Platform::new();
    platform.store.cut(true);
    let cut = platform.create("ann", "s1", None).await;
    assert!(matches!(cut, Err(SessionError::Store(_))), "{cut:?}");
    assert!(platform.has("s1"), "the workspace came first");
    platform.store.cut(false);
    fs::write(platform.sessions.workspaces().root().join("s1/README.md"), "mine").unwrap();
    assert!(matches!(platform.create("bob", "s1", None).await, Err(SessionError::Conflict)));
    assert!(platform.create("ann", "s1", None).await.unwrap().created);
    let kept = fs::read(platform.sessions.workspaces().root().join("s1/README.md")).unwrap();
    assert_eq!(kept, b"mine", "what was there was adopted");
}

#[tokio::test]
async fn an_interrupted_deletion_can_be_repeated() {
    let platform = Platform::new();
    let id = platform.create("ann", "s1", None).await.unwrap().session.id;
    platform.store.cut(true);
    assert!(matches!(platform.sessions.delete(&id, None).await, Err(SessionError::Store(_))));
    assert!(!platform.has("s1"), "the workspace went first");
    platform.store.cut(false);
    assert!(matches!(platform.create("bob", "b1", Some("s1")).await, Err(SessionError::Conflict)));
    platform.sessions.delete(&id, None).await.unwrap();
    assert!(platform.create("bob", "b1", Some("s1")).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_equal_requests_one_creates_the_session_and_all_get_it() {
    let platform = Platform::new();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let sessions = platform.sessions.clone();
        requests.spawn(async move { sessions.create(request("ann", "s1", None)).await.unwrap() });
    }
    let opened = requests.join_all().await;
    assert_eq!(opened.iter().filter(|opened| opened.created).count(), 1);
    assert!(opened.iter().all(|other| other.session == opened[0].session));
    assert!(platform.has("s1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_concurrent_workspaces_for_one_session_only_one_stays() {
    for _ in 0..20 {
        let platform = Platform::new();
        let (a, b) = tokio::join!(
            tokio::spawn({
                let sessions = platform.sessions.clone();
                async move { sessions.create(request("ann", "s1", Some("w1"))).await }
            }),
            tokio::spawn({
                let sessions = platform.sessions.clone();
                async move { sessions.create(request("ann", "s1", Some("w2"))).await }
            }),
        );
        let won = [a.unwrap(), b.unwrap()].into_iter().flatten().count();
        assert_eq!(won, 1);
        let kept = platform.sessions.get(&"s1".parse().unwrap(), None).await.unwrap().workspace;
        assert!(platform.has(kept.as_str()));
        assert_eq!(["w1", "w2"].iter().filter(|workspace| platform.has(workspace)).count(), 1);
    }
}

#[tokio::test]
async fn a_new_workspace_has_the_starter_files_of_its_framework() {
    let platform = Platform::new();
    for framework in Framework::ALL {
        let name = framework.name();
        let new = NewSession { framework, ..request("ann", name, None) };
        platform.sessions.create(new).await.unwrap();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        let starter = fs::read(templates.join(name).join("README.md")).unwrap();
        let created = platform.sessions.workspaces().root().join(name).join("README.md");
        assert_eq!(fs::read(created).unwrap(), starter, "{name}");
    }
}
