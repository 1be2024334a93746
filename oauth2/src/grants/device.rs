//! Pending device authorizations (RFC 8628): a client without a browser waits for the user's decision.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId};
use crate::base::scope::Scope;
use crate::grants::user_code::UserCode;

/// A device that waits for the user's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Hash of the device code, which only the client knows.
    pub digest: Digest,
    /// The code that the user types.
    pub user_code: UserCode,
    /// The client that runs on the device.
    pub client: ClientId,
    /// The requested scope.
    pub scope: Scope,
    /// When both codes expire.
    pub expires_at: Timestamp,
    /// The shortest time between two polls, in seconds.
    pub interval_s: u32,
    /// When it last polled.
    pub polled_at: Option<Timestamp>,
    /// The user's decision.
    pub decision: DeviceDecision,
}

/// The user's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceDecision {
    /// The user has not decided yet.
    Pending,
    /// The user allowed the request.
    Allowed(GrantId),
    /// The user denied the request.
    Denied,
}

/// The result of a poll (RFC 8628 section 3.5). `G` is the grant's id from [`Device::poll`], and the grant from a
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
    /// Polls. A storage calls this in the transaction that writes the device back.
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

    /// Whether the user can still decide.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.decision == DeviceDecision::Pending
    }
}
