//! The last histograms of each shard. A shard that does not answer keeps its old ones, so
//! that what is exposed never goes back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::shard::Handle;
use crate::shard::stats::Histograms;

/// By shard; empty until its first answer.
#[derive(Debug)]
pub struct HistogramCache(Mutex<Vec<Option<Box<Histograms>>>>);

impl HistogramCache {
    pub fn new(shards: usize) -> Self {
        Self(Mutex::new(vec![None; shards]))
    }

    /// Asks all shards at once.
    pub async fn refresh(&self, shards: &[Handle], timeout: Duration) {
        let mut asked = JoinSet::new();
        for (place, shard) in shards.iter().cloned().enumerate() {
            asked.spawn(async move {
                (place, tokio::time::timeout(timeout, shard.histograms()).await.ok().flatten())
            });
        }
        while let Some(joined) = asked.join_next().await {
            let Ok((place, Some(histograms))) = joined else { continue };
            if let Some(cached) = self.lock().get_mut(place) {
                *cached = Some(histograms);
            }
        }
    }

    /// All shards' measurements together.
    pub fn merged(&self) -> Histograms {
        let mut sum = Histograms::new();
        self.lock().iter().flatten().for_each(|histograms| sum.merge(histograms));
        sum
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<Box<Histograms>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
