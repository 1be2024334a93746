//! Tokens on the command line: each is sent to the server that it is for, and to no other.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::mpsc;
use std::time::Duration;

use mgx_testkit::Server;

/// A program that is no server of the platform. It keeps what it is sent.
struct Stranger {
    port: u16,
    heads: mpsc::Receiver<String>,
}

impl Stranger {
    /// Listens on `ip`, and answers every request with `answer`.
    fn listen(ip: &str, answer: &'static str) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if sender.send(head(&mut stream)).is_err() {
                    return;
                }
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { port, heads }
    }

    /// What it was sent so far.
    fn received(&self) -> String {
        let mut all = String::new();
        while let Ok(head) = self.heads.recv_timeout(Duration::from_millis(200)) {
            all.push_str(&head);
        }
        all
    }
}

/// The head of a request, or what comes in the place of one.
fn head(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.first() != Some(&22) {
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 => head.extend(&bytes[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

const NO_CONTENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

async fn server() -> Server {
    Server::start_program(Path::new(env!("CARGO_BIN_EXE_mgx")), "runtime = \"null\"", &[]).await.unwrap()
}

/// `mgx` with nothing of this environment but the path, and a home directory of its own.
fn mgx(server: &Server, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = server.command(args);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", server.data_dir().with_file_name("home"));
    command.envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn admin_token(server: &Server) -> String {
    fs::read_to_string(server.data_dir().join("admin.token")).unwrap().trim().to_owned()
}

/// Writes logins as `mgx login` keeps them.
fn keep_logins(server: &Server, logins: &[(&str, &str)]) {
    use std::os::unix::fs::PermissionsExt;
    let dir = server.data_dir().with_file_name("home").join(".config/mgx");
    fs::create_dir_all(&dir).unwrap();
    let login = |token: &str| serde_json::json!({"user": "anna", "id": uuid::Uuid::nil(), "token": token});
    let all: serde_json::Map<_, _> =
        logins.iter().map(|(url, token)| ((*url).to_owned(), login(token))).collect();
    let file = dir.join("credentials.json");
    fs::write(&file, serde_json::to_string(&all).unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn the_admin_token_is_sent_to_its_own_server_alone() {
    let server = server().await;
    let stranger = Stranger::listen("127.0.0.2", NO_CONTENT);
    let other = format!("http://127.0.0.2:{}", stranger.port);
    let bare = other.strip_prefix("http://").unwrap();
    let by_name = format!("http://a@127.0.0.2:{}", stranger.port);
    let commands: [&[&str]; 5] =
        [&["ps"], &["run", "x"], &["events", "demo"], &["events", "demo", "--follow"], &["user", "list"]];
    for args in commands {
        for (flags, env) in [
            (vec!["--url", &other], vec![]),
            (vec!["--url", bare], vec![]),
            (vec!["--url", &by_name], vec![]),
            (vec![], vec![("MGX_URL", &*other)]),
        ] {
            let output = mgx(&server, &[args, &flags].concat(), &env);
            assert!(!output.status.success(), "{args:?} {output:?}");
            assert!(!text(&output.stderr).contains(&admin_token(&server)), "{output:?}");
        }
    }
    let output = mgx(&server, &["ps", "--url", &other], &[]);
    let stderr = text(&output.stderr);
    assert!(stderr.contains(&format!("there is no token for {other}")), "{stderr}");
    assert!(stderr.contains(&format!("mgx login --url {other}")), "{stderr}");
    assert_eq!(stranger.received(), "", "not even a request without a token");

    let port = server.url().rsplit(':').next().unwrap();
    for own in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("http://LOCALHOST:{port}/")]
    {
        assert!(mgx(&server, &["ps", "--url", &own], &[]).status.success(), "{own}");
        assert!(mgx(&server, &["ps"], &[("MGX_URL", &own)]).status.success(), "{own}");
    }
}

#[tokio::test]
async fn the_admin_token_is_not_sent_to_a_program_that_has_taken_the_port() {
    let mut server = server().await;
    let port: u16 = server.url().rsplit(':').next().unwrap().parse().unwrap();
    server.kill().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let output = mgx(&server, &["ps"], &[]);
    let message =
        format!("mgx: no server answers at http://127.0.0.1:{port}; start it with `mgx up --detach`\n");
    assert_eq!(text(&output.stderr), message);
    assert!(listener.accept().is_err(), "no connection was made");
}

#[test]
fn a_configuration_cannot_name_another_machine_as_this_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mgx.toml"), "server.listen = \"203.0.113.7:80\"\n").unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/admin.token"), "mgx_admin_canary-canary-canary\n").unwrap();
    for (env, why) in [
        (&[][..], "203.0.113.7:80, which is no address of this machine"),
        (&[("MGX_TOKEN", "canary")], "203.0.113.7:80, which is no address of this machine"),
        (&[("MGX_URL", "http://203.0.113.7")], "there is no token for http://203.0.113.7"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mgx"));
        command.arg("ps").current_dir(dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.envs(env.iter().copied()).output().unwrap();
        let stderr = text(&output.stderr);
        assert!(stderr.contains(why), "{env:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_login_and_a_variable_are_for_the_server_that_they_name() {
    let server = server().await;
    let stranger = Stranger::listen("127.0.0.2", NO_CONTENT);
    let other = Stranger::listen("127.0.0.3", NO_CONTENT);
    let at = |stranger: &Stranger, ip: &str| format!("http://{ip}:{}", stranger.port);
    let (first, second) = (at(&stranger, "127.0.0.2"), at(&other, "127.0.0.3"));
    let typed = format!("{}/", first.to_uppercase());
    keep_logins(&server, &[(&first, "mgx_pat_first")]);
    mgx(&server, &["ps", "--url", &typed], &[]);
    assert!(stranger.received().contains("Bearer mgx_pat_first"), "the address is the same");
    mgx(&server, &["ps", "--url", &second], &[]);
    mgx(&server, &["ps", "--url", &format!("https://127.0.0.2:{}", stranger.port)], &[]);
    assert!(!(other.received() + &stranger.received()).contains("mgx_pat"));

    // a pair of variables belongs together
    let pair = [("MGX_URL", &*second), ("MGX_TOKEN", "canary")];
    mgx(&server, &["ps"], &pair);
    assert!(other.received().contains("canary"));
    let output = mgx(&server, &["ps", "--url", "http://127.0.0.4:9"], &pair);
    assert!(
        text(&output.stderr).contains(&format!("that of MGX_TOKEN is for {second} (MGX_URL) alone")),
        "{output:?}"
    );
    mgx(&server, &["ps", "--url", &first], &pair);
    let sent = stranger.received();
    assert!(!sent.contains("canary") && sent.contains("mgx_pat_first"), "{sent}");
    assert!(mgx(&server, &["ps", "--url", server.url()], &pair).status.success(), "its own token is used");
    // a variable alone is for the server that the command names
    mgx(&server, &["ps", "--url", &second], &[("MGX_TOKEN", "canary\n"), ("MGX_URL", "")]);
    assert!(other.received().contains("canary"));
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect() {
    let server = server().await;
    let goal = TcpListener::bind("127.0.0.2:0").unwrap();
    goal.set_nonblocking(true).unwrap();
    let to = format!("http://127.0.0.2:{}/", goal.local_addr().unwrap().port());
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let stranger = Stranger::listen("127.0.0.3", String::leak(answer));
        let url = format!("http://127.0.0.3:{}", stranger.port);
        let commands: [&[&str]; 5] =
            [&["ps"], &["run", "x"], &["events", "demo", "--follow"], &["export", "demo"], &["login"]];
        for args in commands {
            let output = mgx(&server, &[args, &["--url", &url]].concat(), &[("MGX_TOKEN", "canary")]);
            assert!(!output.status.success(), "{args:?}");
            let stderr = text(&output.stderr);
            assert!(stderr.contains(&format!("it sends to {to}")), "{args:?}: {stderr}");
        }
        assert!(goal.accept().is_err(), "{status} was followed");
    }
}

#[test]
fn an_address_and_a_certificate_that_are_wrong_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = |url: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mgx"));
        command.args(["ps", "--url", url]).current_dir(dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.env("MGX_TOKEN", "canary").output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, stderr) = run("ftp://127.0.0.1");
    assert_eq!(
        (code, &*stderr),
        (
            Some(2),
            "mgx: \"ftp://127.0.0.1\" is no address of a server: an address begins with http:// or https://\n"
        )
    );
    let plain = Stranger::listen("127.0.0.1", "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    let (_, stderr) = run(&format!("https://127.0.0.1:{}", plain.port));
    assert!(
        stderr.contains("cannot speak TLS with https://127.0.0.1:") && stderr.contains("write http://"),
        "{stderr}"
    );
    assert!(!plain.received().contains("canary"));
    let (_, stderr) = run("http://nowhere.invalid:8765");
    assert!(stderr.contains("the host of http://nowhere.invalid:8765 is unknown"), "{stderr}");
    let tls = TlsServer::start();
    let (code, stderr) = run(&format!("https://localhost:{}", tls.port));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!("the certificate of https://localhost:{} is not accepted", tls.port)),
        "{stderr}"
    );
    assert!(stderr.contains("SSL_CERT_FILE"), "{stderr}");
}

/// A server with TLS, whose certificate no authority has signed.
struct TlsServer {
    port: u16,
}

impl TlsServer {
    fn start() -> Self {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        rustls::crypto::ring::default_provider().install_default().ok();
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = std::sync::Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
            }
        });
        Self { port }
    }
}

/// Of no use but for this test: for the name `localhost`, signed by itself.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBcTCCARegAwIBAgIUZ3JVuaRt5hqSkskf4T9LFTnf288wCgYIKoZIzj0EAwIw\n\
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTA5MDU1OFoYDzIxMjYxMTA1\n\
MDkwNTU4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAASUG3cB7qE2Ld09KTaiTh/n/NFlXkxUdX7+e6vxw5E6DX7EyZOPe6ND\n\
B9lbUa6EX0EzeWZshCb4pdeJJnBcIfeQo0UwQzAUBgNVHREEDTALgglsb2NhbGhv\n\
c3QwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUiqbf3b2rSxPdoUFEVkhkPiek6+sw\n\
CgYIKoZIzj0EAwIDSAAwRQIgGBDd7nV64+M/p9kEACHmuf1MO2J57spMzn1YbsyC\n\
MQkCIQCOPXizA38qVqhShoLBBO/1dkRdp4McLq2Ih1jTqv4nkQ==\n\
-----END CERTIFICATE-----\n\
";

const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtKhLGjUvO5tlWByK\n\
pKw38bjK6F2oPvvkSaS3jl7VbfahRANCAASUG3cB7qE2Ld09KTaiTh/n/NFlXkxU\n\
dX7+e6vxw5E6DX7EyZOPe6NDB9lbUa6EX0EzeWZshCb4pdeJJnBcIfeQ\n\
-----END PRIVATE KEY-----\n\
";
