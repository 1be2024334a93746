//! An instance of the platform on an engine of this machine: with its own image, links and workspace.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mgx_protocol::SlotId;
use mgx_runtimes::conformance::{Kit, Task};
use mgx_runtimes::image::{Extra, Images, Made, StockImage};
use mgx_runtimes::{
    ContainerSpec, Docker, DockerConfig, Limits, Links, Network, OciRuntime, Placement, Podman, PodmanConfig,
    PoolableRuntime, Workspace,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

/// The repository of the images of these tests.
const REPOSITORY: &str = "mgx-runtimes-test";
const BUSYBOX: &str = "/bin/busybox";
const USER_ID: u32 = 10_001;
const USER: &str = "10001:10001";

/// An engine, and the API that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Docker.
    Docker,
    /// Podman, through libpod.
    Podman,
    /// Podman, through the Docker API.
    PodmanAsDocker,
}

pub(crate) struct World {
    instance: Instance,
    directory: TempDir,
}

/// The settings of one instance of the platform.
#[derive(Clone)]
struct Instance {
    on: On,
    name: String,
    directory: PathBuf,
}

impl World {
    pub(crate) async fn new(on: On, instance: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let workspace = directory.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        std::fs::set_permissions(&workspace, std::fs::Permissions::from_mode(0o777)).unwrap();
        let name = format!("test-{}-{instance}-{on:?}", std::process::id()).to_lowercase();
        let instance = Instance { on, name, directory: directory.path().to_owned() };
        let world = Self { instance, directory };
        world.make_image().await;
        world
    }

    pub(crate) async fn make_image(&self) -> Made {
        make_image(self, pack(&runner())).await
    }

    /// A container whose first process ends at once: its runner is busybox.
    pub(crate) async fn without_runner(&self) -> ContainerSpec {
        let image = pack(&busybox());
        let spec = ContainerSpec { image: image.name().to_owned(), ..Self::spec() };
        make_image(self, image).await;
        spec
    }

    /// The images of its engine.
    pub(crate) fn images(&self) -> Arc<dyn Images> {
        self.instance.images()
    }

    pub(crate) fn runtime(&self) -> Box<dyn PoolableRuntime> {
        self.instance.runtime()
    }

    pub(crate) fn runtime_at(&self, host: &str) -> Box<dyn PoolableRuntime> {
        self.instance.runtime_at(host)
    }

    /// The runtime as another process of the platform would see it.
    pub(crate) fn another(&self) -> impl Fn() -> Box<dyn PoolableRuntime> + Send + Sync + 'static {
        let instance = self.instance.clone();
        move || instance.runtime()
    }

    pub(crate) fn spec() -> ContainerSpec {
        static NAME: OnceLock<String> = OnceLock::new();
        ContainerSpec {
            image: NAME.get_or_init(|| pack(&runner()).name().to_owned()).clone(),
            limits: Limits { memory_bytes: 64 << 20, cpu_quota: 50_000, pids: 64 },
            network: Network::None,
            oci_runtime: OciRuntime::Engines,
        }
    }

    pub(crate) fn placement(&self, slot: &str) -> Placement {
        let slot =
            format!("{slot}-{}-{:?}", std::process::id(), self.instance.on).to_lowercase().parse().unwrap();
        Placement { slot, workspace: Some(Workspace::Directory(self.workspace())), labels: BTreeMap::new() }
    }

    pub(crate) fn link_directory(&self, slot: &SlotId) -> PathBuf {
        self.path("l").join(slot.as_str())
    }

    pub(crate) fn kit(&self) -> Kit {
        let (on, another) = (self.instance.on, self.another());
        Kit {
            spec: Self::spec(),
            missing: ContainerSpec { image: "mgx-runtimes-test:missing".to_owned(), ..Self::spec() },
            workspace: Some(self.workspace()),
            argv: |task| shell(script(task)),
            kill: Box::new(move |slot| Box::pin(on.kill(slot))),
            another_process: Box::new(move || another()),
        }
    }

    /// The instance that its containers are labelled with.
    pub(crate) fn instance(&self) -> &str {
        &self.instance.name
    }

    /// A path in the directory of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }
}

impl Instance {
    fn runtime(&self) -> Box<dyn PoolableRuntime> {
        self.runtime_at(&self.on.host())
    }

    fn runtime_at(&self, host: &str) -> Box<dyn PoolableRuntime> {
        match self.on {
            On::Docker | On::PodmanAsDocker => Box::new(self.docker(host)),
            On::Podman => Box::new(self.podman(host)),
        }
    }

    fn images(&self) -> Arc<dyn Images> {
        match self.on {
            On::Docker | On::PodmanAsDocker => self.docker(&self.on.host()).images(),
            On::Podman => self.podman(&self.on.host()).images(),
        }
    }

