//! A MongoDB server that belongs to one test, which may kill, suspend and restart it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running MongoDB server on a free port. Dropping it kills it.
#[derive(Debug)]
pub struct MongoServer {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl MongoServer {
    /// Starts the server that `./bootstrap.sh mongo` has installed, or the program in `MGX_TEST_MONGO`, with its data in
    /// `directory`.
    ///
    /// # Errors
    /// The program is not there, or does not start.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let program = program()?;
        std::fs::create_dir_all(directory)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = spawn(&program, directory, address)?;
        let server = Self { program, directory: directory.to_owned(), address, child };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Its address, as `store.url` takes it.
    pub fn url(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// The server is not running.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts the server again, on the same address and data.
    ///
    /// # Errors
    /// The server does not start.
    pub fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.program, &self.directory, self.address)?;
        self.wait_until_ready()
    }

    /// Suspends the server with SIGSTOP: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// The server is not running.
    pub fn suspend(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the suspended server go on.
    ///
    /// # Errors
    /// The server is not running.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal).map_err(io::Error::from)
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            if Instant::now() > end {
                return Err(io::Error::other("the MongoDB server does not start"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for MongoServer {
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
        format!("there is no MongoDB server at {}: `./bootstrap.sh mongo` installs one", program.display());
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
