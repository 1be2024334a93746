//! Credentials that the platform gives to containers: an agent's token for the model, an app's client secret.

pub(crate) mod app_identity;
pub(crate) mod attempt_token;
pub(crate) mod key_file;
