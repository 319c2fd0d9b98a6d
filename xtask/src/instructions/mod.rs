//! Instructions and memory of the `instructions` example, compared with its stored baseline.

mod baseline;
mod valgrind;

use std::collections::BTreeMap;

use crate::Result;
use crate::command::{self, cargo, command, read};
use crate::context::Context;
use crate::tools::debian;

use baseline::{Baseline, Comparison};
use valgrind::Work;

/// Counts, prints a table, and fails where more is used than the baseline allows.
pub fn check(context: &Context) -> Result {
    let measured = measure(context)?;
    let stored = Baseline::read(&file(context))?;
    let comparison = Comparison::new(&stored, &measured.baseline);
    print!("{}", comparison.table(&measured.nanoseconds));
    if stored.made_with != measured.baseline.made_with {
        let (then, now) = (stored.made_with.join(", "), measured.baseline.made_with.join(", "));
        println!("not judged: the baseline was made with {then}, this is {now}");
        return Ok(());
    }
    comparison.judge()
}

/// Writes what is counted now as the baseline, and prints what changed.
pub fn bless(context: &Context) -> Result {
    let measured = measure(context)?;
    if let Ok(stored) = Baseline::read(&file(context)) {
        let comparison = Comparison::new(&stored, &measured.baseline);
        print!("{}", comparison.table(&measured.nanoseconds));
    }
    measured.baseline.write(&file(context))
}

fn file(context: &Context) -> std::path::PathBuf {
    context.root.join("benches/instructions/baseline.json")
}

struct Measured {
    baseline: Baseline,
    /// Time for each unit without valgrind, to be read only.
    nanoseconds: BTreeMap<String, f64>,
}

/// Built as for Autobahn, whose step has compiled everything else already.
fn measure(context: &Context) -> Result<Measured> {
    debian::ensure(context, "valgrind", "valgrind")?;
    let build = ["build", "--locked", "--profile", "checks", "--example", "instructions"];
    command::run(&mut cargo(context, &build))?;
    let program = context.target.join("checks/examples/instructions");
    let listed = read(&mut command(context, &program))?;
    let names: Vec<_> =
        listed.lines().filter_map(|line| line.strip_prefix("instructions ")).collect();
    if names.is_empty() {
        return Err(format!("{} lists nothing to count", program.display()));
    }
    let works = valgrind::count_all(context, &program, &names)?;
    let each = |value: fn(&Work) -> u64| {
        let of = move |(name, work): (&&str, &Work)| {
            ((*name).to_owned(), value(work) as f64 / work.units as f64)
        };
        names.iter().zip(&works).map(of).collect::<BTreeMap<_, _>>()
    };
    let instructions = each(|work| work.instructions);
    let instructions = instructions.into_iter().map(|(name, count)| (name, count.round() as u64));
    let baseline = Baseline {
        made_with: made_with(context)?,
        instructions: instructions.collect(),
        bytes: bytes(&listed)?,
    };
    Ok(Measured { baseline, nanoseconds: each(|work| work.nanoseconds) })
}

/// `bytes NAME N` of each such line.
fn bytes(listed: &str) -> Result<BTreeMap<String, u64>> {
    let lines = listed.lines().filter_map(|line| line.strip_prefix("bytes "));
    let parsed = lines.map(|line| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    parsed.collect::<Option<_>>().ok_or_else(|| format!("not understood:\n{listed}"))
}

/// What counts depend on, beside the code.
fn made_with(context: &Context) -> Result<Vec<String>> {
    let compiler = read(command(context, "rustc").arg("--version"))?;
    let libc = read(command(context, "getconf").arg("GNU_LIBC_VERSION"))?;
    let words = [compiler.trim(), libc.trim(), std::env::consts::ARCH];
    Ok(words.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read_by_name() {
        let listed = "instructions a\nbytes idle 303\nbytes busy 7\n";
        let expected = [("busy".to_owned(), 7), ("idle".to_owned(), 303)];
        assert_eq!(bytes(listed), Ok(BTreeMap::from(expected)));
        assert!(bytes("bytes idle many\n").is_err());
    }
}
