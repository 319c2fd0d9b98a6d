//! Counting with valgrind's callgrind.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use crate::Result;
use crate::command::{command, describe, read};
use crate::context::Context;

/// One piece of work, done once under valgrind and once without.
pub struct Work {
    pub units: u64,
    pub instructions: u64,
    pub nanoseconds: u64,
}

/// Those of these names, in their order; as many at once as there are cores.
pub fn count_all(context: &Context, program: &Path, names: &[&str]) -> Result<Vec<Work>> {
    let lanes = thread::available_parallelism().map_or(1, NonZero::get);
    let mut works: Vec<Option<Result<Work>>> = names.iter().map(|_| None).collect();
    let share = names.len().div_ceil(lanes);
    thread::scope(|scope| {
        for (names, works) in names.chunks(share).zip(works.chunks_mut(share)) {
            scope.spawn(move || {
                for (name, work) in names.iter().zip(works) {
                    *work = Some(count(context, program, name));
                }
            });
        }
    });
    let counted = |work: Option<Result<Work>>| work.unwrap_or(Err("was not counted".to_owned()));
    works.into_iter().map(counted).collect()
}

fn count(context: &Context, program: &Path, name: &str) -> Result<Work> {
    let (units, nanoseconds) = parse_units(&read(command(context, program).arg(name))?)?;
    let mut valgrind = command(context, "valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.args(["--collect-atstart=no", "--toggle-collect=*counted_part*"]);
    valgrind.arg(program).arg(name);
    let output = valgrind.output().map_err(|error| format!("valgrind: {error}"))?;
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (counted_units, _) = parse_units(&out)?;
    // Both did the same, or the counts are not for the units that are told.
    if counted_units != units {
        return Err(format!("{name}: {units} units, and {counted_units} under valgrind"));
    }
    match collected(&said) {
        Some(instructions) if output.status.success() && instructions > 0 => {
            Ok(Work { units, instructions, nanoseconds })
        }
        _ => Err(format!("{}: {}, counted nothing\n{said}", describe(&valgrind), output.status)),
    }
}

/// The program's `UNITS NANOSECONDS`.
fn parse_units(out: &str) -> Result<(u64, u64)> {
    let (units, nanoseconds) = out.trim().split_once(' ').unwrap_or_default();
    match (units.parse(), nanoseconds.parse()) {
        (Ok(units), Ok(nanoseconds)) if units > 0 => Ok((units, nanoseconds)),
        _ => Err(format!("not units and nanoseconds: {out:?}")),
    }
}

/// The number in callgrind's `==1== Collected : 4711`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : "))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_instructions_is_read_from_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 4711\n==7== \n";
        assert_eq!(collected(said), Some(4711));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }

    #[test]
    fn work_for_nobody_is_no_measurement() {
        assert_eq!(parse_units("20 300\n"), Ok((20, 300)));
        assert!(parse_units("0 300\n").is_err());
        assert!(parse_units("").is_err());
    }
}
