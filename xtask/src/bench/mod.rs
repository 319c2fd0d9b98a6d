//! What operators choose by, measured for Alarmcast beside other servers: one table for one
//! machine.

mod rows;
mod table;

use std::fs;
use std::path::PathBuf;

use clap::Args;

use self::rows::{Bench, ROWS, Row};
use self::table::Column;
use crate::Result;
use crate::compare::machine::{self, Cores};
use crate::compare::{build_tester, contenders, get_ready};
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
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
    build_tester(context)?;
    let (servers, left_out) = get_ready(context, contenders::choose(&arguments.servers)?, 1);
    if servers.is_empty() {
        return Err(format!("there is no server to measure\n{}", left_out.join("\n")));
    }
    let started = report::now();
    let bench = Bench { context, cores: Cores::divide(1, false)? };
    let mut columns: Vec<Column> = servers.iter().map(|server| Column::new(server.name)).collect();
    // Row by row: what else the machine does at a time falls on all servers alike.
    for row in &rows {
        for (server, column) in servers.iter().zip(&mut columns) {
            if !row.is_for(server) {
                continue;
            }
            match (row.measure)(&bench, server) {
                Ok(figures) => {
                    eprintln!("{:<12} {:<18} {}", row.name, server.name, row.in_words(&figures));
                    column.add(row, figures);
                }
                Err(why) => {
                    eprintln!("{:<12} {:<18} NOT MEASURED: {why}", row.name, server.name);
                    column.complain(format!("{} of {}: {why}", row.name, server.name));
                }
            }
        }
    }
    println!("{}; {}\n", machine::describe(), bench.cores);
    println!("{}", table::markdown(&rows, &columns));
    left_out.iter().for_each(|line| println!("{line}"));
    columns.iter().flat_map(|column| &column.complaints).for_each(|line| println!("{line}"));
    println!("measured in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", table::json(&columns));
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
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
