//! `/api/v1/connections`: what the shards know of their connections, and their end.
//!
//! | request | answer |
//! |---|---|
//! | `GET /api/v1/connections` | `{"epoch", "newest_seq", "connections", "next_cursor"}` |
//! | `GET /api/v1/connections/{session_id}` | one connection, its subscriptions in full |
//! | `DELETE /api/v1/connections/{session_id}` | ends it: `{"session_id", "outcome", "code", "after"}` |
//!
//! | parameter of a page | meaning |
//! |---|---|
//! | `sort` | `age` (oldest first, unless told), `lag`, `backlog` (bytes), `losses` (most first), `address` |
//! | `limit` | connections in the answer, 100 unless told, 1,000 at most |
//! | `cursor` | `next_cursor` of the page before, with the same `sort` |
//! | `address` | only clients, or clients of proxies, with this address or in this range |
//! | `state` | only those that are `handshake`, `open`, `catching_up`, `congested` or `closing` |
//! | `shard` | only those of this shard |
//!
//! Sorted by age, pages name each connection that stays once, whoever comes and goes. In the
//! other orders connections move between two pages.
//!
//! A shard that does not answer makes the whole answer a 503: what is missing would look as if it
//! was not there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{self, RawQuery};
use axum::response::Response;
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::State;
use super::answer::{Refusal, json};
use crate::base::logged::Logged;
use crate::event::{Priority, shortened};
use crate::filter::FilterSpec;
use crate::protocol::ErrorCode;
use crate::queue::Lane;
use crate::shard::{
    Amount, Detail, Dismissal, Dismissed, Handle, Lost, Page, Query, Rank, Request, Sort, Standing,
    State as ConnectionState, Summary,
};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// How long a shard has for its part of a page, which it works on besides everything else.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it has for one connection.
const TIMEOUT: Duration = Duration::from_secs(2);

const SORTS: [(&str, Sort); 5] = [
    ("age", Sort::Age),
    ("lag", Sort::Lag),
    ("backlog", Sort::Backlog),
    ("losses", Sort::Losses),
    ("address", Sort::Address),
];

#[derive(Serialize)]
struct Listed<'a> {
    epoch: &'a str,
    newest_seq: u64,
    connections: Vec<Shown<'a>>,
    next_cursor: Option<String>,
}

/// One connection in an answer.
#[derive(Serialize)]
struct Shown<'a> {
    session_id: Uuid,
    shard: usize,
    driver: &'a str,
    address: IpAddr,
    proxy: Option<IpAddr>,
    encoding: Option<&'a str>,
    /// The client named the protocol, and so hears of losses.
    extended: bool,
    state: &'a str,
    age_secs: f64,
    position: Option<u64>,
    lag: Option<u64>,
    /// All lanes together.
    waiting: Shares,
    lanes: Lanes,
    overflows: Overflows,
    in_flight: Shares,
    /// All losses together.
    lost: u64,
    losses: Losses,
    #[serde(flatten)]
    subscriptions: Subscriptions,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Shares {
    messages: usize,
    bytes: usize,
}

struct Lanes([Amount; Lane::ALL.len()]);

/// Where lanes that were full are read from the past.
struct Overflows([Option<u64>; Priority::ALL.len()]);

/// By the `reason` of `dropped`.
#[derive(Serialize)]
struct Losses {
    slow_consumer: Counts,
}

#[derive(Serialize)]
struct Counts {
    high: u64,
    normal: u64,
    low: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Subscriptions {
    Count { subscription_count: usize },
    All { subscription_count: usize, subscriptions: Vec<Subscription> },
}

#[derive(Serialize)]
struct Subscription {
    subscription_id: Box<str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    filters: FilterSpec,
}

#[derive(Serialize)]
struct Closed<'a> {
    session_id: Uuid,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    /// The position in `closing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
}

/// What is asked for.
struct Asked {
    sort: &'static str,
    query: Query,
    shard: Option<usize>,
}

pub(super) async fn page(
    extract::State(state): extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Asked { sort, query, shard } = parse(query.as_deref().unwrap_or_default())?;
    let context = &state.context;
    if let Some(shard) = shard.filter(|shard| *shard >= context.shards.len()) {
        let message = format!("there is no shard {shard}; there are {}", context.shards.len());
        return Err(Refusal::new(404, ErrorCode::NotFound, message));
    }
    let asked: Vec<Handle> = context
        .shards
        .iter()
        .filter(|handle| shard.is_none_or(|shard| handle.index() == shard) && !handle.has_ended())
        .cloned()
        .collect();
    let limit = query.limit;
    let answers = ask_all(&asked, PAGE_TIMEOUT, |answer| {
        Request::Connections(Box::new(query.clone()), answer)
    })
    .await;
    let mut found = Vec::new();
    let mut more = false;
    for (handle, answer) in asked.iter().zip(answers) {
        let Page { found: its, more: its_more } = answer.ok_or_else(|| silent(handle))?;
        more |= its_more;
        found.extend(its.into_iter().map(|(rank, summary)| (rank, summary, handle)));
    }
    found.sort_unstable_by_key(|(rank, ..)| *rank);
    more |= found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(rank, ..)| *rank).filter(|_| more);
    // Read after the shards answered: no position is beyond it.
    let newest_seq = context.publisher.stats().newest_seq.get();
    let connections =
        found.iter().map(|(_, summary, handle)| show_one(summary, handle, newest_seq)).collect();
    let next_cursor = last.map(|rank| write_cursor(sort, rank));
    Ok(json(200, &Listed { epoch: &context.epoch, newest_seq, connections, next_cursor }))
}

