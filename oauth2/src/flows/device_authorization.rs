//! The device flow up to the poll (RFC 8628): what the program is given, and what the person in a browser says.

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

/// What the program is given (RFC 8628 section 3.2).
#[derive(Debug, Serialize)]
pub struct DeviceResponse {
    /// For its polls.
    pub device_code: String,
    /// For the person.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// Where it is typed already.
    pub verification_uri_complete: String,
    /// How many seconds there are.
    pub expires_in: i64,
    /// How many seconds to leave between two polls.
    pub interval: u32,
}

/// How many seconds a program leaves between two polls.
const INTERVAL_S: u32 = 5;

/// How often another user code is drawn when one is taken. There are 25 billion.
const DRAWS: usize = 4;

impl Provider {
    /// Begins the flow for a program.
    ///
    /// # Errors
    /// [`OAuthError`], for the program.
    pub async fn authorize_device(
        &self,
        client: &Client,
        scope: Option<&str>,
        peer: IpAddr,
    ) -> Result<DeviceResponse, OAuthError> {
        if !client.grants.contains(&GrantType::DeviceCode) {
            return Err(OAuthError::unauthorized_client());
        }
        let scope = client.grant_scope(scope).ok_or_else(OAuthError::invalid_scope)?;
        if client.is_public() {
            // anybody can be it
            let begun = self.unauthenticated.begin("device", peer, self.clock.now());
            let longest = self.settings.throttle.max_delay;
            let _counted = begun
                .map_err(|throttled| OAuthError::too_many("too many devices", throttled.wait(longest)))?;
        }
        let (code, digest) = self.random.secret("mgx_dc_");
        let mut device = Device {
            digest,
            user_code: UserCode::new(&self.random),
            client: client.id.clone(),
            scope,
            expires_at: self.after(self.settings.device_code_lifetime),
            interval_s: INTERVAL_S,
            polled_at: None,
            decision: DeviceDecision::Pending,
        };
        for _ in 0..DRAWS {
            if self.storage.add_device(&device, self.clock.now()).await? {
                let verification_uri = self.settings.issuer.endpoint("device");
                return Ok(DeviceResponse {
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
        Err(OAuthError::unavailable("too many devices wait"))
    }

    /// The device that waits under this code, and its client.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn waiting_device(&self, code: &UserCode) -> Result<Option<(Device, Client)>, OAuthError> {
        let device = self.storage.device(code).await?.filter(|device| device.is_open(self.clock.now()));
        let Some(device) = device else { return Ok(None) };
        let client = self.storage.client(&device.client).await?;
        Ok(client.map(|client| (device, client)))
    }

    /// Says yes or no to a device; `false` if it does not wait any more.
    ///
    /// # Errors
    /// The store does not answer.
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
            // the program is not in this browser: signing out here does not end it
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
