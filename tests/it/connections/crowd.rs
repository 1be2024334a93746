//! Two hundred users who sign in at the same moment: how much memory the server takes for that.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::available_parallelism;

use anyhow::Result;
use mgx_testkit::Server;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::connections::slow::answer;

const PEOPLE: u8 = 200;
const PASSWORD: &str = "seven grey herons wade";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sign_ins_at_once_take_the_memory_of_as_many_as_there_are_cores() -> Result<()> {
    let env = [("MGX_OAUTH2__ADMIN_PASSWORD", PASSWORD)];
    let server = Server::start("runtime = \"null\"\noauth2.password_login = true", &env).await?;
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let before = server.peak_memory_mib()?;
    let mut people = JoinSet::new();
    for person in 1..=PEOPLE {
        people.spawn(sign_in(Ipv4Addr::new(127, 0, 3, person), address));
    }
    let (mut in_, mut later) = (0, 0);
    while let Some(status) = people.join_next().await {
        match status?? {
            200 => in_ += 1,
            429 | 503 => later += 1,
            status => anyhow::bail!("{status}"),
        }
    }
    let cores = available_parallelism()?.get() as u64;
    let grown = server.peak_memory_mib()?.saturating_sub(before);
    println!("{in_} signed in, {later} were told to come back; at most {grown} MiB more on {cores} cores");
    assert!(in_ >= 50, "{in_} of {PEOPLE}");
    assert!(grown <= cores * 19 + 16, "{grown} MiB");
    Ok(())
}

/// The status of a sign-in from this address: each has its own, so that none is slowed down for the others.
async fn sign_in(from: Ipv4Addr, to: SocketAddr) -> Result<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut socket = socket.connect(to).await?;
    let form = format!("username=admin&password={}&scope=read", PASSWORD.replace(' ', "+"));
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded";
    socket.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{form}", form.len()).as_bytes()).await?;
    Ok(answer(&mut socket).await?.split(' ').nth(1).unwrap_or_default().parse()?)
}
