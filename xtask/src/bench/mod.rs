//! What operators choose by, measured for Alarmcast beside other servers: one table for one
//! machine.

mod rows;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use self::rows::{Bench, COST_ROWS, LANES_ROW, ROWS, Row, kept};
use self::table::Column;
use crate::Result;
use crate::compare::contenders::Contender;
use crate::compare::machine::{self, Cores};
use crate::compare::{build_tester, contenders, get_ready, tester};
use crate::context::Context;
use crate::report;

/// What is measured, and for whom.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only this server; may be given several times [default: all, see `cargo xtask compare --list`]
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Only this row; may be given several times
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Write table, figures, results and plots there too; a new folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// List the rows and stop
    #[arg(long)]
    list: bool,
}

/// Measures and prints a Markdown table.
///
/// # Errors
/// When there is nothing to measure, or the figures cannot be written.
pub fn bench(context: &Context, arguments: &Arguments) -> Result {
    if arguments.list {
        ROWS.iter().for_each(|row| println!("{:<12} {}", row.name, row.about));
        return Ok(());
    }
    let rows = choose(&arguments.only)?;
    new_folder(arguments.output.as_deref())?;
    build_tester(context)?;
    let (servers, left_out) = get_ready(context, contenders::choose(&arguments.servers)?, 1);
    if servers.is_empty() {
        return Err(format!("there is no server to measure\n{}", left_out.join("\n")));
    }
    let started = report::now();
    let output = arguments.output.clone();
    let bench = Bench { context, cores: Cores::divide(1, false)?, output };
    let mut columns: Vec<Column> = servers.iter().map(|server| Column::new(server.name)).collect();
    // Row by row, round by round: what else the machine does at a time falls on all servers alike.
    for row in &rows {
        for round in 1..=row.rounds {
            for (server, column) in in_turn(&servers, &mut columns, round) {
                bench.add_round(row, round, server, column);
            }
        }
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let mut text = format!("{}; {}\n\n", machine::describe(), bench.cores);
    text.push_str(&table::markdown(&rows, &columns));
    let complaints = columns.iter().flat_map(|column| &column.complaints);
    left_out.iter().chain(complaints).for_each(|line| text.push_str(&format!("\n{line}\n")));
    text.push_str(&format!("\nmeasured in {minutes:.1} minutes\n"));
    print!("{text}");
    match &bench.output {
        Some(output) => keep(context, output, &text, &columns),
        None => Ok(()),
    }
}

/// Forward and backward by turns.
fn in_turn<'a>(
    servers: &[&'static Contender],
    columns: &'a mut [Column],
    round: u32,
) -> Vec<(&'static Contender, &'a mut Column)> {
    let mut order: Vec<_> = servers.iter().copied().zip(columns).collect();
    if round.is_multiple_of(2) {
        order.reverse();
    }
    order
}

impl Bench<'_> {
    fn add_round(&self, row: &Row, round: u32, server: &Contender, column: &mut Column) {
        if !row.is_for(server) {
            return;
        }
        match (row.measure)(self, server, round) {
            Ok(figures) => {
                eprintln!("{:<12} {:<18} {}", row.name, server.name, row.in_words(&figures));
                column.add(row, round, figures);
            }
            Err(why) => {
                eprintln!("{:<12} {:<18} NOT MEASURED: {why}", row.name, server.name);
                column.complain(format!("{} of {}: {why}", row.name, server.name));
            }
        }
    }
}

/// Writes what was measured, and has it drawn.
fn keep(context: &Context, output: &Path, text: &str, columns: &[Column]) -> Result {
    let write = |name: &str, text: &str| {
        let path = output.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(output).map_err(|error| format!("{}: {error}", output.display()))?;
    write("table.md", text)?;
    write("figures.json", &format!("{:#}\n", table::json(columns)))?;
    let results = |row: &'static str, column: &Column| {
        let (rounds, name) = (column.rounds(row), column.name);
        rounds.map(|round| kept(output, row, round, name)).collect::<Vec<_>>()
    };
    let costs = columns.iter().flat_map(|column| COST_ROWS.map(|row| results(row, column)));
    let costs: Vec<PathBuf> = costs.flatten().collect();
    if !costs.is_empty() {
        tester::report(context, &costs, &output.join("cost"), "100,000 deliveries/s")?;
    }
    for column in columns {
        let lanes = results(LANES_ROW, column);
        if !lanes.is_empty() {
            let title = format!("Four priorities, saturated by low events ({})", column.name);
            let folder = output.join(format!("{LANES_ROW}-{}", column.name));
            tester::report(context, &lanes, &folder, &title)?;
        }
    }
    Ok(())
}

/// Results are not written over.
pub fn new_folder(output: Option<&Path>) -> Result {
    match output {
        Some(output) if output.exists() => {
            Err(format!("{} is there already; name a new folder", output.display()))
        }
        _ => Ok(()),
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    if let Some(name) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        return Err(format!("no row is called `{name}`; see `cargo xtask bench --list`"));
    }
    let is_chosen = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_and_an_unknown_one_is_an_error() {
        let chosen = choose(&["filters".to_owned()]).unwrap();
        assert_eq!(chosen.iter().map(|row| row.name).collect::<Vec<_>>(), ["filters"]);
        assert_eq!(choose(&[]).unwrap().len(), ROWS.len());
        assert!(choose(&["speed".to_owned()]).is_err());
    }
}