    fn docker(&self, host: &str) -> Docker {
        let (host, instance, profile) = (host.to_owned(), self.name.clone(), self.profile());
        let (user, workspace_owner) = ((USER_ID, USER_ID), (USER_ID, USER_ID));
        Docker::connect(
            DockerConfig { host, instance, user, workspace_owner, profile, holders: 2 },
            self.links(),
        )
    }

    fn podman(&self, host: &str) -> Podman {
        let (host, instance, user, profile) =
            (host.to_owned(), self.name.clone(), USER.to_owned(), self.profile());
        Podman::connect(
            PodmanConfig { host, oci_runtime: String::new(), instance, user, profile },
            self.links(),
        )
    }

    fn profile(&self) -> PathBuf {
        self.directory.join("seccomp.json")
    }

    fn links(&self) -> Links {
        // no task serves the tunnels
        let (tunnels, _) = mpsc::channel(1);
        Links::new(self.directory.join("l"), tunnels).unwrap()
    }
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

impl On {
    /// A client of the engine that is independent of the runtime.
    pub(crate) async fn client(self) -> bollard::Docker {
        bollard::Docker::connect_with_host(&self.host()).unwrap().negotiate_version().await.unwrap()
    }

    /// The engine's socket.
    pub(crate) fn host(self) -> String {
        let (variable, usual) = match self {
            Self::Docker => ("DOCKER_HOST", "unix:///var/run/docker.sock"),
            Self::Podman | Self::PodmanAsDocker => ("CONTAINER_HOST", "unix:///run/podman/podman.sock"),
        };
        let host = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
        let socket = host.strip_prefix("unix://").unwrap_or(&host);
        assert!(
            host.starts_with("tcp://") || Path::new(socket).exists(),
            "these tests need Docker and Podman, and there is nothing at {host}: `./bootstrap.sh engines` installs \
             and starts them; {variable} names another place"
        );
        host
    }

    /// Gives an image another name.
    pub(crate) async fn tag(self, image: &str, repository: &str, tag: &str) {
        let options =
            bollard::query_parameters::TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        self.client().await.tag_image(image, Some(options)).await.unwrap();
    }

    pub(crate) async fn kill(self, slot: SlotId) {
        let client = self.client().await;
        let name = format!("mgx-{slot}");
        let options = bollard::query_parameters::KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        client.kill_container(&name, Some(options)).await.unwrap();
        // Podman 5 reports the state `stopped` for a moment, which the Docker API does not have
        let runs = async || match client.inspect_container(&name, None).await {
            Ok(container) => container.state.unwrap().running == Some(true),
            Err(error) => error.to_string().contains("stopped"),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while runs().await {
            assert!(tokio::time::Instant::now() < deadline, "{name} runs on");
            tokio::task::yield_now().await;
        }
    }
}

fn script(task: Task) -> &'static str {
    match task {
        Task::Hello => "echo hello; exit 3",
        Task::Count => "for i in $(seq 20); do echo $i; sleep 0.1; done",
        Task::Sleep => "echo ready; exec sleep 60",
        Task::Ignore => "trap '' TERM; echo ready; sleep 60",
        // tail keeps its last line, and there is no end of it
        Task::ExhaustMemory => "tail /dev/zero",
    }
}

/// One image at a time: they have the same name.
async fn make_image(world: &World, image: StockImage) -> Made {
    static ONE: OnceLock<Mutex<()>> = OnceLock::new();
    let _guard = ONE.get_or_init(Mutex::default).lock().await;
    image.make(&*world.images()).await.unwrap()
}

/// An image whose first process is `runner`, with a shell.
pub(crate) fn pack(runner: &[u8]) -> StockImage {
    let mut extras = vec![Extra::Program("bin/busybox".to_owned(), busybox())];
    for applet in
        ["sh", "sleep", "seq", "tail", "id", "cat", "ls", "grep", "touch", "mount", "unshare", "dd", "find"]
    {
        extras.push(Extra::Symlink(format!("bin/{applet}"), "busybox".to_owned()));
    }
    StockImage::pack(REPOSITORY, runner, None, &extras).unwrap()
}

/// The agent-runner.
pub(crate) fn runner() -> Vec<u8> {
    std::fs::read(runner_path()).unwrap_or_else(|error| {
        panic!("{}: {error}; build the agent-runner first, or set MGX_AGENT_RUNNER", runner_path().display())
    })
}

fn busybox() -> Vec<u8> {
    std::fs::read(BUSYBOX).expect("/bin/busybox is there: install the package busybox-static")
}

fn runner_path() -> PathBuf {
    std::env::var_os("MGX_AGENT_RUNNER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/agent-runner"),
        PathBuf::from,
    )
}
