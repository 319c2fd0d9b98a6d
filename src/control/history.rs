//! `GET /api/v1/events`: a page of the past.
//!
//! | parameter | meaning |
//! |---|---|
//! | `after` | position: events after this seq; the oldest that is held where it is absent |
//! | `since` | instead: events of this time (RFC 3339) or later |
//! | `epoch` | the sequence that `after` belongs to; another one is refused |
//! | `limit` | events in the answer, 100 unless told, 1,000 at most |
//! | `filters` | a filter of the stream's protocol as JSON |
//! | `event_types`, `severities`, `states`, `sources`, `affected_resources`, `incident_ids`, `min_priority` | fields of the filter, lists separated by commas |
//! | `format` | `json`, or `ndjson` as by `Accept: application/x-ndjson` |
//!
//! The answer is `{"epoch", "first_seq", "newest_seq", "next_after", "more", "events"}` with
//! event messages as the stream has them. As NDJSON it is one message a line, the rest in
//! headers. While `more` is true there is more to be had after `next_after`, perhaps nothing
//! that matches. What is not held any more is refused with 410 and `first_seq`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::{self, RawQuery};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::Refusal;
use super::{Context, State};
use crate::event::{FieldError, Priorities, shortened};
use crate::filter::{Filter, FilterSpec};
use crate::protocol::encoded::Encoded;
use crate::protocol::{Encoding, ErrorCode};

const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1_000;
/// Bytes of events in one answer, unless a single one is larger.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that one request looks at: who asks for little of much gets it page by page.
const SCANNED_MAX: usize = 20_000;

/// What is asked for.
#[derive(Debug)]
struct Query {
    after: Option<u64>,
    since: Option<jiff::Timestamp>,
    epoch: Option<String>,
    limit: usize,
    filter: Filter,
    is_lines: bool,
}

#[derive(Serialize)]
struct Head<'a> {
    epoch: &'a str,
    /// The oldest event that is held.
    first_seq: u64,
    newest_seq: u64,
    /// Where the next page begins.
    next_after: u64,
    more: bool,
}

/// Events of one answer.
#[derive(Default)]
struct Page {
    events: Vec<Arc<Encoded>>,
    bytes: usize,
    scanned: usize,
}

pub(super) async fn read(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = parse(query.as_deref().unwrap_or_default(), &headers)?;
    let context = &state.context;
    let after = position(context, &query)?;
    let mut page = Page::default();
    let next_after = context
        .history
        .read(after, Priorities::ALL, &mut |event| page.take(event, &query))
        .map_err(|expired| Refusal::expired(expired.first))?;
    let bounds = context.history.bounds();
    let head = Head {
        epoch: &context.epoch,
        first_seq: bounds.first,
        newest_seq: bounds.newest,
        next_after,
        more: next_after < bounds.newest,
    };
    if query.is_lines { Ok(lines(&head, &page)) } else { object(&head, &page) }
}

impl Page {
    fn take(&mut self, event: &Arc<Encoded>, query: &Query) -> ControlFlow<()> {
        let bytes = event.message(Encoding::Json).len();
        let is_full = self.events.len() >= query.limit
            || self.scanned >= SCANNED_MAX
            || (self.bytes + bytes > BYTES_MAX && !self.events.is_empty());
        if is_full {
            return ControlFlow::Break(());
        }
        self.scanned += 1;
        if query.filter.matches(&event.event.attributes()) {
            self.bytes += bytes;
            self.events.push(Arc::clone(event));
        }
        ControlFlow::Continue(())
    }
}

/// Where to begin.
fn position(context: &Context, query: &Query) -> Result<u64, Refusal> {
    let bounds = context.history.bounds();
    if query.epoch.as_ref().is_some_and(|epoch| *epoch != context.epoch) {
        let message = format!("the sequence is another one now: {}", context.epoch);
        return Err(Refusal::gone(ErrorCode::EpochChanged, message, bounds.first));
    }
    match (query.after, query.since) {
        (Some(after), _) if after > bounds.newest => {
            let message =
                format!("the newest event is {}; {after} is of another sequence", bounds.newest);
            Err(Refusal::gone(ErrorCode::EpochChanged, message, bounds.first))
        }
        (Some(after), _) => Ok(after),
        (None, Some(since)) => Ok(context.history.position_at(since)),
        (None, None) => Ok(bounds.first - 1),
    }
}

