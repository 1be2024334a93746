//! The account commands: users, clients, tokens, and signing in from a terminal with consent in a browser.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mgx_testkit::{MongoServer, Server};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use tempfile::TempDir;

const PASSWORD: &str = "seven grey herons wade";

/// How long the only process of a platform may take to get the lease of a shared store.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that runs no jobs, and a user who types commands beside it.
struct Terminal {
    server: Server,
    _store: Option<(MongoServer, TempDir)>,
}

/// The store in which the server keeps accounts.
#[derive(Clone, Copy)]
enum Store {
    Embedded,
    MongoDb,
}

impl Terminal {
    async fn start(store: Store) -> Self {
        let store = match store {
            Store::Embedded => None,
            Store::MongoDb => {
                let dir = tempfile::tempdir().unwrap();
                Some((MongoServer::start(dir.path()).unwrap(), dir))
            }
        };
        let url = store.as_ref().map(|(server, _)| server.url()).unwrap_or_default();
        let settings = format!("runtime = \"null\"\nstore.url = \"{url}\"");
        let env = [("MGX_OAUTH2__ADMIN_PASSWORD", PASSWORD)];
        let program = Path::new(env!("CARGO_BIN_EXE_mgx"));
        let mut server = Server::start_program(program, &settings, &env).await.unwrap();
        if store.is_some() {
            server.wait_until_scheduling(LEASE_TIMEOUT).await.unwrap();
        }
        assert!(!server.log().contains("sign in as"), "a password that was configured is not shown");
        Self { server, _store: store }
    }

    /// `mgx` with nothing of this environment but the path, and a home directory of its own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.server.command(args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home());
        command
    }

    fn home(&self) -> PathBuf {
        self.server.data_dir().with_file_name("home")
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args).envs(env.iter().copied()).output().unwrap()
    }

    /// The standard output of a command that has to succeed.
    fn stdout(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.run(args, env);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn users_clients_and_tokens_are_created_listed_and_removed() {
    accounts_are_created_and_removed(&Terminal::start(Store::Embedded).await);
}

#[tokio::test]
async fn users_clients_and_tokens_are_created_listed_and_removed_on_mongodb() {
    accounts_are_created_and_removed(&Terminal::start(Store::MongoDb).await);
}

fn accounts_are_created_and_removed(terminal: &Terminal) {
    let output =
        terminal.stdout(&["user", "add", "anna", "--display-name", "Anna B.", "--group", "crew"], &[]);
    assert!(output.starts_with("user anna is added; the password is "), "{output}");
    let list = terminal.stdout(&["user", "list"], &[]);
    assert!(list.contains("Anna B.") && list.contains("crew") && list.contains("admin"), "{list}");
    assert!(list.contains("active  now") && !list.contains("Z\n"), "times are relative: {list}");
    assert!(terminal.stdout(&["user", "list", "--wide"], &[]).contains('Z'), "or whole");
    assert_eq!(terminal.stdout(&["user", "list", "-q"], &[]), "admin\nanna\n");
    let again = terminal.run(&["user", "add", "anna"], &[]);
    assert!(!again.status.success() && text(&again.stderr).contains("taken"), "{again:?}");

    let token = terminal.stdout(&["token", "create", "ci", "--user", "anna", "--scope", "read"], &[]);
    let token = token.trim();
    assert!(token.starts_with("mgx_pat_"), "{token}");
    let as_anna = [("MGX_TOKEN", token)];
    assert!(terminal.stdout(&["ps", "--json"], &as_anna).is_empty());
    let refused = terminal.run(&["user", "list"], &as_anna);
    assert!(text(&refused.stderr).contains("Not allowed"), "{refused:?}");
    let list = terminal.stdout(&["token", "list"], &as_anna);
    assert!(list.contains("ci") && !list.contains("mgx_pat_"), "{list}");
    assert!(terminal.stdout(&["user", "disable", "anna"], &[]).contains("disabled"));
    assert!(!terminal.run(&["ps"], &as_anna).status.success(), "her token counts no more");
    assert!(terminal.stdout(&["user", "enable", "anna"], &[]).contains("may sign in"));
    assert!(terminal.run(&["ps"], &as_anna).status.success());
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    terminal.stdout(&["token", "revoke", id, "--user", "anna"], &[]);
    assert!(!terminal.run(&["ps"], &as_anna).status.success());

    let output = terminal.stdout(
        &["client", "add", "Reports", "--id", "reports", "--confidential", "--grant", "client_credentials"],
        &[],
    );
    assert!(output.starts_with("client reports is registered; the secret is mgx_cs_"), "{output}");
    let list = terminal.stdout(&["client", "list"], &[]);
    assert!(list.contains("reports") && list.contains("mgx-cli"), "{list}");
    terminal.stdout(&["run", "x", "--session", "shop", "--json"], &[]);
    let of_apps = |args: &[&str]| terminal.stdout(args, &[]).lines().filter(|id| id.contains("shop")).count();
    assert_eq!((of_apps(&["client", "list", "-q"]), of_apps(&["client", "list", "-q", "--all"])), (0, 1));
    assert!(terminal.stdout(&["client", "remove", "reports"], &[]).contains("gone"));
    assert!(!terminal.run(&["client", "remove", "reports"], &[]).status.success());
    let output = terminal.run(&["user", "passwd", "nobody"], &[]);
    assert!(text(&output.stderr).contains("mgx user list"), "{output:?}");

    // a password is read from standard input, since other users of the machine can see arguments
    let mut passwd = terminal.command(&["user", "passwd", "anna", "--password-stdin"]);
    let mut passwd = passwd.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    passwd.stdin.take().unwrap().write_all(b"nine red lamps glow\n").unwrap();
    let output = passwd.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "user anna has a new password\n");
}

