//! Growth of tables with an entry for each connection.
//!
//! A `Vec` doubles, and so leaves up to half of a large table empty; these grow by an eighth,
//! which still moves an entry only a constant number of times on average.

/// Entries by which a small table grows.
const STEP_MIN: usize = 4;

/// Appends `value`.
pub fn push<T>(table: &mut Vec<T>, value: T) {
    make_room(table, table.len() + 1);
    table.push(value);
}

/// Makes the table so long that it has an entry `index`, with new ones from `vacant`.
pub fn reach<T>(table: &mut Vec<T>, index: usize, vacant: impl FnMut() -> T) {
    if index >= table.len() {
        make_room(table, index + 1);
        table.resize_with(index + 1, vacant);
    }
}

fn make_room<T>(table: &mut Vec<T>, length: usize) {
    if length > table.capacity() {
        let step = (table.len() / 8).max(STEP_MIN);
        table.reserve_exact((length - table.len()).max(step));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_leaves_an_eighth_empty_at_most_and_seldom_moves() {
        let mut table = Vec::new();
        let mut moves = 0;
        for index in 0..10_000 {
            let before = table.capacity();
            match index % 2 {
                0 => push(&mut table, index),
                _ => reach(&mut table, index, || index),
            }
            moves += usize::from(table.capacity() != before);
            assert!(table.capacity() <= (table.len() + STEP_MIN).max(table.len() * 9 / 8));
        }
        assert_eq!(table[9_999], 9_999);
        assert!(moves < 80, "{moves}");
        reach(&mut table, 5, || 0);
        assert_eq!(table.len(), 10_000);
    }
}
