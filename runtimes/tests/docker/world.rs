//! An instance of the platform on the engine of this machine: with its own image, links and workspace.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mgx_agent_runner::SlotId;
use mgx_runtimes::conformance::{Kit, Task};
use mgx_runtimes::image::{Extra, Made, agent_image};
use mgx_runtimes::{ContainerSpec, Docker, DockerConfig, Engine, Limits, Links, Network, Placement, Workspace};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

const IMAGE: &str = "mgx-runtimes-test:latest";
const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct World {
    instance: String,
    directory: TempDir,
}

impl World {
    pub(crate) async fn new(instance: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let workspace = directory.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        std::fs::set_permissions(&workspace, std::fs::Permissions::from_mode(0o777)).unwrap();
        let world = Self { instance: format!("test-{}-{instance}", std::process::id()), directory };
        world.make_image().await;
        world
    }

    pub(crate) async fn make_image(&self) -> Made {
        let runner = std::fs::read(runner_path()).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; build the agent-runner first, or set MGX_AGENT_RUNNER",
                runner_path().display()
            )
        });
        make_image(IMAGE, &runner).await
    }

    /// A container whose first process ends at once: busybox in the runner's place.
    pub(crate) async fn without_runner(&self) -> ContainerSpec {
        let image = "mgx-runtimes-test:no-runner";
        make_image(image, &busybox()).await;
        ContainerSpec { image: image.to_owned(), ..Self::spec() }
    }

    pub(crate) fn runtime(&self) -> Docker {
        self.runtime_at(&host())
    }

    pub(crate) fn runtime_at(&self, host: &str) -> Docker {
        // nobody listens to tunnels
        let (tunnels, _) = mpsc::channel(1);
        let links = Links::new(self.links(), tunnels).unwrap();
        let config = DockerConfig {
            host: host.to_owned(),
            instance: self.instance.clone(),
            user: "10001:10001".to_owned(),
        };
        Docker::connect(config, links)
    }

    pub(crate) fn spec() -> ContainerSpec {
        ContainerSpec {
            image: IMAGE.to_owned(),
            limits: Limits { memory_bytes: 64 << 20, cpu_quota: 50_000, pids: 64 },
            network: Network::None,
        }
    }

    pub(crate) fn placement(&self, slot: &str) -> Placement {
        let slot = format!("{slot}-{}", std::process::id()).parse().unwrap();
        Placement { slot, workspace: Some(Workspace::Directory(self.workspace())), labels: BTreeMap::new() }
    }

    pub(crate) fn link_directory(&self, slot: &SlotId) -> PathBuf {
        self.links().join(slot.as_str())
    }

    pub(crate) fn kit(&self) -> Kit {
        let (instance, directory) = (self.instance.clone(), self.directory.path().to_owned());
        Kit {
            spec: Self::spec(),
            missing: ContainerSpec { image: "mgx-runtimes-test:missing".to_owned(), ..Self::spec() },
            workspace: Some(self.workspace()),
            argv: |task| shell(script(task)),
            kill: Box::new(|slot| Box::pin(kill(slot))),
            again: Box::new(move || {
                let (tunnels, _) = mpsc::channel(1);
                let links = Links::new(directory.join("l"), tunnels).unwrap();
                let user = "10001:10001".to_owned();
                Box::new(Docker::connect(
                    DockerConfig { host: host(), instance: instance.clone(), user },
                    links,
                ))
            }),
        }
    }

    /// A path in the directory of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn links(&self) -> PathBuf {
        self.directory.path().join("l")
    }

    fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

/// A client of the engine that knows nothing of ours.
pub(crate) async fn client() -> bollard::Docker {
    bollard::Docker::connect_with_host(&host()).unwrap().negotiate_version().await.unwrap()
}

fn script(task: Task) -> &'static str {
    match task {
        Task::Hello => "echo hello; exit 3",
        Task::Count => "for i in $(seq 20); do echo $i; sleep 0.1; done",
        Task::Sleep => "echo ready; exec sleep 60",
        Task::Ignore => "trap '' TERM; echo ready; sleep 60",
        // tail keeps its last line, and there is no end of it
        Task::Devour => "tail /dev/zero",
    }
}

pub(crate) async fn kill(slot: SlotId) {
    let client = client().await;
    let name = format!("mgx-{slot}");
    let options = bollard::query_parameters::KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    client.kill_container(&name, Some(options)).await.unwrap();
    while client.inspect_container(&name, None).await.unwrap().state.unwrap().running == Some(true) {
        tokio::task::yield_now().await;
    }
}

/// One image at a time: they have the same name.
async fn make_image(tag: &str, runner: &[u8]) -> Made {
    static ONE: OnceLock<Mutex<()>> = OnceLock::new();
    let _guard = ONE.get_or_init(Mutex::default).lock().await;
    let mut extras = vec![Extra::Program("bin/busybox".to_owned(), busybox())];
    for applet in
        ["sh", "sleep", "seq", "tail", "id", "cat", "ls", "grep", "touch", "mount", "unshare", "dd", "find"]
    {
        extras.push(Extra::Symlink(format!("bin/{applet}"), "busybox".to_owned()));
    }
    agent_image(&Engine::new(host()), tag, runner, None, &extras).await.unwrap()
}

fn busybox() -> Vec<u8> {
    std::fs::read(BUSYBOX).expect("/bin/busybox is there: install the package busybox-static")
}

pub(crate) fn host() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let socket = host.strip_prefix("unix://").unwrap_or(&host);
    assert!(
        host.starts_with("tcp://") || Path::new(socket).exists(),
        "these tests need a container engine, and there is none at {host}: start Docker, or set DOCKER_HOST"
    );
    host
}

fn runner_path() -> PathBuf {
    std::env::var_os("MGX_AGENT_RUNNER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/agent-runner"),
        PathBuf::from,
    )
}
