//! Publishes the good items of a request together and answers for each.

use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::Context;
use super::answer::{Refusal, json};
use crate::event::Publish;
use crate::hub::Published;
use crate::protocol::PublishItemError;

/// What became of one item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ItemAnswer {
    Published {
        index: usize,
        message_id: Uuid,
        seq: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    Refused {
        index: usize,
        error: PublishItemError,
    },
}

/// What became of a request with several items.
#[derive(Debug, Serialize)]
pub struct BatchAnswer {
    results: Vec<ItemAnswer>,
    accepted: usize,
    rejected: usize,
}

/// Items as read, in the order of the request.
pub type Items = Vec<Result<Publish, PublishItemError>>;

/// Publishes all good items in order, together, and waits until they have their places.
///
/// # Errors
/// When the hub takes none of them.
pub async fn publish(context: &Context, items: Items) -> Result<BatchAnswer, Refusal> {
    let mut good = Vec::new();
    let mut verdicts = Vec::with_capacity(items.len());
    for item in items {
        verdicts.push(match item {
            Ok(publish) => {
                good.push(publish);
                None
            }
            Err(error) => Some(error),
        });
    }
    let accepted = good.len();
    let published =
        if good.is_empty() { Vec::new() } else { context.publisher.publish(good)?.await? };
    let rejected = verdicts.len() - accepted;
    let mut published = published.into_iter();
    let answer = |(index, verdict): (usize, Option<PublishItemError>)| match verdict {
        Some(error) => Some(ItemAnswer::Refused { index, error }),
        None => published.next().map(|Published { message_id, seq, duplicate }| {
            ItemAnswer::Published { index, message_id, seq, duplicate }
        }),
    };
    let results = verdicts.into_iter().enumerate().filter_map(answer).collect();
    Ok(BatchAnswer { results, accepted, rejected })
}

impl BatchAnswer {
    pub fn rejected(&self) -> usize {
        self.rejected
    }

    /// 200 when all items were published, 207 when some were, 400 when none was.
    pub fn into_response(self) -> Response {
        let status = match (self.accepted, self.rejected) {
            (_, 0) => 200,
            (0, _) => 400,
            _ => 207,
        };
        json(status, &self)
    }
}
