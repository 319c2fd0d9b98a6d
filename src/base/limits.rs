//! Every bound, in one place, unit last. Those that an operator may change are
//! the defaults of the configuration; the rest are part of the design.

/// Bytes of one message from a client, before any of it is stored.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one event as published.
pub const PUBLISHED_EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the body of one publishing request.
pub const PUBLISH_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the bodies of all publishing requests together.
pub const PUBLISH_BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Connections of the control plane.
pub const CONTROL_CONNECTIONS_MAX: usize = 1_024;
/// Bytes of the HTTP head of a request to the control plane.
pub const CONTROL_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Events in one publishing request.
pub const PUBLISH_BATCH_EVENTS_MAX: usize = 10_000;
/// Nesting of JSON or MessagePack that is accepted.
pub const NESTING_DEPTH_MAX: usize = 32;

/// Fragments of one message (RFC 6455 section 5.4).
pub const MESSAGE_FRAGMENTS_MAX: u32 = 1024;
/// Bytes of the HTTP head of a handshake.
pub const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
pub const HANDSHAKE_HEADERS_MAX: usize = 100;
/// Bytes of the PROXY protocol's header, which is recommended to fit the smallest segment.
pub const PROXY_HEADER_BYTES_MAX: usize = 536;
/// Subprotocols that a client may offer.
pub const HANDSHAKE_SUBPROTOCOLS_MAX: usize = 32;

pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 100;
pub const SUBSCRIPTION_ID_BYTES_MAX: usize = 256;
/// Values in one filter, all fields together.
pub const FILTER_TERMS_MAX: usize = 1_000;
/// Bytes of one value in a filter.
pub const FILTER_VALUE_BYTES_MAX: usize = 1_024;
/// Filters within each other (`any_of`, `none_of`), the outermost included.
pub const FILTER_DEPTH_MAX: usize = 4;
/// Patterns in one filter: globs, prefixes, expressions and searched texts.
pub const FILTER_PATTERNS_MAX: usize = 64;
/// Bytes of one pattern as written. A pattern takes at most its own length times
/// the value's to evaluate.
pub const FILTER_PATTERN_BYTES_MAX: usize = 256;
/// Regular expressions among the patterns of one filter.
pub const FILTER_REGEXES_MAX: usize = 8;
/// Groups, repetitions and classes of one expression within each other.
pub const FILTER_REGEX_NEST_MAX: u32 = 16;
/// Bytes of one expression's automaton when compiled.
pub const FILTER_REGEX_PROGRAM_BYTES_MAX: usize = 192 * 1024;
/// Bytes of all expressions of one filter when compiled.
pub const FILTER_PROGRAMS_BYTES_MAX: usize = 256 * 1024;
/// Classes such as `[\w-]` in one case-insensitive expression. Each costs about
/// 0.2 ms to compile, because the letters of every script are looked up.
pub const FILTER_REGEX_FOLDED_CLASSES_MAX: usize = 2;
/// Bytes in which one expression remembers what it met while matching.
pub const FILTER_REGEX_CACHE_BYTES_MAX: usize = 32 * 1024;

/// Pongs that wait for one connection; then the newest takes the place of the one before.
pub const PENDING_PONGS_MAX: usize = 16;
/// Messages that wait for one connection, all lanes together.
pub const OUTBOX_MESSAGES_MAX: usize = 1_000;
/// Bytes that wait for one connection, all lanes together. At least one event
/// of the largest size fits.
pub const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Subscriptions that may end on a connection while it reads what found no room: what they matched
/// before is still to come.
pub const OVERFLOW_CHANGES_MAX: usize = 100;
/// Bytes that the backlogs of all connections may take together, each frame counted once.
pub const BACKLOGS_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes that all connections' incomplete messages may take together.
pub const PARTIAL_MESSAGES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes handed to the kernel in one send.
pub const SEND_BYTES_MAX: usize = 32 * 1024;
/// The same for a connection whose socket is full: what is handed over can no longer be
/// overtaken, and takes such a client long. And for one that has something urgent: others wait for
/// theirs.
pub const SHORT_SEND_BYTES_MAX: usize = 4 * 1024;
/// Unsent bytes that the kernel may hold for a connection: TCP_NOTSENT_LOWAT.
pub const NOTSENT_LOWAT_BYTES: u32 = 8 * 1024;

/// Events that a client may have sent in one batch, and how long they may wait for it. Fewer than
/// may wait before low events are shed.
pub const BATCH_EVENTS_MAX: u32 = 256;
pub const BATCH_DELAY_MILLIS_MAX: u32 = 10_000;
/// The window in which events of one fingerprint are collapsed.
pub const COLLAPSE_WINDOW_MILLIS_MIN: u32 = 100;
pub const COLLAPSE_WINDOW_MILLIS_MAX: u32 = 600_000;
/// Events of a window that may be sent before the rest is counted.
pub const COLLAPSE_AFTER_MAX: u32 = 1_000;
/// Windows that one connection may have open; events beyond are sent.
pub const COLLAPSE_WINDOWS_MAX: usize = 128;
/// Bytes of a fingerprint; events with a longer one are not collapsed.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;

/// Events that wait for the hub.
pub const INGEST_EVENTS_MAX: usize = 10_000;
/// Events that wait for one shard.
pub const INBOX_EVENTS_MAX: usize = 10_000;
/// Requests of the control plane that wait for one shard.
pub const INBOX_REQUESTS_MAX: usize = 64;

/// Bytes of all events that can be replayed, estimated.
pub const HISTORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events that can be replayed.
pub const HISTORY_EVENTS_MAX: usize = 1_000_000;

/// Idempotency keys that are remembered.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Incidents whose last context is remembered.
pub const INCIDENT_CONTEXTS_MAX: usize = 100_000;
/// Bytes of all remembered contexts together.
pub const INCIDENT_CONTEXTS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a value from outside that a log line shows.
pub const LOGGED_VALUE_BYTES_MAX: usize = 256;

const _: () = assert!(OUTBOX_BYTES_MAX > PUBLISHED_EVENT_BYTES_MAX + 64 * 1024);
const _: () = assert!(SEND_BYTES_MAX <= OUTBOX_BYTES_MAX);
const _: () = assert!(BATCH_EVENTS_MAX as usize * 2 < OUTBOX_MESSAGES_MAX);
const _: () = assert!(PUBLISHED_EVENT_BYTES_MAX <= PUBLISH_BODY_BYTES_MAX);
const _: () = assert!(PUBLISH_BODY_BYTES_MAX <= PUBLISH_BODIES_BYTES_MAX);
const _: () = assert!(CLIENT_MESSAGE_BYTES_MAX <= PUBLISHED_EVENT_BYTES_MAX);
const _: () = assert!(FILTER_PATTERN_BYTES_MAX <= FILTER_VALUE_BYTES_MAX);
const _: () = assert!(FILTER_REGEX_PROGRAM_BYTES_MAX <= FILTER_PROGRAMS_BYTES_MAX);
