//! A token bucket: so many per second, so many at once.

use crate::base::clock::Instant;

/// What a bucket allows. A rate of zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// The state of one bucket: the generic cell rate algorithm, which needs one number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// The instant at which the bucket is full again.
    full_at: Instant,
}

impl Bucket {
    /// Takes one token, if there is one.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        const NANOS_PER_SECOND: u64 = 1_000_000_000;
        if rate.per_second == 0 {
            return true;
        }
        let interval = NANOS_PER_SECOND / u64::from(rate.per_second);
        let full_at = self.full_at.max(now).as_nanos() + interval;
        if full_at - now.as_nanos() > interval * u64::from(rate.burst.max(1)) {
            return false;
        }
        self.full_at = Instant::from_nanos(full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rate_after_it() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut bucket = Bucket::default();
        let mut now = Instant::from_nanos(5_000_000_000);
        let take = |bucket: &mut Bucket, now| (0..5).filter(|_| bucket.take(now, rate)).count();
        assert_eq!(take(&mut bucket, now), 3);
        now = now + Duration::from_millis(100);
        assert_eq!(take(&mut bucket, now), 1);
        now = now + Duration::from_secs(3600);
        assert_eq!(take(&mut bucket, now), 3, "rest does not add up beyond the burst");
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = Bucket::default();
        let rate = Rate { per_second: 0, burst: 0 };
        assert!((0..1000).all(|_| bucket.take(Instant::default(), rate)));
    }
}
