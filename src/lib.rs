//! Alarmcast: a WebSocket event-streaming server for bare-metal Linux.
//!
//! Connections are sharded across pinned event loops, each on its own io_uring (or epoll);
//! events are sequenced by one hub, encoded once, and handed to the shards over lock-free
//! queues; every connection has lanes by priority.
//!
//! # The event's way
//!
//! One direction; each stage calls only the next.
//!
//! 1. [`control`] (HTTP, webhooks) or [`server::Publishing`] (in-process) parses what was
//!    published with [`protocol::publish`] and hands it to [`hub::Publisher`]: a bounded
//!    queue, and full means that the publisher is told to wait.
//! 2. [`hub::Hub`] gives each event its place with [`stream::Sequencer`]: sequence number,
//!    message id, priority, context.
//! 3. [`protocol::Encoded`] builds the complete WebSocket frame once.
//! 4. The hub puts the event into the [`shard::Inbox`] of each shard and wakes the parked ones.
//! 5. [`shard::Shard`] drains its inbox, asks its [`shard::Handler`] (whose
//!    [`filter::Index`] knows) for the connections that want the event, and queues a
//!    reference to it in the lanes of each: [`queue::Outbox`] over [`queue::Arena`].
//! 6. The flush gathers what waits for a connection into one send.
//! 7. [`io::Driver`] submits it; the completion releases the references.
//!
//! The way in: a completion's bytes go through [`session::Session`] ([`ws::Handshake`], then
//! [`ws::Decoder`]) to [`protocol::client`], and what a client asks for changes its own
//! shard's tables. Replies take the same lanes, above all events.
//!
//! # Layers
//!
//! A file imports its own folder and lower layers; `tests/tidy.rs` holds everyone to it.
//!
//! | layer | folders |
//! |---|---|
//! | L0 | [`base`] |
//! | L1, without I/O | [`event`], [`ws`], [`filter`], [`protocol`], [`queue`] |
//! | L2, state machines | [`session`], [`stream`] |
//! | L3 | [`io`] |
//! | L4 | [`shard`], [`hub`] |
//! | L5 | [`control`] |
//! | L6 | [`config`], [`server`], [`cli`] |
//!
//! # Inside a host program
//!
//! ```no_run
//! let server = alarmcast::Server::builder().start()?;
//! let published = server.publishing().system().event("deploy", "v2 is out", [])?.wait()?;
//! println!("event {} of the stream", published[0].seq);
//! server.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod event;
pub mod filter;
pub mod hub;
pub mod io;
pub mod protocol;
pub mod queue;
pub mod server;
pub mod session;
pub mod shard;
pub mod stream;
pub mod ws;

pub use server::Server;
