//! The device flow (RFC 8628): a program without a browser asks, a person says yes in a browser elsewhere.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId};
use crate::base::scope::Scope;
use crate::grants::user_code::UserCode;

/// A device that waits for somebody to say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Hash of the device code, which only the program knows.
    pub digest: Digest,
    /// What the person types.
    pub user_code: UserCode,
    /// Which client asks.
    pub client: ClientId,
    /// For what.
    pub scope: Scope,
    /// Until when.
    pub expires_at: Timestamp,
    /// How many seconds it has to leave between two polls.
    pub interval_s: u32,
    /// When it last polled.
    pub polled_at: Option<Timestamp>,
    /// What the person has said.
    pub decision: DeviceDecision,
}

/// What the person has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceDecision {
    /// Nothing yet.
    Pending,
    /// Yes.
    Allowed(GrantId),
    /// No.
    Denied,
}

/// The answer to a poll (RFC 8628 section 3.5). `G` is the id of the grant for [`Device::poll`], and the grant for a
/// storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevicePoll<G> {
    /// The user has not decided yet: `authorization_pending`.
    Pending,
    /// The client polls too often; its interval is five seconds longer from now on: `slow_down`.
    SlowDown,
    /// The user allowed the request. The storage removes the device.
    Allowed(G),
    /// The user denied the request: `access_denied`. The storage removes the device.
    Denied,
    /// The device code has expired: `expired_token`.
    Expired,
    /// There is no device with this code, or it belongs to another client: `invalid_grant`.
    Unknown,
}

impl Device {
    /// Polls: a store calls this in the transaction in which it writes the device back.
    pub fn poll(&mut self, client: &ClientId, now: Timestamp) -> DevicePoll<GrantId> {
        if self.client != *client {
            return DevicePoll::Unknown;
        }
        if now >= self.expires_at {
            return DevicePoll::Expired;
        }
        let pause = SignedDuration::from_secs(self.interval_s.into());
        let early = self.polled_at.is_some_and(|before| now.duration_since(before) < pause);
        self.polled_at = Some(now);
        match self.decision {
            DeviceDecision::Allowed(grant) => DevicePoll::Allowed(grant),
            DeviceDecision::Denied => DevicePoll::Denied,
            DeviceDecision::Pending if early => {
                self.interval_s = (self.interval_s + 5).min(60);
                DevicePoll::SlowDown
            }
            DeviceDecision::Pending => DevicePoll::Pending,
        }
    }

    /// Whether somebody may still say yes or no.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.decision == DeviceDecision::Pending
    }
}
