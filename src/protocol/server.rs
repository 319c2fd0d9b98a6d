use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::{CloseCode, Encoding, ErrorCode, Options, PROTOCOL, frame};
use crate::event::EventType;
use crate::filter::FilterSpec;

/// What the server says, events excepted: those are [`super::Encoded`].
/// `ref` is the client's own mark, given back where it sent one.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// The first message on every connection.
    Welcome(Welcome<'a>),
    Subscribed {
        subscription_id: &'a str,
        filters: &'a FilterSpec,
        /// Whether events of the past come first; absent where none were asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        not_resumed: Option<NotResumed>,
        /// How its live events are sent.
        #[serde(flatten)]
        options: Options,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
    },
    /// The events of the past that a subscription asked for were all sent: those up to `seq`.
    /// What follows is live.
    CaughtUp {
        subscription_id: &'a str,
        seq: u64,
        /// Of the `subscribe` that asked for them.
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
    },
    /// Everything up to `seq` that the connection wanted was sent, or told as lost.
    Checkpoint { seq: u64 },
    Unsubscribed {
        subscription_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
    },
    Pong {
        timestamp: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
    },
    /// Events are held back from now on, or go on.
    FlowControl {
        pause: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
    },
    Error {
        code: ErrorCode,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        subscription_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Events that were shed for this connection since the last such notice; told before the
    /// events that follow. Only for clients that asked for this protocol by name.
    Dropped { from_seq: u64, to_seq: u64, counts: DroppedCounts, reason: &'a str },
    /// Events that were counted instead of sent, since the last such message: of one type and
    /// fingerprint, for a subscription that asked for that.
    Collapsed {
        subscription_id: &'a str,
        event_type: EventType,
        fingerprint: &'a str,
        count: u64,
        counts: CollapsedCounts,
        first_seq: u64,
        last_seq: u64,
    },
    /// The last message before the server closes.
    Closing {
        reason: &'a str,
        code: u16,
        /// When to come back; differs per client, to spread reconnects.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// After which event the client did not get everything.
        resume: Resume<'a>,
    },
}

/// Who is here, and on what terms.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Welcome<'a> {
    pub session_id: &'a str,
    pub server_time: jiff::Timestamp,
    /// The identity of the stream's sequence.
    pub epoch: &'a str,
    /// The newest event's.
    pub seq: u64,
    /// [`PROTOCOL`].
    pub protocol: &'a str,
    pub heartbeat_interval_secs: u64,
    pub limits: Limits,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub message_bytes_max: usize,
    pub subscriptions_max: usize,
    /// Values in one filter.
    pub filter_terms_max: usize,
    /// In one `batch`, and how long they may wait for it.
    pub batch_events_max: u32,
    pub batch_delay_ms_max: u32,
    /// Of `collapse`.
    pub collapse_after_max: u32,
    pub collapse_window_ms_max: u32,
    /// Windows that are open at once, of all subscriptions together.
    pub collapse_windows_max: usize,
    /// This and those below: absent when there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_changes_per_second: Option<u32>,
}

/// Why a subscription could not begin where it was asked to: it begins with what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NotResumed {
    /// `history_expired` or `epoch_changed`.
    pub reason: &'static str,
    /// The oldest event that is held.
    pub first_seq: u64,
}

/// A position in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resume<'a> {
    pub epoch: &'a str,
    pub after: u64,
}

/// How many events were shed, by priority; critical ones never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedCounts {
    pub low: u64,
    pub normal: u64,
    pub high: u64,
}

/// How many events were collapsed, by priority; critical ones never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CollapsedCounts {
    pub low: u64,
    pub normal: u64,
    pub high: u64,
}

impl<'a> Welcome<'a> {
    /// A welcome of this version of the protocol.
    pub fn new(
        session_id: &'a str,
        server_time: jiff::Timestamp,
        epoch: &'a str,
        seq: u64,
        heartbeat_interval_secs: u64,
        limits: Limits,
    ) -> Self {
        let protocol = PROTOCOL;
        Self { session_id, server_time, epoch, seq, protocol, heartbeat_interval_secs, limits }
    }
}

impl<'a> ServerMessage<'a> {
    /// The notice before a close with `code`.
    pub fn closing(code: CloseCode, retry_after_ms: Option<u64>, resume: Resume<'a>) -> Self {
        Self::Closing { reason: code.reason(), code: code.code(), retry_after_ms, resume }
    }

    /// The complete frame, header included.
    pub fn encode(&self, encoding: Encoding) -> Bytes {
        const USUAL_BYTES: usize = 256;
        frame::of(self, encoding, USUAL_BYTES)
    }
}
