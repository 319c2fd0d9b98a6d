//! Which row of [`Deferred`](crate::shard::deferred::Deferred) tells what a stalled connection wants.

use crate::base::dense;

/// Rows: all connections that the handler has parked as one group share one, any other has its own.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By row.
    rows: Vec<Row>,
    free: Vec<u32>,
    /// By group, its row; [`NONE`] where it has none.
    by_group: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// [`NONE`] where it is one connection's.
    group: u32,
    connections: u32,
}

const NONE: u32 = u32::MAX;

impl Rows {
    /// Gives one more connection its row: that of its group, or one of its own. One that was closed
    /// holds it until its send has ended, also if the group's number is another's by then: it gets
    /// nothing any more, whatever the row says.
    pub fn take(&mut self, group: Option<u32>) -> u32 {
        let row = group.and_then(|group| self.of_group(group)).unwrap_or_else(|| self.add(group));
        self.rows[row as usize].connections += 1;
        row
    }

    /// One connection less.
    pub fn leave(&mut self, row: u32) {
        let Row { group, connections } = &mut self.rows[row as usize];
        *connections -= 1;
        if *connections == 0 {
            if *group != NONE {
                self.by_group[*group as usize] = NONE;
            }
            self.free.push(row);
        }
    }

    /// The row of a group of which some are stalled.
    pub fn of_group(&self, group: u32) -> Option<u32> {
        self.by_group.get(group as usize).copied().filter(|&row| row != NONE)
    }

    /// The row is one connection's alone.
    pub fn is_own(&self, row: u32) -> bool {
        self.rows[row as usize].group == NONE
    }

    fn add(&mut self, group: Option<u32>) -> u32 {
        let row = self.free.pop().unwrap_or(self.rows.len() as u32);
        let nobodys = Row { group: group.unwrap_or(NONE), connections: 0 };
        dense::reach(&mut self.rows, row as usize, || nobodys);
        self.rows[row as usize] = nobodys;
        if let Some(group) = group {
            dense::reach(&mut self.by_group, group as usize, || NONE);
            self.by_group[group as usize] = row;
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_one_row_while_any_of_it_is_stalled_and_others_have_their_own() {
        let mut rows = Rows::default();
        let [first, second] = [rows.take(Some(5)), rows.take(Some(5))];
        assert_eq!((first, second, rows.of_group(5)), (0, 0, Some(0)));
        let own = [rows.take(None), rows.take(None)];
        assert_eq!((own, rows.of_group(4), rows.of_group(6)), ([1, 2], None, None));
        assert_eq!((rows.is_own(0), rows.is_own(1)), (false, true));
        rows.leave(0);
        assert_eq!(rows.of_group(5), Some(0), "one is left");
        rows.leave(0);
        assert_eq!(rows.of_group(5), None);
        rows.leave(1);
        assert_eq!((rows.take(Some(7)), rows.take(None), rows.take(Some(5))), (1, 0, 3));
        assert_eq!((rows.of_group(7), rows.of_group(5)), (Some(1), Some(3)));
    }
}
