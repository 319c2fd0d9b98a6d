//! Figures as people, and programs, read them.

use serde_json::{Map, Value, json};

use super::rows::Row;
use crate::compare::table::median;

/// The server that costs are compared with.
const AGAINST: &str = "plain-mio";

/// One server's figures.
pub struct Column {
    pub name: &'static str,
    rounds: Vec<Round>,
    pub complaints: Vec<String>,
}

/// A row, measured once.
struct Round {
    row: &'static str,
    number: u32,
    figures: Vec<f64>,
}

impl Column {
    pub fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new(), complaints: Vec::new() }
    }

    pub fn add(&mut self, row: &Row, number: u32, figures: Vec<f64>) {
        self.rounds.push(Round { row: row.name, number, figures });
    }

    pub fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// Rounds in which a row was measured.
    pub fn rounds(&self, row: &str) -> impl Iterator<Item = u32> {
        self.of(row).map(|round| round.number)
    }

    fn of(&self, row: &str) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.row == row)
    }

    /// A figure's median; absent where it was not measured.
    fn median(&self, row: &str, figure: usize) -> Option<f64> {
        let all: Vec<f64> =
            self.of(row).filter_map(|round| round.figures.get(figure).copied()).collect();
        (!all.is_empty()).then(|| median(all))
    }

    /// The row's first figure as a multiple of another server's in the same round: the median.
    fn multiple(&self, other: &Self, row: &str) -> Option<f64> {
        let ratios: Vec<f64> = self
            .of(row)
            .filter_map(|ours| {
                let theirs = other.of(row).find(|round| round.number == ours.number)?;
                Some(ours.figures.first()? / theirs.figures.first()?)
            })
            .collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

/// A line for each figure, a column for each server.
pub fn markdown(rows: &[&Row], columns: &[Column]) -> String {
    let names: String = columns.iter().map(|column| format!(" {} |", column.name)).collect();
    let mut text = format!("| |{names}\n|---|{}\n", "---|".repeat(columns.len()));
    let mut line = |title: &str, decimals: usize, cell: &dyn Fn(&Column) -> Option<f64>| {
        let cells = columns.iter().map(|column| match cell(column) {
            Some(number) => format!(" {number:.decimals$} |"),
            None => " |".to_owned(),
        });
        text.push_str(&format!("| {title} |{}\n", cells.collect::<String>()));
    };
    for row in rows {
        for (at, figure) in row.figures.iter().enumerate() {
            line(figure.title, figure.decimals, &|column| column.median(row.name, at));
            let against = columns.iter().find(|column| column.name == AGAINST);
            if let (0, Some(against), true) = (at, against, row.rounds > 1) {
                let title = format!("as a multiple of {AGAINST}'s");
                line(&title, 2, &|column| column.multiple(against, row.name));
            }
        }
    }
    text
}

/// By server and row, each round in the order of the row's figures.
pub fn json(columns: &[Column]) -> Value {
    let servers = columns.iter().map(|column| {
        let mut rows = Map::new();
        for Round { row, figures, .. } in &column.rounds {
            let rounds = rows.entry(*row).or_insert_with(|| json!([]));
            if let Some(rounds) = rounds.as_array_mut() {
                rounds.push(json!(figures));
            }
        }
        (column.name.to_owned(), Value::Object(rows))
    });
    Value::Object(servers.collect())
}

#[cfg(test)]
mod tests {
    use super::super::rows::ROWS;
    use super::*;

    #[test]
    fn what_was_not_measured_is_left_empty() {
        let rate = ROWS.iter().find(|row| row.name == "rate-1k").unwrap();
        let mut ours = Column::new("uring");
        ours.add(rate, 1, vec![3.0]);
        let columns = [ours, Column::new("nats")];
        let text = markdown(&[rate], &columns);
        assert!(text.starts_with("| | uring | nats |\n|---|---|---|\n"), "{text}");
        assert!(text.contains(" 1,000 clients | 3.00 | |\n"), "{text}");
        assert_eq!(json(&columns)["uring"]["rate-1k"], json!([[3.0]]));
    }

    #[test]
    fn costs_are_medians_and_compared_within_a_round() {
        let cost = ROWS.iter().find(|row| row.name == "cost-1k").unwrap();
        let (mut ours, mut plain) = (Column::new("uring"), Column::new("plain-mio"));
        for (number, of_ours, of_plain) in [(1, 4.0, 5.0), (2, 9.0, 10.0), (3, 5.0, 0.0)] {
            ours.add(cost, number, vec![of_ours, 0.1, 7.0]);
            if of_plain > 0.0 {
                plain.add(cost, number, vec![of_plain, 0.2, 8.0]);
            }
        }
        let text = markdown(&[cost], &[ours, plain]);
        assert!(text.contains("1,000 clients | 5.00 | 7.50 |\n"), "{text}");
        assert!(text.contains("| as a multiple of plain-mio's | 0.85 | 1.00 |\n"), "{text}");
    }
}
