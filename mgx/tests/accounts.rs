//! Accounts as one types them: users, clients, tokens, and signing in from a terminal with a yes in a browser.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mgx_store::mongodb::testing::TestServer;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use tempfile::TempDir;

const PASSWORD: &str = "seven grey herons wade";

/// A server that runs nothing, and whoever types commands at it.
struct World {
    dir: TempDir,
    url: String,
    _store: Option<TestServer>,
}

/// Where it keeps accounts.
#[derive(Clone, Copy)]
enum Kept {
    Embedded,
    MongoDb,
}

impl World {
    fn start(kept: Kept) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let store = match kept {
            Kept::Embedded => None,
            Kept::MongoDb => Some(TestServer::start(&dir.path().join("mongo")).unwrap()),
        };
        let url = store.as_ref().map(TestServer::url).unwrap_or_default();
        let toml =
            format!("runtime = \"null\"\nserver.listen = \"127.0.0.1:{port}\"\nstore.url = \"{url}\"\n");
        fs::write(dir.path().join("mgx.toml"), toml).unwrap();
        let world = Self { dir, url: format!("http://127.0.0.1:{port}"), _store: store };
        let up =
            world.command(&["up", "--detach"]).env("MGX_OAUTH2__ADMIN_PASSWORD", PASSWORD).output().unwrap();
        assert!(up.status.success(), "{up:?}");
        assert!(!text(&up.stdout).contains("sign in as"), "who chose the password knows it");
        world
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mgx"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.dir.path().join("home"));
        command
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(args).envs(env.iter().copied()).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn said(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.run(args, env);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.command(&["down"]).output().ok();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn users_clients_and_tokens_are_made_listed_and_taken_away() {
    accounts_are_made_and_taken_away(&World::start(Kept::Embedded));
}

#[test]
fn so_they_are_on_mongodb() {
    accounts_are_made_and_taken_away(&World::start(Kept::MongoDb));
}

fn accounts_are_made_and_taken_away(world: &World) {
    let said = world.said(&["user", "add", "anna", "--display-name", "Anna B.", "--group", "crew"], &[]);
    assert!(said.starts_with("user anna is added; the password is "), "{said}");
    let list = world.said(&["user", "list"], &[]);
    assert!(list.contains("Anna B.") && list.contains("crew") && list.contains("admin"), "{list}");
    let again = world.run(&["user", "add", "anna"], &[]);
    assert!(!again.status.success() && text(&again.stderr).contains("taken"), "{again:?}");

    let token = world.said(&["token", "create", "ci", "--user", "anna", "--scope", "read"], &[]);
    let token = token.trim();
    assert!(token.starts_with("mgx_pat_"), "{token}");
    let as_anna = [("MGX_TOKEN", token)];
    assert!(world.said(&["ps", "--json"], &as_anna).is_empty());
    let refused = world.run(&["user", "list"], &as_anna);
    assert!(text(&refused.stderr).contains("Not allowed"), "{refused:?}");
    let list = world.said(&["token", "list"], &as_anna);
    assert!(list.contains("ci") && !list.contains("mgx_pat_"), "{list}");
    assert!(world.said(&["user", "disable", "anna"], &[]).contains("disabled"));
    assert!(!world.run(&["ps"], &as_anna).status.success(), "her token counts no more");
    assert!(world.said(&["user", "enable", "anna"], &[]).contains("may sign in"));
    assert!(world.run(&["ps"], &as_anna).status.success());
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    world.said(&["token", "revoke", id, "--user", "anna"], &[]);
    assert!(!world.run(&["ps"], &as_anna).status.success());

    let said = world.said(
        &["client", "add", "Reports", "--id", "reports", "--confidential", "--grant", "client_credentials"],
        &[],
    );
    assert!(said.starts_with("client reports is registered; the secret is mgx_cs_"), "{said}");
    let list = world.said(&["client", "list"], &[]);
    assert!(list.contains("reports") && list.contains("mgx-cli"), "{list}");
    assert!(world.said(&["client", "remove", "reports"], &[]).contains("gone"));
    assert!(!world.run(&["client", "remove", "reports"], &[]).status.success());
    let said = world.run(&["user", "passwd", "nobody"], &[]);
    assert!(text(&said.stderr).contains("mgx user list"), "{said:?}");

    // a password comes by standard input, where nobody else on the machine sees it
    let mut passwd = world.command(&["user", "passwd", "anna", "--password-stdin"]);
    let mut passwd = passwd.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    passwd.stdin.take().unwrap().write_all(b"nine red lamps glow\n").unwrap();
    let output = passwd.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "user anna has a new password\n");
}

#[tokio::test]
async fn signing_in_takes_a_yes_in_a_browser_and_is_taken_back() {
    signing_in_works(&World::start(Kept::Embedded)).await;
}

#[tokio::test]
async fn so_it_does_on_mongodb() {
    signing_in_works(&World::start(Kept::MongoDb)).await;
}

async fn signing_in_works(world: &World) {
    let mut login = world.command(&["login", "--admin"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(login.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.strip_prefix("open ").unwrap();
    assert!(address.starts_with(&world.url), "{first}");
    say_yes(&world.url, address).await;
    let rest = tokio::task::spawn_blocking(move || lines.collect::<Vec<_>>());
    let rest = tokio::time::timeout(Duration::from_mins(1), rest).await.unwrap().unwrap();
    assert!(rest.iter().any(|line| line.contains(" as admin; the token is in ")), "{rest:?}");
    assert!(login.wait().unwrap().success());

    // the login stands for the token in the data directory
    fs::remove_file(world.dir.path().join("data/admin.token")).unwrap();
    assert!(world.said(&["user", "list"], &[]).contains("admin"));
    let kept = world.dir.path().join("home/.config/mgx/credentials.json");
    let token = fs::read_to_string(&kept).unwrap();
    assert!(token.contains("mgx_pat_"), "{token}");
    assert!(world.said(&["logout"], &[]).contains("signed out"));
    fs::write(&kept, token).unwrap();
    assert!(!world.run(&["user", "list"], &[]).status.success(), "a copy of the token is worth nothing");
}

/// Opens the address as a browser does, signs in, and says yes.
async fn say_yes(url: &str, address: &str) {
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
