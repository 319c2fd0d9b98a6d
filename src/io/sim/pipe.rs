use std::collections::VecDeque;

use crate::base::clock::Instant;

/// One direction of a connection: bytes that arrive some time after they were written, in
/// order, with bounded room, which is allocated in advance.
#[derive(Debug)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// When which of them arrive.
    segments: VecDeque<Segment>,
    bytes_max: usize,
    /// Nothing written later arrives before this.
    last_arrival: Instant,
    /// When the end arrives, after which nothing can be written.
    end: Option<Instant>,
}

#[derive(Debug)]
struct Segment {
    arrival: Instant,
    bytes: usize,
}

impl Pipe {
    pub fn new(bytes_max: usize) -> Self {
        const SEGMENTS: usize = 8;
        Self {
            bytes: VecDeque::with_capacity(bytes_max),
            segments: VecDeque::with_capacity(SEGMENTS),
            bytes_max,
            last_arrival: Instant::default(),
            end: None,
        }
    }

    pub fn room(&self) -> usize {
        if self.end.is_some() { 0 } else { self.bytes_max - self.bytes.len() }
    }

    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes what there is room for; how much that was.
    pub fn write(&mut self, bytes: &[u8], arrival: Instant) -> usize {
        let count = bytes.len().min(self.room());
        if count > 0 {
            self.last_arrival = self.last_arrival.max(arrival);
            self.bytes.extend(&bytes[..count]);
            match self.segments.back_mut() {
                Some(last) if last.arrival == self.last_arrival => last.bytes += count,
                _ => self.segments.push_back(Segment { arrival: self.last_arrival, bytes: count }),
            }
        }
        count
    }

    pub fn end(&mut self, arrival: Instant) {
        let arrival = self.last_arrival.max(arrival);
        self.end.get_or_insert(arrival);
    }

    /// What has arrived, or zero at the end; `None` while there is neither.
    pub fn read(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        let mut count = 0;
        while let Some(segment) = self.segments.front_mut().filter(|it| it.arrival <= now)
            && count < buffer.len()
        {
            let part = segment.bytes.min(buffer.len() - count);
            segment.bytes -= part;
            count += part;
            if segment.bytes == 0 {
                self.segments.pop_front();
            }
        }
        for (to, from) in buffer.iter_mut().zip(self.bytes.drain(..count)) {
            *to = from;
        }
        (count > 0 || self.is_at_end(now)).then_some(count)
    }

    /// Whether a read would say something.
    pub fn is_readable(&self, now: Instant) -> bool {
        self.segments.front().is_some_and(|segment| segment.arrival <= now) || self.is_at_end(now)
    }

    pub fn is_at_end(&self, now: Instant) -> bool {
        self.segments.is_empty() && self.end.is_some_and(|end| end <= now)
    }

    /// When the next bytes, or the end, arrive after `now`.
    pub fn next_arrival(&self, now: Instant) -> Option<Instant> {
        let bytes = self.segments.iter().map(|segment| segment.arrival);
        bytes.chain(self.end).find(|arrival| *arrival > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_although_later_ones_are_quicker_and_the_end_comes_last() {
        let at = Instant::from_nanos;
        let mut pipe = Pipe::new(8);
        assert_eq!(pipe.write(b"slow", at(9)), 4);
        assert_eq!(pipe.write(b"quick", at(3)), 4, "no more room");
        pipe.end(at(4));
        let mut buffer = [0; 16];
        assert_eq!(pipe.read(&mut buffer, at(8)), None);
        assert_eq!(pipe.next_arrival(at(8)), Some(at(9)));
        assert_eq!(pipe.read(&mut buffer[..5], at(9)), Some(5));
        assert_eq!(pipe.read(&mut buffer[5..], at(9)), Some(3));
        assert_eq!(&buffer[..8], b"slowquic");
        assert_eq!(pipe.read(&mut buffer, at(9)), Some(0));
        assert_eq!(pipe.write(b"x", at(9)), 0);
    }
}
