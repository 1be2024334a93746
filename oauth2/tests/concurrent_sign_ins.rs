//! Two hundred concurrent sign-ins take no more memory than one hash for each core. The only test in its process,
//! whose memory it measures.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mgx_oauth2::{Argon2Cost, Busy, PasswordCheck, PasswordRules, Passwords, RandomSource};
use tokio::task::JoinSet;

const CORES: usize = 2;
const PEOPLE: usize = 200;

#[test]
fn two_hundred_sign_ins_take_no_more_memory_than_two_cores() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let passwords =
            Passwords::new(Argon2Cost::OWASP, PasswordRules::default(), CORES, RandomSource::system())
                .unwrap();
        let passwords = Arc::new(passwords);
        let hash = passwords.hash("seven grey herons wade").await.unwrap();
        let before = resident("VmRSS");
        let mut people = JoinSet::new();
        for person in 0..PEOPLE {
            let (passwords, hash) = (Arc::clone(&passwords), hash.clone());
            let (password, answer) = if person % 2 == 0 {
                ("seven grey herons wade", PasswordCheck::Correct)
            } else {
                ("wrong", PasswordCheck::Wrong)
            };
            people.spawn(async move {
                let verified = passwords.verify(password, Some(&hash)).await;
                // on a busy machine a sign-in may be refused
                assert!(verified == Ok(answer) || verified == Err(Busy), "{verified:?}");
            });
        }
        people.join_all().await;
        let grown = resident("VmHWM").saturating_sub(before) / 1024;
        println!("grown by {grown} MiB at most");
        assert!(grown <= CORES * 19 + 16, "{grown} MiB");
    });
}

/// A line of `/proc/self/status`, in KiB.
fn resident(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
