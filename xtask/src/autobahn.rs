//! Autobahn's test suite against the echo example, judged by
//! `tests/autobahn/expected.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::Result;
use crate::command::{self, cargo, command};
use crate::context::Context;
use crate::tools::python;

/// Runs the cases of sections 1 to 11 on `driver`.
pub fn run(context: &Context, driver: &str) -> Result {
    let wstest = python::wstest(context)?;
    let echo = ["build", "--locked", "--profile", "checks", "--example", "echo"];
    command::run(&mut cargo(context, &echo))?;
    let dir = context.target.join("autobahn").join(driver);
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let index = {
        let server = Echo::start(context, driver)?;
        fuzz(context, &wstest, driver, &server.url, &dir)?
    };
    let expected = outcomes(&read_json(&context.root.join("tests/autobahn/expected.json"))?)?;
    let actual = outcomes(&read_json(&index)?[driver])?;
    let differences = differences(&expected, &actual);
    if differences.is_empty() {
        println!("{} cases, each as expected", actual.len());
        return Ok(());
    }
    Err(format!(
        "{} differences; details are in {}\n{}",
        differences.len(),
        dir.display(),
        differences.join("\n")
    ))
}

/// The echo example as a child, ended on drop.
struct Echo {
    child: Child,
    url: String,
}

impl Echo {
    fn start(context: &Context, driver: &str) -> Result<Self> {
        let mut echo = command(context, context.target.join("checks/examples/echo"));
        echo.args(["--listen", "127.0.0.1:0", "--driver", driver]).stdout(Stdio::piped());
        let child = echo.spawn().map_err(|error| format!("echo did not start: {error}"))?;
        let mut server = Self { child, url: String::new() };
        let mut line = String::new();
        if let Some(stdout) = server.child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        server.url = url.ok_or_else(|| format!("echo's first line was {line:?}"))?;
        Ok(server)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("echo could not be ended: {error}");
        }
    }
}

/// Runs the suite and returns its index of results.
fn fuzz(context: &Context, wstest: &Path, agent: &str, url: &str, dir: &Path) -> Result<PathBuf> {
    let mut spec = read_json(&context.root.join("tests/autobahn/fuzzingclient.json"))?;
    spec["outdir"] = json!(dir);
    spec["servers"] = json!([{"agent": agent, "url": url}]);
    let spec_file = dir.join("spec.json");
    fs::write(&spec_file, spec.to_string()).map_err(|error| error.to_string())?;
    let log = File::create(dir.join("wstest.log")).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    // A server that hangs must not hang the checks: it takes 20 s when healthy.
    let mut suite = command(context, "timeout");
    suite.arg("--kill-after=5").arg("600").arg(wstest).args(["-m", "fuzzingclient", "-s"]);
    suite.arg(spec_file).env("PYTHONWARNINGS", "ignore").stdout(log).stderr(errors);
    command::run(&mut suite)?;
    Ok(dir.join("index.json"))
}

/// What a case came to: `behavior` and `behaviorClose`.
type Outcomes = BTreeMap<String, (String, String)>;

fn outcomes(cases: &Value) -> Result<Outcomes> {
    let cases = cases.as_object().ok_or("the results are not an object")?;
    let word = |case: &Value, field: &str| case[field].as_str().unwrap_or("missing").to_owned();
    let outcome = |case: &Value| (word(case, "behavior"), word(case, "behaviorClose"));
    Ok(cases.iter().map(|(id, case)| (id.clone(), outcome(case))).collect())
}

fn differences(expected: &Outcomes, actual: &Outcomes) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, wanted) in expected {
        match actual.get(id) {
            None => lines.push(format!("{id}: missing")),
            Some(got) if got != wanted => {
                lines.push(format!("{id}: {} / {}, expected {wanted:?}", got.0, got.1));
            }
            Some(_) => {}
        }
    }
    let unknown = actual.keys().filter(|id| !expected.contains_key(*id));
    lines.extend(unknown.map(|id| format!("{id}: not in the expected file")));
    lines
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cases: Value) -> Outcomes {
        outcomes(&cases).unwrap()
    }

    #[test]
    fn a_case_that_is_missing_worse_unclean_or_new_is_a_difference() {
        let ok = json!({"behavior": "OK", "behaviorClose": "OK"});
        let expected = parse(json!({"1.1.1": ok, "1.1.2": ok, "1.1.3": ok, "2.1": ok}));
        let actual = parse(json!({
            "1.1.1": {"behavior": "NON-STRICT", "behaviorClose": "OK"},
            "1.1.2": {"behavior": "OK", "behaviorClose": "UNCLEAN"},
            "1.1.3": ok,
            "9.9.9": ok,
        }));
        assert_eq!(
            differences(&expected, &actual),
            [
                "1.1.1: NON-STRICT / OK, expected (\"OK\", \"OK\")",
                "1.1.2: OK / UNCLEAN, expected (\"OK\", \"OK\")",
                "2.1: missing",
                "9.9.9: not in the expected file",
            ]
        );
        assert!(differences(&expected, &expected).is_empty());
    }

    /// The suite has no case in sections 8 and 11.
    #[test]
    fn the_expected_file_excuses_only_what_the_suite_calls_informational() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/autobahn/expected.json");
        let expected = outcomes(&read_json(Path::new(file)).unwrap()).unwrap();
        let (fine, excused): (Vec<_>, Vec<_>) =
            expected.iter().partition(|(_, (behavior, close))| behavior == "OK" && close == "OK");
        assert_eq!(fine.len(), 298);
        let excused: Vec<_> = excused.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(excused, ["7.1.6", "7.13.1", "7.13.2"]);
        let sections = [("1", 16), ("2", 11), ("3", 7), ("4", 10), ("5", 20), ("6", 145)];
        for (section, count) in sections.into_iter().chain([("7", 37), ("9", 54), ("10", 1)]) {
            let of_section = |id: &&String| id.split('.').next() == Some(section);
            assert_eq!(expected.keys().filter(of_section).count(), count, "section {section}");
        }
    }
}