fn object(head: &Head<'_>, page: &Page) -> Result<Response, Refusal> {
    let unwritable = |error: serde_json::Error| {
        Refusal::new(500, ErrorCode::Unavailable, format!("the answer cannot be written: {error}"))
    };
    let mut body = Vec::with_capacity(page.bytes + page.events.len() + 256);
    serde_json::to_writer(&mut body, head).map_err(unwritable)?;
    body.pop();
    body.extend_from_slice(b",\"events\":[");
    for (index, event) in page.events.iter().enumerate() {
        body.extend_from_slice(if index == 0 { b"" } else { b"," });
        body.extend_from_slice(event.message(Encoding::Json));
    }
    body.extend_from_slice(b"]}");
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn lines(head: &Head<'_>, page: &Page) -> Response {
    let mut body = Vec::with_capacity(page.bytes + page.events.len());
    for event in &page.events {
        body.extend_from_slice(event.message(Encoding::Json));
        body.push(b'\n');
    }
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let mut say = |name, value: HeaderValue| headers.insert(HeaderName::from_static(name), value);
    say("alarmcast-first-seq", head.first_seq.into());
    say("alarmcast-newest-seq", head.newest_seq.into());
    say("alarmcast-next-after", head.next_after.into());
    say("alarmcast-more", HeaderValue::from_static(if head.more { "true" } else { "false" }));
    if let Ok(epoch) = HeaderValue::from_str(head.epoch) {
        say("alarmcast-epoch", epoch);
    }
    response
}

fn parse(query: &str, headers: &HeaderMap) -> Result<Query, Refusal> {
    let accepts_lines = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/x-ndjson"));
    let (mut after, mut since, mut epoch, mut limit) = (None, None, None, EVENTS_DEFAULT);
    let mut is_lines = accepts_lines;
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after" => after = Some(value.parse().map_err(|_| bad("after", "must be a seq"))?),
            "since" => {
                since = Some(value.parse().map_err(|_| bad("since", "must be an RFC 3339 time"))?);
            }
            "epoch" => epoch = Some(value.into_owned()),
            "limit" => match value.parse() {
                Ok(count @ 1..=EVENTS_MAX) => limit = count,
                _ => return Err(bad("limit", "must be from 1 to 1000")),
            },
            "format" => match &*value {
                "json" => is_lines = false,
                "ndjson" => is_lines = true,
                _ => return Err(bad("format", "must be json or ndjson")),
            },
            "filters" => match serde_json::from_str(&value) {
                Ok(Value::Object(filters)) => fields.extend(filters),
                _ => return Err(bad("filters", "must be a JSON object")),
            },
            "min_priority" => drop(fields.insert(name.into_owned(), value.into())),
            _ => drop(fields.insert(list_name(&name)?, value.split(',').collect())),
        }
    }
    if after.is_some() && since.is_some() {
        return Err(bad("since", "cannot be given beside `after`"));
    }
    Ok(Query { after, since, epoch, limit, filter: filter(fields)?, is_lines })
}

/// The fields of a filter that are lists of strings.
fn list_name(name: &str) -> Result<String, Refusal> {
    const LISTS: [&str; 6] =
        ["event_types", "severities", "states", "sources", "affected_resources", "incident_ids"];
    if LISTS.contains(&name) {
        return Ok(name.to_owned());
    }
    let message = "is not a parameter; there are after, since, epoch, limit, format, filters, \
                   min_priority, event_types, severities, states, sources, affected_resources \
                   and incident_ids";
    Err(bad(&shortened(name), message))
}

fn filter(fields: Map<String, Value>) -> Result<Filter, Refusal> {
    let bad_filter = |error: FieldError| {
        Refusal::new(400, ErrorCode::InvalidFilter, error.within("filters").to_string())
    };
    let spec: FilterSpec =
        serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            bad_filter(FieldError::from_serde(error.path(), &error.inner().to_string()))
        })?;
    spec.compile().map_err(|error| bad_filter(FieldError::new(&error.path, &error.message)))
}

fn bad(parameter: &str, message: &str) -> Refusal {
    Refusal::new(400, ErrorCode::InvalidMessage, format!("{parameter}: {message}"))
}
