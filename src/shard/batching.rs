//! Several events in one message, for connections that asked for that.

use crate::protocol::{BATCH_OVERHEAD_BYTES_MAX, Encoding, append_batch};
use crate::queue::{Arena, FrameId, Outbox};
use crate::shard::pools::SendPlan;

/// How a connection wants its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    pub encoding: Encoding,
    /// Events of one batch.
    pub events_max: u32,
}

/// Of what one send takes, the events of one batch: at least two, in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub start: usize,
    pub count: usize,
}

impl Batching {
    /// Takes frames for one send, and notes which of them go into batches; gives how many bytes
    /// that makes at most.
    pub fn take_frames(
        &self,
        outbox: &mut Outbox,
        plan: &SendPlan,
        taken: &mut Vec<FrameId>,
        runs: &mut Vec<Run>,
    ) -> usize {
        let (mut bytes, mut run) = (0, Run { start: 0, count: 0 });
        while let Some(next) = outbox.next_bytes(plan.floor) {
            // As if each began a batch that needs the longest header.
            let next = if run.count == 0 { next + BATCH_OVERHEAD_BYTES_MAX } else { next };
            if !plan.has_room(outbox, bytes, next) {
                break;
            }
            let Some((id, is_batched)) = outbox.pop_with_mark(plan.floor) else { break };
            bytes += next;
            taken.push(id);
            if is_batched {
                run.count += 1;
            }
            if !is_batched || run.count >= self.events_max as usize {
                end(&mut run, runs, taken.len());
            }
        }
        end(&mut run, runs, taken.len());
        bytes
    }

    /// Writes what was taken.
    pub fn write(&self, buffer: &mut Vec<u8>, taken: &[FrameId], runs: &[Run], arena: &Arena) {
        let frame = |id: &FrameId| &arena.get(*id).bytes[..];
        let mut written = 0;
        for run in runs {
            taken[written..run.start].iter().for_each(|id| buffer.extend_from_slice(frame(id)));
            written = run.start + run.count;
            append_batch(buffer, self.encoding, taken[run.start..written].iter().map(frame));
        }
        taken[written..].iter().for_each(|id| buffer.extend_from_slice(frame(id)));
    }
}

/// Ends a run in front of `next`; one event alone is sent as it is.
fn end(run: &mut Run, runs: &mut Vec<Run>, next: usize) {
    if run.count > 1 {
        runs.push(*run);
    }
    *run = Run { start: next, count: 0 };
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::queue::{Backlog, Frame, Lane};
    use crate::shard::connection::InFlight;
    use crate::shard::pools::{Pools, gather};

    /// A complete frame of an empty object, filled up with blanks.
    fn frame(bytes: u8) -> Frame {
        let mut frame = vec![0x81, bytes - 2, b'{', b'}'];
        frame.resize(bytes.into(), b' ');
        Frame { bytes: Rc::new(Bytes::from(frame)), event: None }
    }

    fn plan(bytes_max: usize, events_max: u32) -> SendPlan {
        let batching = Batching { encoding: Encoding::Json, events_max };
        let others_bytes_max = bytes_max;
        SendPlan { floor: Lane::Low, bytes_max, others_bytes_max, batching: Some(batching) }
    }

    fn backlog(arena: &mut Arena, ids: &[(FrameId, bool)]) -> Backlog {
        let mut backlog = Backlog::default();
        let outbox = backlog.to_outbox(Box::default);
        for &(id, is_batched) in ids {
            arena.retain(id);
            outbox.push_past_limits(Lane::Low, id, arena.get(id).bytes.len());
            if is_batched {
                outbox.mark_batched(Lane::Low);
            }
        }
        backlog
    }

    #[test]
    fn connections_with_the_same_batches_share_one_buffer_and_others_do_not() {
        let (mut arena, mut pools) = (Arena::new(), Pools::default());
        let ids: Vec<FrameId> = (0..6).map(|_| arena.insert(frame(50))).collect();
        let marked = |plain: usize| -> Vec<(FrameId, bool)> {
            ids.iter().enumerate().map(|(place, id)| (*id, place != plain)).collect()
        };
        let mut send = |marks: &[(FrameId, bool)], events_max| {
            let mut backlog = backlog(&mut arena, marks);
            let plan = plan(10_000, events_max);
            let sent = gather(&mut backlog, &mut arena, &mut pools, &plan);
            let Some((_, InFlight::Many(gathered))) = sent else { panic!("several frames") };
            gathered
        };
        let first = send(&marked(6), 4);
        assert_eq!(first.batches(), (2, 6));
        assert!(Rc::ptr_eq(&first, &send(&marked(6), 4)));
        let other = send(&marked(6), 3);
        assert!(!Rc::ptr_eq(&first, &other), "the batches are others");
        let with_plain = send(&marked(2), 4);
        assert_eq!(with_plain.batches(), (2, 5), "around the plain one");
        assert!(!Rc::ptr_eq(&first, &with_plain));
    }

    #[test]
    fn a_send_with_batches_keeps_within_its_bytes_and_one_frame_goes_alone() {
        let (mut arena, mut pools) = (Arena::new(), Pools::default());
        let ids: Vec<(FrameId, bool)> = (0..40).map(|_| (arena.insert(frame(100)), true)).collect();
        let mut backlog = backlog(&mut arena, &ids);
        let (mut frames, mut sends) = (0, 0);
        while let Some((buf, in_flight)) =
            gather(&mut backlog, &mut arena, &mut pools, &plan(1_000, 256))
        {
            frames += in_flight.ids().len();
            sends += 1;
            assert!(buf.remaining().len() <= 1_000 && in_flight.ids().len() > 3);
            pools.forget_last(&mut arena);
        }
        assert_eq!((frames, sends), (40, 5));
        let large = arena.insert(frame(120));
        let mut backlog = self::backlog(&mut arena, &[(large, true)]);
        let sent = gather(&mut backlog, &mut arena, &mut pools, &plan(10, 256));
        assert!(matches!(sent, Some((_, InFlight::One(id))) if id == large));
    }
}
