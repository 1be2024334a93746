//! A MongoDB server of one's own, for tests: started on a free port, killed, stopped and started again at will.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl TestServer {
    /// Starts the server that `just mongo-server` has installed, or the one that `MGX_TEST_MONGO` names, with its data
    /// in `directory`.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let program = program()?;
        std::fs::create_dir_all(directory)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = spawn(&program, directory, address)?;
        let server = Self { program, directory: directory.to_owned(), address, child };
        server.answers()?;
        Ok(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    /// Kills it, as a crash does.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again where it was, with what it had.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.program, &self.directory, self.address)?;
        self.answers()
    }

    /// Stops it, as a machine does that hangs.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal).map_err(io::Error::from)
    }

    fn answers(&self) -> io::Result<()> {
        let end = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if Instant::now() > end {
                return Err(io::Error::other("the MongoDB server does not start"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

fn program() -> io::Result<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/mongo/bin/mongo-server");
    let program = std::env::var_os("MGX_TEST_MONGO").map_or(installed, PathBuf::from);
    if program.exists() {
        return Ok(program);
    }
    let missing =
        format!("there is no MongoDB server at {}: `just mongo-server` installs one", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, missing))
}

fn spawn(program: &Path, directory: &Path, address: SocketAddr) -> io::Result<Child> {
    Command::new(program)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--storage-path"])
        .arg(directory)
        .args(["--sync-on-commit", "--cache-size", "256M", "--log-level", "ERROR"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}
