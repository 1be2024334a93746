//! The device flow (RFC 8628) up to the user's decision.

use std::net::IpAddr;

use secrecy::ExposeSecret;
use serde::Serialize;

use crate::accounts::audit::AuditEvent;
use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::base::ids::GrantId;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;
use crate::grants::device::{Device, DeviceDecision};
use crate::grants::grant::Grant;
use crate::grants::user_code::UserCode;
use crate::provider::{AuditContext, Provider};

/// A device authorization response (RFC 8628 section 3.2).
#[derive(Debug, Serialize)]
pub struct DeviceAuthorizationResponse {
    /// The code with which the device polls.
    pub device_code: String,
    /// The code that the user types.
    pub user_code: String,
    /// The page where the user types it.
    pub verification_uri: String,
    /// The same page with the code filled in.
    pub verification_uri_complete: String,
    /// The lifetime of both codes, in seconds.
    pub expires_in: i64,
    /// The shortest time between two polls, in seconds.
    pub interval: u32,
}

/// The shortest time between two polls, in seconds, before any `slow_down`.
const INTERVAL_S: u32 = 5;

/// The most attempts to find a user code that is free. There are 25 billion.
const DRAWS: usize = 4;

impl Provider {
    /// Begins the flow for a client.
    ///
    /// # Errors
    /// [`OAuthError`], for the client.
    pub async fn authorize_device(
        &self,
        client: &Client,
        scope: Option<&str>,
        peer: IpAddr,
    ) -> Result<DeviceAuthorizationResponse, OAuthError> {
        if !client.grants.contains(&GrantType::DeviceCode) {
            return Err(OAuthError::unauthorized_client());
        }
        let scope = client.grant_scope(scope).ok_or_else(OAuthError::invalid_scope)?;
        if client.is_public() {
            // any program can pretend to be a public client
            let begun = self.unauthenticated.begin("device", peer, self.clock.now());
            let longest = self.settings.throttle.max_delay;
            let _counted = begun.map_err(|throttled| {
                OAuthError::too_many("too many device requests", throttled.wait(longest))
            })?;
        }
        let (code, digest) = self.random.secret("mgx_dc_");
        let mut device = Device {
            digest,
            user_code: UserCode::new(&self.random),
            client: client.id.clone(),
            scope,
            expires_at: self.time_after(self.settings.device_code_lifetime),
            interval_s: INTERVAL_S,
            polled_at: None,
            decision: DeviceDecision::Pending,
        };
        for _ in 0..DRAWS {
            if self.storage.add_device(&device, self.clock.now()).await? {
                let verification_uri = self.settings.issuer.endpoint("device");
                return Ok(DeviceAuthorizationResponse {
                    device_code: code.expose_secret().to_owned(),
                    user_code: device.user_code.to_string(),
                    verification_uri_complete: format!("{verification_uri}?user_code={}", device.user_code),
                    verification_uri,
                    expires_in: self.settings.device_code_lifetime.as_secs(),
                    interval: INTERVAL_S,
                });
            }
            device.user_code = UserCode::new(&self.random);
        }
        Err(OAuthError::unavailable("no user code is free"))
    }

    /// The device that waits with this user code, and its client.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn waiting_device(&self, code: &UserCode) -> Result<Option<(Device, Client)>, OAuthError> {
        let device = self.storage.device(code).await?.filter(|device| device.is_open(self.clock.now()));
        let Some(device) = device else { return Ok(None) };
        let client = self.storage.client(&device.client).await?;
        Ok(client.map(|client| (device, client)))
    }

    /// Stores the user's decision; `false` if the device does not wait any more.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn decide(
        &self,
        code: &UserCode,
        signed_in: &SignedIn,
        allow: bool,
    ) -> Result<bool, OAuthError> {
        let Some((device, client)) = self.waiting_device(code).await? else { return Ok(false) };
        let now = self.clock.now();
        if !allow {
            return Ok(self.storage.decide_device(code, None, now).await?);
        }
        let grant = Grant {
            id: GrantId(self.random.id()),
            user: signed_in.user.id,
            client: client.id.clone(),
            scope: device.scope,
            // the device is not this browser, so signing out here does not revoke the grant
            session: None,
            auth_time: signed_in.session.auth_time,
            created_at: now,
            expires_at: device.expires_at,
            refresh: None,
            revoked_at: None,
        };
        let decided = self.storage.decide_device(code, Some(&grant), now).await?;
        if decided {
            let context = AuditContext {
                user: Some(signed_in.user.id),
                client: Some(&client.id),
                by: None,
                peer: None,
            };
            self.record(AuditEvent::Allowed { grant: grant.id, how: GrantType::DeviceCode }, context).await;
        }
        Ok(decided)
    }
}