#[tokio::test]
async fn a_user_signs_in_by_consent_in_a_browser_and_signs_out() {
    sign_in_and_out(&Terminal::start(Store::Embedded).await).await;
}

#[tokio::test]
async fn a_user_signs_in_by_consent_in_a_browser_and_signs_out_on_mongodb() {
    sign_in_and_out(&Terminal::start(Store::MongoDb).await).await;
}

async fn sign_in_and_out(terminal: &Terminal) {
    let mut login = terminal.command(&["login", "--admin"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(login.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.strip_prefix("open ").unwrap();
    assert!(address.starts_with(terminal.server.url()), "{first}");
    consent(terminal.server.url(), address).await;
    let rest = tokio::task::spawn_blocking(move || lines.collect::<Vec<_>>());
    let rest = tokio::time::timeout(Duration::from_mins(1), rest).await.unwrap().unwrap();
    assert!(rest.iter().any(|line| line.contains(" as admin; the token is in ")), "{rest:?}");
    assert!(login.wait().unwrap().success());

    // the login stands for the token in the data directory
    fs::remove_file(terminal.server.data_dir().join("admin.token")).unwrap();
    assert!(terminal.stdout(&["user", "list"], &[]).contains("admin"));
    let kept = terminal.home().join(".config/mgx/credentials.json");
    let token = fs::read_to_string(&kept).unwrap();
    assert!(token.contains("mgx_pat_"), "{token}");
    assert!(terminal.stdout(&["logout"], &[]).contains("signed out"));
    fs::write(&kept, token).unwrap();
    assert!(!terminal.run(&["user", "list"], &[]).status.success(), "a copy of the token is worth nothing");
}

/// Opens the address as a browser does, signs in, and consents.
async fn consent(url: &str, address: &str) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let to_login = http.get(address).send().await.unwrap();
    assert_eq!(to_login.status(), 303);
    let page =
        http.get(format!("{url}{}", to_login.headers()[LOCATION].to_str().unwrap())).send().await.unwrap();
    let cookie = cookie_of(&page);
    let html = page.text().await.unwrap();
    let form = [
        ("csrf", field(&html, "csrf")),
        ("continue", field(&html, "continue")),
        ("username", "admin".to_owned()),
        ("password", PASSWORD.to_owned()),
    ];
    let signed_in = post(&http, &format!("{url}/oauth2/login"), &cookie, &form).await;
    assert_eq!(signed_in.status(), 303, "{}", signed_in.text().await.unwrap());
    let cookie = cookie_of(&signed_in);
    let back = format!("{url}{}", signed_in.headers()[LOCATION].to_str().unwrap());
    let html = http.get(back).header(COOKIE, &cookie).send().await.unwrap().text().await.unwrap();
    let mut form = vec![("csrf", field(&html, "csrf")), ("user_code", field(&html, "user_code"))];
    let mut answer = html;
    if !answer.contains("value=\"allow\"") {
        answer = post(&http, &format!("{url}/oauth2/device"), &cookie, &form).await.text().await.unwrap();
    }
    assert!(answer.contains("value=\"allow\""), "{answer}");
    form = vec![
        ("csrf", field(&answer, "csrf")),
        ("user_code", field(&answer, "user_code")),
        ("decision", "allow".into()),
    ];
    let done = post(&http, &format!("{url}/oauth2/device"), &cookie, &form).await;
    assert_eq!(done.status(), 200);
}

async fn post(http: &reqwest::Client, to: &str, cookie: &str, form: &[(&str, String)]) -> reqwest::Response {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = http.post(to).header(COOKIE, cookie).body(body);
    request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
}

/// The first cookie that an answer sets, as it is sent back.
fn cookie_of(answer: &reqwest::Response) -> String {
    let cookie = answer.headers().get_all(SET_COOKIE).iter().next().unwrap().to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// The value of a field of a form.
fn field(html: &str, name: &str) -> String {
    let at = html.find(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name} in {html}"));
    let rest = &html[at + name.len() + 15..];
    rest[..rest.find('"').unwrap()].replace("&amp;", "&")
}
