//! A typed client of the HTTP API, with event streams that are resumed where they broke. Of the platform's crates it
//! depends on `mgx-protocol` alone: identifiers, and the names of events and states.
//!
//! ```no_run
//! # async fn demo() -> Result<(), mgx_client::Error> {
//! use mgx_client::{Client, Feed, Item, NewSession};
//!
//! let client = Client::new("http://127.0.0.1:8765", "the token".to_owned().into())?;
//! let session = client.create_session(&NewSession::of_prompt("Create a landing page for a bakery")).await?;
//! let mut feed = Feed::new(&client, session.session_id, 0);
//! while let Item::Event(event) = feed.next().await? {
//!     println!("{} {}", event.seq, event.kind);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Fields that a newer server adds are ignored; names that it adds are kept in [`OpenEnum::Other`].
//!
//! TLS takes its cryptography from the process-wide provider of rustls: install one before a client is made.

pub mod accounts;
pub mod address;
pub mod client;
pub mod error;
pub mod events;
pub mod files;
pub mod jobs;
pub mod messages;
pub mod open_enum;
pub mod pools;
pub mod sessions;

pub use address::Address;
pub use client::Client;
pub use error::{Cause, Error, Problem};
pub use events::event::Event;
pub use events::feed::{Feed, Item};
pub use jobs::{Job, JobPage, JobQuery, NewJob};
pub use open_enum::OpenEnum;
pub use sessions::{NewSession, Session};
