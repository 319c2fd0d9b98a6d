//! Figures as people, and programs, read them.

use serde_json::{Map, Value, json};

use super::rows::Row;

/// One server's figures.
pub struct Column {
    pub name: &'static str,
    /// By row.
    figures: Vec<(&'static str, Vec<f64>)>,
    pub complaints: Vec<String>,
}

impl Column {
    pub fn new(name: &'static str) -> Self {
        Self { name, figures: Vec::new(), complaints: Vec::new() }
    }

    pub fn add(&mut self, row: &Row, figures: Vec<f64>) {
        self.figures.push((row.name, figures));
    }

    pub fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// Whether a row was measured.
    pub fn has(&self, row: &str) -> bool {
        self.of(row).is_some()
    }

    fn of(&self, row: &str) -> Option<&[f64]> {
        let found = self.figures.iter().find(|(name, _)| *name == row);
        found.map(|(_, figures)| figures.as_slice())
    }
}

/// A line for each figure, a column for each server.
pub fn markdown(rows: &[&Row], columns: &[Column]) -> String {
    let names: String = columns.iter().map(|column| format!(" {} |", column.name)).collect();
    let mut text = format!("| |{names}\n|---|{}\n", "---|".repeat(columns.len()));
    for row in rows {
        for (at, figure) in row.figures.iter().enumerate() {
            let cell = |column: &Column| match column.of(row.name).and_then(|all| all.get(at)) {
                Some(number) => format!(" {number:.*} |", figure.decimals),
                None => " |".to_owned(),
            };
            let cells: String = columns.iter().map(cell).collect();
            text.push_str(&format!("| {} |{cells}\n", figure.title));
        }
    }
    text
}

/// By server and row, in the order of the row's figures.
pub fn json(columns: &[Column]) -> Value {
    let servers = columns.iter().map(|column| {
        let rows: Map<String, Value> =
            column.figures.iter().map(|(row, all)| ((*row).to_owned(), json!(all))).collect();
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
        ours.add(rate, vec![3.0]);
        let columns = [ours, Column::new("nats")];
        let text = markdown(&[rate], &columns);
        assert!(text.starts_with("| | uring | nats |\n|---|---|---|\n"), "{text}");
        assert!(text.contains(" 1,000 clients | 3.00 | |\n"), "{text}");
        assert_eq!(json(&columns)["uring"]["rate-1k"], json!([3.0]));
    }
}
