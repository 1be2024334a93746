//! What the platform, the runner in a container and the clients agree on: identifiers, the frames of the runner link
//! and their codec, the names of events and job states, the format of event streams, and how byte sizes and durations
//! are written.
//!
//! Read [`frames`] first. Depends on no other crate of the workspace.

pub mod codec;
pub mod conversation;
pub mod event_form;
pub mod event_kind;
pub mod frames;
pub mod ids;
pub mod invocation;
pub mod quantity;
pub mod reply_error;
pub mod sse;
pub mod state_name;

pub use codec::{JsonFrames, MAX_FRAME_BYTES};
pub use conversation::{Conversation, Message, MessageRole, MessageToolCall};
pub use event_kind::EventKind;
pub use frames::{
    AgentEvent, Claimed, DirectoryId, Exit, ExitCause, FromRunner, LINK_DIR, LINK_SOCKET, MAX_EVENT_BYTES,
    OLDEST_VERSION, Ready, ReportedResult, ToRunner, VERSION, WORKSPACE_DIR,
};
pub use ids::{Attempt, InvalidId, JobId, Nonce, SessionId, SlotId, WorkspaceId};
pub use invocation::{Invocation, RetryPolicy, Role, Team};
pub use quantity::{ByteSize, InvalidQuantity, TimeSpan};
pub use state_name::{StateName, UnknownState};