pub(super) async fn show(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(session_id): extract::Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&session_id)?;
    let context = &state.context;
    let (handle, detail) =
        find(&context.shards, id, |answer| Request::Connection(id, answer)).await?;
    let Detail { summary, subscriptions } = *detail;
    let newest_seq = context.publisher.stats().newest_seq.get();
    let mut shown = show_one(&summary, handle, newest_seq);
    shown.subscriptions = Subscriptions::All {
        subscription_count: subscriptions.len(),
        subscriptions: subscriptions.into_iter().map(Subscription::from).collect(),
    };
    Ok(json(200, &shown))
}

pub(super) async fn close(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(session_id): extract::Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let id = parse_id(&session_id)?;
    let dismissal = parse_dismissal(query.as_deref().unwrap_or_default())?;
    let shards = &state.context.shards;
    let (handle, dismissed) =
        find(shards, id, |answer| Request::Close(id, dismissal, answer)).await?;
    let code = dismissal.close().code.code();
    let (outcome, code, after) = match dismissed {
        Dismissed::Told { after } => ("closing", Some(code), Some(after)),
        Dismissed::Refused => ("refused", None, None),
        Dismissed::Before => ("closing_before", None, None),
    };
    tracing::info!(session_id = %id, shard = handle.index(), outcome, "an operator closed a connection");
    Ok(json(200, &Closed { session_id: id, outcome, code, after }))
}

/// Asks shards at once; for each its answer, if it came in time.
async fn ask_all<T: Send + 'static>(
    shards: &[Handle],
    timeout: Duration,
    request: impl Fn(oneshot::Sender<T>) -> Request,
) -> Vec<Option<T>> {
    let mut asked = JoinSet::new();
    for (place, shard) in shards.iter().enumerate() {
        let (answer, answered) = oneshot::channel();
        if shard.request(request(answer)).is_ok() {
            asked.spawn(async move {
                (place, tokio::time::timeout(timeout, answered).await.ok().and_then(Result::ok))
            });
        }
    }
    let mut answers: Vec<Option<T>> = shards.iter().map(|_| None).collect();
    while let Some(joined) = asked.join_next().await {
        let Ok((place, answer)) = joined else { continue };
        answers[place] = answer;
    }
    answers
}

/// What the shard that has a connection answers.
async fn find<T: Send + 'static>(
    shards: &[Handle],
    id: Uuid,
    request: impl Fn(oneshot::Sender<Option<T>>) -> Request,
) -> Result<(&Handle, T), Refusal> {
    let mut unheard = None;
    for (handle, answer) in shards.iter().zip(ask_all(shards, TIMEOUT, request).await) {
        match answer {
            Some(Some(found)) => return Ok((handle, found)),
            None if !handle.has_ended() => unheard = Some(handle),
            Some(None) | None => {}
        }
    }
    // It may be there.
    if let Some(handle) = unheard {
        return Err(silent(handle));
    }
    let message =
        format!("there is no connection {id}; GET /api/v1/connections lists what there is");
    Err(Refusal::new(404, ErrorCode::NotFound, message))
}

fn silent(handle: &Handle) -> Refusal {
    let message = format!(
        "shard {} does not answer in time; /health/ready tells whether it is stalled",
        handle.index()
    );
    Refusal::new(503, ErrorCode::Unavailable, message).retry_after(1)
}

fn show_one<'a>(summary: &Summary, handle: &'a Handle, newest_seq: u64) -> Shown<'a> {
    let mut waiting = Shares::default();
    for lane in summary.lanes {
        waiting.messages += lane.messages;
        waiting.bytes += lane.bytes;
    }
    Shown {
        session_id: summary.session_id,
        shard: handle.index(),
        driver: handle.driver_name(),
        address: summary.address,
        proxy: summary.proxy,
        encoding: summary.encoding.map(|encoding| encoding.as_str()),
        extended: summary.is_extended,
        state: summary.state.as_str(),
        age_secs: (summary.age.as_secs_f64() * 1e3).round() / 1e3,
        position: summary.position,
        lag: summary.position.map(|position| newest_seq.saturating_sub(position)),
        waiting,
        lanes: Lanes(summary.lanes),
        overflows: Overflows(summary.overflows),
        in_flight: Shares::from(summary.in_flight),
        lost: summary.lost.iter().sum(),
        losses: Losses { slow_consumer: Counts::from(summary.lost) },
        subscriptions: Subscriptions::Count { subscription_count: summary.subscriptions },
    }
}

