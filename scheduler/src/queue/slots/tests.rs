//! Slots are granted, returned and never lost, and room is never left idle.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::job::Kind;
use crate::queue::demand::Budget;
use crate::queue::usage::ReachedLimit;
use crate::time::clock::Uptime;
use jiff::Timestamp;
use mgx_runtimes::Limits;
use proptest::prelude::*;
use uuid::Uuid;

fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn demand(n: u128) -> Demand {
    Demand {
        job: job(n),
        user: "a".into(),
        session: "s".parse().unwrap(),
        kind: Kind::Agent,
        priority: 5,
        group: None,
        need: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        since: Timestamp::UNIX_EPOCH,
    }
}

fn slots() -> Slots {
    let fairness = Fairness {
        weights: BTreeMap::new(),
        ageing: Duration::from_mins(1),
        overtaking_limit: Duration::from_secs(30),
    };
    Slots::new(Caps::of(1), fairness, Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default()))
}

#[tokio::test]
async fn a_returned_slot_goes_to_the_next_job_in_the_queue() {
    let slots = slots();
    let first = slots.request(demand(1)).granted().await;
    let mut second = slots.request(demand(2));
    let standing = slots.standing(job(2)).unwrap();
    assert_eq!((slots.taken(), standing.ahead), (1, 0));
    assert_eq!(standing.binding.unwrap().holders, [job(1)]);
    drop(first);
    let second = second.granted().await;
    assert_eq!((slots.taken(), slots.waiting()), (1, 0));
    drop(second);
    assert_eq!(slots.taken(), 0);
}

#[tokio::test]
async fn a_slot_granted_to_a_job_that_left_the_queue_is_not_lost() {
    let slots = slots();
    let first = slots.request(demand(1)).granted().await;
    let leaves = slots.request(demand(2));
    let granted_but_never_taken = slots.request(demand(3));
    drop(leaves);
    drop(first);
    assert_eq!(slots.taken(), 1);
    drop(granted_but_never_taken);
    assert_eq!((slots.taken(), slots.waiting()), (0, 0));
}

#[tokio::test]
async fn grants_paused_twice_resume_when_both_pauses_end() {
    let slots = slots();
    let (first, second) = (slots.pause_grants(), slots.pause_grants());
    let mut pending = slots.request(demand(1));
    drop(first);
    assert!(slots.is_paused());
    assert_eq!((slots.taken(), slots.waiting()), (0, 1));
    drop(second);
    let slot = pending.granted().await;
    assert_eq!((slots.taken(), slots.waiting()), (1, 0));
    drop(slot);
}

#[tokio::test]
async fn slots_acquired_beyond_the_limit_are_returned_before_a_new_one_is_granted() {
    let slots = slots();
    let (a, b) = (slots.acquire_unchecked(demand(1)), slots.acquire_unchecked(demand(2)));
    let pending = slots.request(demand(3));
    drop(a);
    assert_eq!((slots.taken(), slots.waiting()), (1, 1));
    drop(b);
    assert_eq!((slots.taken(), slots.waiting()), (1, 0));
    drop(pending);
    assert_eq!(slots.taken(), 0);
}

/// What may happen to the queue.
#[derive(Clone, Debug)]
enum Step {
    Request { user: u8, session: u8, memory: u64, is_grouped: bool },
    Leave(usize),
    End(usize),
    Keep(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = (0..3_u8, 0..2_u8, 1..14_u64, any::<bool>())
        .prop_map(|(user, session, memory, is_grouped)| Step::Request { user, session, memory, is_grouped });
    let step = prop_oneof![
        4 => request,
        2 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::Keep),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes, leaves and ends: no job waits that could run, unless a larger one must not be overtaken.
    #[test]
    fn no_room_is_idle_while_a_job_fits(steps in steps(), is_patient in any::<bool>()) {
        let overtaking_limit = if is_patient { Duration::from_hours(1) } else { Duration::ZERO };
        let fairness = Fairness { overtaking_limit, ..Fairness::default() };
        let caps = Caps {
            per_user: 3,
            host: Budget { memory_bytes: 12, ..Budget::UNLIMITED },
            session: Budget { memory_bytes: 10, ..Budget::UNLIMITED },
            ..Caps::of(5)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let slots = Slots::new(caps, fairness, Clock::starting_at(Timestamp::UNIX_EPOCH, Uptime::default()));
        let (mut waiting, mut running) = (Vec::new(), Vec::new());
        for (number, step) in (1_u128..).zip(steps) {
            match step {
                Step::Request { user, session, memory, is_grouped } => waiting.push(slots.request(Demand {
                    user: user.to_string().into(),
                    session: format!("{user}-{session}").parse().unwrap(),
                    group: is_grouped.then(|| user.to_string().into()),
                    need: Limits { memory_bytes: memory, cpu_quota: 1, pids: 1 },
                    ..demand(number)
                })),
                Step::Leave(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Step::End(at) if !running.is_empty() => drop(running.swap_remove(at % running.len())),
                Step::Keep(at) if !running.is_empty() => {
                    let slot: &Slot = &running[at % running.len()];
                    slot.keep_for_container();
                }
                Step::Leave(_) | Step::End(_) | Step::Keep(_) => {}
            }
            waiting.retain_mut(|pending: &mut PendingSlot| match pending.receiver.try_recv() {
                Ok(slot) => {
                    running.push(slot);
                    false
                }
                Err(_) => true,
            });
            let state = slots.lock();
            let caps = &slots.0.caps;
            let demands: Vec<_> = waiting.iter().filter_map(|pending| state.queue.demand(pending.job)).collect();
            let reached = |demand: &Demand| state.usage.reached_limit(demand, caps);
            let holds_up = |demand: &&Demand| {
                !is_patient
                    && reached(demand).is_some_and(ReachedLimit::is_of_the_host)
                    && Usage::could_ever_run(demand, caps)
            };
            let is_held_up = demands.iter().copied().any(|demand| holds_up(&demand));
            let fits = demands.iter().copied().find(|demand| reached(demand).is_none());
            prop_assert!(fits.is_none() || is_held_up, "{fits:?} waits with room for it");
        }
    }
}
