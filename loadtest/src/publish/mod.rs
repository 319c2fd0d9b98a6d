//! An open-loop publisher: events are due at a steady rate whatever the server does, and carry
//! the moment they were due, so that a stalled server does not look fast.

mod alarmcast;
mod event;
mod http;
mod other;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::clock::now_ns;
use crate::priority::Priority;
use crate::tally::empty_histogram;
use crate::target::Target;
use crate::template::Publish;

pub(crate) use event::of_priority;

const WAIT_DEFAULT: Duration = Duration::from_millis(200);

/// What to publish, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub way: Way,
    pub run: u64,
    pub events: u32,
    /// Events per second.
    pub rate: f64,
    /// Size of an event's JSON, at least.
    pub event_bytes: usize,
    pub kind: Kind,
}

/// How events get to the server. `control` is an endpoint such as `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub enum Way {
    Alarmcast { control: String },
    Other { control: String, target: Target, publish: Publish },
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Low events for everybody.
    Low,
    /// Low events for so many classes of connections in turn, numbered within each class.
    LowByClass { classes: u32 },
    /// Events of that priority for everybody, and for class zero.
    Of(Priority),
}

/// How publishing went.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub accepted: u32,
    /// Events that were not taken, by error code.
    pub refused: BTreeMap<String, u64>,
    /// How often the server asked to wait (429, 503).
    pub waits: u64,
    /// From the first event's due time to the last answer.
    pub elapsed_ns: u64,
    /// From an event's due time to its answer, in µs: the median and the 99th percentile.
    pub answer_p50_us: u64,
    pub answer_p99_us: u64,
    /// Why publishing ended before all events were out.
    pub failure: Option<String>,
}

/// An event that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    index: u32,
    due_ns: u64,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Transport(#[from] ureq::Error),
    #[error("HTTP {status}, and not in the words of an Alarmcast server: {text}")]
    Answer { status: u16, text: String },
    #[error("HTTP {status}: {text}")]
    Status { status: u16, text: String },
    #[error(transparent)]
    WebSocket(#[from] tungstenite::Error),
    #[error("{url}: {why}")]
    Handshake { url: String, why: String },
}

/// One way to get events to a server.
trait Post {
    /// Events that go together, at most.
    fn batch_max(&self) -> u32;

    /// Where to.
    fn place(&self) -> &str;

    /// Publishes events that are due; returns when each was taken or refused.
    fn post(&mut self, events: &[Due], published: &mut Published) -> Result<(), Fault>;
}

fn poster(plan: &Plan) -> Result<Box<dyn Post + '_>, Fault> {
    Ok(match &plan.way {
        Way::Alarmcast { control } => Box::new(alarmcast::Alarmcast::new(plan, control)),
        Way::Other { control, target, publish } => match publish {
            Publish::Http { path, content_type, body } => {
                Box::new(other::Http::new(plan, control, path, content_type, body))
            }
            Publish::WebSocket { path, first, text } => {
                let first = first.as_deref();
                Box::new(other::Messages::connect(plan, target, path, first, text)?)
            }
        },
    })
}

/// Publishes all events; returns when the last one is answered, or when no server answers, or
/// not as it should.
pub fn publish(plan: &Plan) -> Published {
    let mut published = Published::default();
    match poster(plan) {
        Ok(mut poster) => publish_all(plan, &mut *poster, &mut published),
        Err(fault) => published.failure = Some(fault.to_string()),
    }
    published
}

fn publish_all(plan: &Plan, poster: &mut dyn Post, published: &mut Published) {
    let mut answers = empty_histogram();
    let start_ns = now_ns();
    let due =
        |index: u32| Due { index, due_ns: start_ns + (f64::from(index) * 1e9 / plan.rate) as u64 };
    let mut next = 0;
    while next < plan.events {
        sleep_until(due(next).due_ns);
        let now = now_ns();
        let batch_end = plan.events.min(next + poster.batch_max());
        let also = (next + 1..batch_end).map(due).take_while(|event| event.due_ns <= now);
        let batch: Vec<Due> = std::iter::once(due(next)).chain(also).collect();
        if let Err(fault) = poster.post(&batch, published) {
            published.failure = Some(format!("{}: {fault}", poster.place()));
            break;
        }
        let answered = now_ns();
        for event in &batch {
            answers.saturating_record(answered.saturating_sub(event.due_ns) / 1_000);
        }
        next += batch.len() as u32;
    }
    published.elapsed_ns = now_ns() - start_ns;
    published.answer_p50_us = answers.value_at_quantile(0.5);
    published.answer_p99_us = answers.value_at_quantile(0.99);
}

fn sleep_until(due_ns: u64) {
    let wait_ns = due_ns.saturating_sub(now_ns());
    if wait_ns > 0 {
        thread::sleep(Duration::from_nanos(wait_ns));
    }
}