impl From<Amount> for Shares {
    fn from(Amount { messages, bytes }: Amount) -> Self {
        Self { messages, bytes }
    }
}

impl From<Lost> for Counts {
    fn from(lost: Lost) -> Self {
        let of = |priority: Priority| lost[priority.index()];
        Self { high: of(Priority::High), normal: of(Priority::Normal), low: of(Priority::Low) }
    }
}

impl From<Standing> for Subscription {
    fn from(standing: Standing) -> Self {
        Self {
            state: if standing.position.is_some() { "catching_up" } else { "live" },
            position: standing.position,
            filters: standing.filter.spec(),
            subscription_id: standing.subscription_id,
        }
    }
}

impl Serialize for Lanes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lanes = Lane::ALL.into_iter().zip(self.0);
        serializer.collect_map(lanes.map(|(lane, amount)| (lane.as_str(), Shares::from(amount))))
    }
}

impl Serialize for Overflows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let priorities = Priority::ALL.into_iter().zip(self.0);
        let active = priorities.filter_map(|(priority, at)| Some((priority.as_str(), at?)));
        serializer.collect_map(active)
    }
}

fn parse(query: &str) -> Result<Asked, Refusal> {
    let mut sort = SORTS[0];
    let (mut limit, mut address, mut state, mut shard) = (LIMIT_DEFAULT, None, None, None);
    let mut cursor = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "sort" => {
                let found = SORTS.into_iter().find(|(name, _)| *name == value);
                let message = "must be age, lag, backlog, losses or address";
                sort = found.ok_or_else(|| bad("sort", message))?;
            }
            "limit" => match value.parse() {
                Ok(count @ 1..=LIMIT_MAX) => limit = count,
                _ => return Err(bad("limit", "must be from 1 to 1000")),
            },
            "cursor" => cursor = Some(value.into_owned()),
            "address" => {
                let range = value.parse();
                address = Some(range.map_err(|error| bad("address", &format!("{error}")))?);
            }
            "state" => {
                let found = ConnectionState::ALL.into_iter().find(|state| state.as_str() == value);
                let message = "must be handshake, open, catching_up, congested or closing";
                state = Some(found.ok_or_else(|| bad("state", message))?);
            }
            "shard" => {
                let number = value.parse();
                shard = Some(number.map_err(|_| bad("shard", "must be a shard's number"))?);
            }
            _ => {
                let message = "is not a parameter; there are sort, limit, cursor, address, state \
                               and shard";
                return Err(bad(&shortened(&name), message));
            }
        }
    }
    let (sort_name, sort) = sort;
    let read = |text: String| {
        read_cursor(sort_name, &text).ok_or_else(|| {
            bad("cursor", "is not the next_cursor of a page with the same sort; begin without it")
        })
    };
    let after = cursor.map(read).transpose()?;
    Ok(Asked { sort: sort_name, query: Query { sort, limit, after, address, state }, shard })
}

fn parse_dismissal(query: &str) -> Result<Dismissal, Refusal> {
    const ALL: [Dismissal; 3] = [Dismissal::Close, Dismissal::Reconnect, Dismissal::Refuse];
    let mut dismissal = Dismissal::Close;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "code" {
            return Err(bad(&shortened(&name), "is not a parameter; there is code"));
        }
        let is_named = |it: &Dismissal| it.close().code.code().to_string() == value;
        let message = "must be 1008 (ended), 4001 (connect again) or 4503 (stay away)";
        dismissal = ALL.into_iter().find(is_named).ok_or_else(|| bad("code", message))?;
    }
    Ok(dismissal)
}

fn parse_id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| {
        let message =
            format!("`{}` is no session_id: it is the UUID in a client's welcome", Logged(text));
        Refusal::new(400, ErrorCode::InvalidMessage, message)
    })
}

fn write_cursor(sort: &str, rank: Rank) -> String {
    format!("{sort}.{:x}.{}", rank.value, rank.session_id.simple())
}

fn read_cursor(sort: &str, text: &str) -> Option<Rank> {
    let rest = text.strip_prefix(sort)?.strip_prefix('.')?;
    let (value, session_id) = rest.split_once('.')?;
    let value = u128::from_str_radix(value, 16).ok()?;
    Some(Rank { value, session_id: session_id.parse().ok()? })
}

fn bad(parameter: &str, message: &str) -> Refusal {
    Refusal::new(400, ErrorCode::InvalidMessage, format!("{parameter}: {message}"))
}
