//! The requirements of [`IntentStore`].

use jiff::{SignedDuration, Timestamp};
use mgx_apps::{Intent, IntentBounds, IntentKey, IntentStore, Recorded};
use mgx_protocol::JobId;

const PLENTY: IntentBounds = IntentBounds { count: u64::MAX, bytes: u64::MAX };

/// Panics at the first requirement that is not met. The store holds no other intents.
pub async fn run(store: &dyn IntentStore) {
    an_intent_is_stored_once(store).await;
    a_withdrawn_key_is_free_again(store).await;
    an_expired_key_is_free_again(store).await;
    the_oldest_intents_are_deleted(store).await;
    no_more_is_stored_than_allowed(store).await;
}

async fn an_intent_is_stored_once(store: &dyn IntentStore) {
    let first = sample();
    let again = Intent { key: first.key, ..sample() };
    assert_eq!(store.record(&first, first.at, PLENTY).await.unwrap(), Recorded::New);
    assert_eq!(store.record(&again, first.at, PLENTY).await.unwrap(), Recorded::Existing(first.clone()));
    assert!(store.answer(&first, b"done".to_vec()).await.unwrap());
    let answered = Intent { answer: Some(b"done".to_vec()), ..first.clone() };
    assert_eq!(store.record(&again, first.at, PLENTY).await.unwrap(), Recorded::Existing(answered));
}

async fn a_withdrawn_key_is_free_again(store: &dyn IntentStore) {
    let refused = sample();
    assert_eq!(store.record(&refused, refused.at, PLENTY).await.unwrap(), Recorded::New);
    assert!(store.withdraw(&refused).await.unwrap());
    assert!(!store.withdraw(&refused).await.unwrap(), "it is gone");
    let new = Intent { key: refused.key, fingerprint: [8; 32], ..sample() };
    assert_eq!(store.record(&new, refused.at, PLENTY).await.unwrap(), Recorded::New);
    assert!(!store.withdraw(&refused).await.unwrap(), "the key belongs to another intent now");
    assert!(store.answer(&new, b"done".to_vec()).await.unwrap());
    assert!(!store.withdraw(&new).await.unwrap(), "what has been answered was carried out");
}

async fn an_expired_key_is_free_again(store: &dyn IntentStore) {
    let old = sample();
    assert_eq!(store.record(&old, old.at, PLENTY).await.unwrap(), Recorded::New);
    let later = old.at + SignedDuration::from_millis(1);
    let new = Intent { key: old.key, at: later, ..sample() };
    assert_eq!(store.record(&new, later, PLENTY).await.unwrap(), Recorded::New);
    assert!(
        !store.answer(&old, b"too late".to_vec()).await.unwrap(),
        "the key belongs to another intent now"
    );
    assert_eq!(store.record(&old, later, PLENTY).await.unwrap(), Recorded::Existing(new));
}

async fn the_oldest_intents_are_deleted(store: &dyn IntentStore) {
    while store.forget_intents(Timestamp::MAX, 100).await.unwrap() > 0 {}
    let start = sample().at;
    let mut all = Vec::new();
    for second in 0..4 {
        let intent = Intent { at: start + SignedDuration::from_secs(second), ..sample() };
        store.record(&intent, Timestamp::MIN, PLENTY).await.unwrap();
        all.push(intent);
    }
    assert_eq!(store.forget_intents(all[3].at, 2).await.unwrap(), 2);
    assert_eq!(store.forget_intents(all[3].at, 2).await.unwrap(), 1, "the fourth is not old enough");
    assert_eq!(
        store.record(&all[3], Timestamp::MIN, PLENTY).await.unwrap(),
        Recorded::Existing(all[3].clone())
    );
}

async fn no_more_is_stored_than_allowed(store: &dyn IntentStore) {
    while store.forget_intents(Timestamp::MAX, 100).await.unwrap() > 0 {}
    let bounds = IntentBounds { count: 2, bytes: 10 };
    let (first, second, third) = (sample(), sample(), sample());
    for intent in [&first, &second] {
        assert_eq!(store.record(intent, Timestamp::MIN, bounds).await.unwrap(), Recorded::New);
    }
    assert_eq!(store.record(&third, Timestamp::MIN, bounds).await.unwrap(), Recorded::Full);
    assert_eq!(
        store.record(&first, Timestamp::MIN, bounds).await.unwrap(),
        Recorded::Existing(first.clone())
    );
    store.answer(&first, vec![0; 10]).await.unwrap();
    let more = IntentBounds { count: 3, bytes: 10 };
    assert_eq!(
        store.record(&third, Timestamp::MIN, more).await.unwrap(),
        Recorded::Full,
        "its bytes count too"
    );
    while store.forget_intents(Timestamp::MAX, 100).await.unwrap() > 0 {}
    assert_eq!(store.record(&third, Timestamp::MIN, bounds).await.unwrap(), Recorded::New);
}

/// An intent with a key of its own.
fn sample() -> Intent {
    let id = JobId::new();
    let key = IntentKey::of(&[id.0.as_bytes()]);
    Intent { at: super::at("2026-01-02T03:04:05.678Z"), ..Intent::new(key, [7; 32]).unwrap() }
}
