//! The server's history, page by page.

use form_urlencoded::Serializer;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::Failure;
use crate::cli::http::{Api, Reply};

/// The most that the server gives in one answer.
const PAGE_EVENTS: &str = "1000";
const GONE: u16 = 410;

/// What the server holds of the stream, as of the first look at it.
#[derive(Debug)]
pub struct History<'a> {
    api: &'a Api,
    /// The query's filter; none where everything matches.
    filters: Option<String>,
    epoch: String,
    newest_seq: u64,
    oldest: Option<Oldest>,
}

#[derive(Clone, Copy, Debug)]
struct Oldest {
    seq: u64,
    timestamp: Timestamp,
}

/// Where to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Oldest,
    After(u64),
    Since(Timestamp),
}

/// What came of reading.
#[derive(Debug)]
pub enum Read {
    /// Events, and where there may be more.
    Page { events: Vec<Event>, next: Option<Start> },
    /// Something that was asked for is not held, and where there is something.
    Missing { what: String, next: Start },
}

#[derive(Debug)]
pub struct Event {
    /// As the server wrote it.
    pub text: Box<RawValue>,
    pub message: Value,
    pub seq: u64,
    pub timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Page {
    epoch: String,
    first_seq: u64,
    newest_seq: u64,
    next_after: u64,
    more: bool,
    events: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Gone {
    code: String,
    first_seq: u64,
}

impl<'a> History<'a> {
    /// Looks at what there is.
    ///
    /// # Errors
    /// When no server answers, or not as this one does.
    pub fn open(api: &'a Api, filters: &Value) -> Result<Self, Failure> {
        let page = Page::of(&ask(api, &[("limit", "1")])?)?;
        let oldest = page
            .events()?
            .first()
            .map(|event| Oldest { seq: page.first_seq, timestamp: event.timestamp });
        let has_filters = filters.as_object().is_some_and(|filters| !filters.is_empty());
        Ok(Self {
            api,
            filters: has_filters.then(|| filters.to_string()),
            epoch: page.epoch,
            newest_seq: page.newest_seq,
            oldest,
        })
    }

    pub fn newest_seq(&self) -> u64 {
        self.newest_seq
    }

    /// # Errors
    /// When the server is gone, is another one, or refuses.
    pub fn read(&mut self, start: Start) -> Result<Read, Failure> {
        if let Some(missing) = self.missing(start) {
            return Ok(missing);
        }
        let reply = self.ask_from(start)?;
        if reply.status == GONE {
            return self.gone(start, &reply);
        }
        let page = Page::of(&reply)?;
        let has_more = page.more && page.next_after < self.newest_seq;
        let next = has_more.then_some(Start::After(page.next_after));
        Ok(Read::Page { events: page.events()?, next })
    }

    /// Where history begins later than `start`, of which the server says nothing: not all that
    /// happened since a moment is held where the oldest event is younger and not the first.
    fn missing(&mut self, start: Start) -> Option<Read> {
        // Looked at once.
        let oldest = self.oldest.take()?;
        let Start::Since(since) = start else { return None };
        (oldest.seq > 1 && oldest.timestamp >= since).then(|| {
            let Oldest { seq, timestamp } = oldest;
            let what = format!(
                "what the server holds begins with event {seq} of {timestamp}; earlier ones since \
                 {since} may be missing"
            );
            Read::Missing { what, next: Start::After(seq - 1) }
        })
    }

    fn ask_from(&self, start: Start) -> Result<Reply, Failure> {
        let mut query = vec![("limit", PAGE_EVENTS), ("epoch", &self.epoch)];
        let position = match start {
            Start::Oldest => None,
            Start::After(seq) => Some(("after", seq.to_string())),
            Start::Since(since) => Some(("since", since.to_string())),
        };
        query.extend(position.iter().map(|(name, value)| (*name, value.as_str())));
        query.extend(self.filters.iter().map(|filters| ("filters", filters.as_str())));
        ask(self.api, &query)
    }

    fn gone(&self, start: Start, reply: &Reply) -> Result<Read, Failure> {
        let Ok(Gone { code, first_seq }) = serde_json::from_slice(&reply.body) else {
            return Err(Failure::new(reply.refusal()));
        };
        match (code.as_str(), start) {
            ("HISTORY_EXPIRED", Start::After(after)) if after + 1 < first_seq => {
                let what = format!(
                    "events {} to {} are not held any more; {first_seq} is the first that is",
                    after + 1,
                    first_seq - 1
                );
                Ok(Read::Missing { what, next: Start::After(first_seq - 1) })
            }
            _ => Err(Failure::new(reply.refusal())),
        }
    }
}

fn ask(api: &Api, query: &[(&str, &str)]) -> Result<Reply, Failure> {
    let query = Serializer::new(String::new()).extend_pairs(query).finish();
    api.get(&format!("/api/v1/events?{query}"))?.ok_or_else(|| api.nobody())
}

impl Page {
    fn of(reply: &Reply) -> Result<Self, Failure> {
        if reply.status != 200 {
            return Err(Failure::new(format!("the server refused: {}", reply.refusal())));
        }
        serde_json::from_slice(&reply.body).map_err(|_| Failure::new(reply.refusal()))
    }

    fn events(&self) -> Result<Vec<Event>, Failure> {
        self.events.iter().map(|text| Event::of(text)).collect()
    }
}

impl Event {
    fn of(text: &RawValue) -> Result<Self, Failure> {
        let strange = || Failure::new("the server sent something that is not an event");
        let message: Value = serde_json::from_str(text.get()).map_err(|_| strange())?;
        let seq = message["seq"].as_u64().ok_or_else(strange)?;
        let timestamp = message["timestamp"].as_str().and_then(|text| text.parse().ok());
        let timestamp = timestamp.ok_or_else(strange)?;
        Ok(Self { text: text.to_owned(), message, seq, timestamp })
    }
}
