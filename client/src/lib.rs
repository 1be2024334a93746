//! A typed client of the HTTP API, with event streams that are resumed where they broke. Knows of the other crates only
//! what an id is.
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
//! TLS takes its cryptography from the process-wide provider of rustls: install one before a client is made.

pub mod accounts;
pub mod client;
pub mod error;
pub mod event;
pub mod feed;
pub mod login;
pub mod views;

pub use accounts::Listed;
pub use client::Client;
pub use error::{Error, Problem};
pub use event::Event;
pub use feed::{Feed, Item};
pub use login::{Login, Said};
pub use views::{Job, JobPage, NewJob, NewSession, Session};
