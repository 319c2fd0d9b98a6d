//! L4: one pinned thread with its loop, memory and connections; shares nothing.
//!
//! A *turn* is one pass of the loop: wait, dispatch completions, look at the timers,
//! drain the inbox, flush, answer requests. Each part has a budget, so that none starves another.

#![forbid(unsafe_code)]

mod absence;
mod accept;
mod addresses;
mod admission;
mod batching;
mod catch_up;
mod checkpoints;
mod close;
mod collapse;
mod connection;
mod deferred;
mod deliver;
mod drain;
mod flush;
mod handler;
mod handshakes;
mod inbox;
mod inspect;
mod intake;
mod invariants;
mod listing;
mod losses;
mod lost;
mod negotiation;
mod options;
mod origins;
mod overflow;
mod pause;
mod places;
mod pools;
mod proxies;
mod receive;
mod replays;
mod requests;
mod rows;
mod sessions;
mod settings;
mod stalled;
pub mod stats;
mod stream;
mod subscriptions;
mod timers;
mod turn;
mod wishes;

pub use addresses::{AddressLimits, AddressQuota, AtLimit, ClientAddress};
pub use admission::Admission;
pub use catch_up::{Behind, Item, Step};
pub use handler::{Close, Handler, LossReason, Message, Replies};
pub use handshakes::HandshakeLimits;
pub use inbox::{Handle, Inbox};
pub use inspect::{Amount, Detail, Standing, State, Summary};
pub use listing::{Page, Query, Rank, Sort};
pub use losses::Lost;
pub use places::CatchUpLimits;
pub use requests::{Dismissal, Dismissed, Request};
pub use settings::{Intake, Settings};
pub use stream::{StreamHandler, StreamSettings};
pub use turn::{Links, Shard};
pub use wishes::Wish;
