//! Scenarios as files: a flat TOML table of the scenario's flags, read as its command line.

use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, CommandFactory, Parser};
use toml::{Table, Value};

use crate::Error;
use crate::args::{Cli, Command};

/// The key that names the scenario.
const SCENARIO: &str = "scenario";

/// Reads a file, with keys that are set instead of its own; the arguments that it stands for, and
/// what they mean.
///
/// # Errors
/// When the file cannot be read, or has a key or value that the scenario does not take.
pub fn read(path: &Path, sets: &[String]) -> Result<(Vec<String>, Command), Error> {
    let text =
        fs::read_to_string(path).map_err(Error::io(format!("cannot read {}", path.display())))?;
    understand(&text, sets).map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
}

fn understand(text: &str, sets: &[String]) -> Result<(Vec<String>, Command), String> {
    let mut table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    for set in sets {
        let (key, value) = set.split_once('=').ok_or(format!("--set {set}: it takes KEY=VALUE"))?;
        table.insert(key.trim().to_owned(), Value::String(value.trim().to_owned()));
    }
    let arguments = arguments(table)?;
    let parsed = Cli::try_parse_from(&arguments).map_err(|error| {
        // Without how the program is used: a file is.
        let text = error.to_string();
        let what = text.split("\n\n").next().unwrap_or_default();
        what.trim_start_matches("error: ").to_owned()
    })?;
    Ok((arguments, parsed.command))
}

fn arguments(mut table: Table) -> Result<Vec<String>, String> {
    let program = Cli::command();
    let scenarios = || program.get_subcommands().filter(|command| flag(command, "json").is_some());
    let Some(Value::String(name)) = table.remove(SCENARIO) else {
        let names: Vec<_> = scenarios().map(clap::Command::get_name).collect();
        return Err(format!("it needs `{SCENARIO}`, one of {}", names.join(", ")));
    };
    let Some(scenario) = scenarios().find(|command| command.get_name() == name) else {
        let names = scenarios().map(clap::Command::get_name);
        return Err(format!("`{name}` is no scenario{}", suggestion(&name, names)));
    };
    let mut arguments = vec![program.get_name().to_owned(), name.clone()];
    for (key, value) in table {
        let Some(arg) = flag(scenario, &key) else {
            let keys = scenario.get_arguments().filter_map(Arg::get_long);
            return Err(format!("`{name}` has no key `{key}`{}", suggestion(&key, keys)));
        };
        match (arg.get_action(), &value) {
            (ArgAction::SetTrue, Value::Boolean(true)) => arguments.push(format!("--{key}")),
            (ArgAction::SetTrue, Value::Boolean(false)) => {}
            (ArgAction::SetTrue, Value::String(text)) if text == "true" => {
                arguments.push(format!("--{key}"));
            }
            (ArgAction::SetTrue, Value::String(text)) if text == "false" => {}
            (ArgAction::SetTrue, _) => return Err(format!("`{key}` is true or false")),
            (_, value) => arguments.push(format!("--{key}={}", text_of(&key, value)?)),
        }
    }
    Ok(arguments)
}

fn flag<'a>(command: &'a clap::Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(key))
}

/// As it would be written on the command line.
fn text_of(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Array(values) => {
            let texts: Result<Vec<_>, _> = values.iter().map(|it| text_of(key, it)).collect();
            Ok(texts?.join(","))
        }
        Value::Table(_) => serde_json::to_string(value).map_err(|error| error.to_string()),
        Value::Boolean(_) | Value::Datetime(_) => Err(format!("`{key}` takes another value")),
    }
}

/// The name that was probably meant.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    const LIKENESS_MIN: f64 = 0.75;
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    match best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN) {
        Some((_, known)) => format!("; did you mean `{known}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn refused(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        understand(text, &sets).expect_err(text)
    }

    #[test]
    fn every_scenario_has_a_file_that_can_be_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).expect("there are files") {
            let path = entry.expect("a file").path();
            let (arguments, command) =
                read(&path, &["server-pid=1".to_owned()]).unwrap_or_else(|error| panic!("{error}"));
            let program = PathBuf::from("program");
            let settings = match command {
                Command::Fanout(args) => args.settings(program).map(drop),
                Command::Idle(args) => args.settings(program).map(drop),
                Command::Churn(args) => args.settings(program).map(drop),
                Command::Mixed(args) => args.settings(program).map(drop),
                Command::Filtered(args) => args.settings(program).map(drop),
                Command::Priorities(args) => args.settings(program).map(drop),
                Command::Slow(args) => args.settings().map(drop),
                Command::Stalled(args) => args.settings(program).map(drop),
                Command::Storm(args) => args.settings().map(drop),
                Command::Run(_) | Command::Report(_) | Command::Worker => {
                    panic!("{arguments:?} is no scenario")
                }
            };
            settings.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert_eq!(arguments[1], stem, "a file is named for its scenario");
            found.insert(stem);
        }
        let program = Cli::command();
        let scenarios = program.get_subcommands().filter(|command| flag(command, "json").is_some());
        let scenarios: BTreeSet<_> = scenarios.map(|it| it.get_name().to_owned()).collect();
        assert_eq!(found, scenarios);
    }

    #[test]
    fn values_are_those_of_the_flags_and_may_be_set() {
        let text = r#"
            scenario = "fanout"
            connections = 70
            rate = 2.5
            source-addresses = ["127.0.0.2", "127.0.0.3"]
            filters = { sources = ["load"] }
            expect-drain = true
        "#;
        let sets = ["connections=80", "json = true", "expect-drain=false"].map(str::to_owned);
        let (_, command) = understand(text, &sets).expect("a good file");
        let Command::Fanout(args) = command else { panic!("{command:?}") };
        assert_eq!((args.crowd.connecting.connections, args.crowd.rate), (80, 2.5));
        assert_eq!(args.crowd.connecting.source_addresses.len(), 2);
        assert_eq!(args.filters, serde_json::json!({"sources": ["load"]}));
        assert!(args.crowd.result.json && !args.expect_drain);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_probably_meant() {
        let unknown = refused("scenario = \"fanout\"\nconections = 1\n", &[]);
        assert_eq!(unknown, "`fanout` has no key `conections`; did you mean `connections`?");
        let unknown = refused("scenario = \"fanuot\"\n", &[]);
        assert_eq!(unknown, "`fanuot` is no scenario; did you mean `fanout`?");
        for (text, sets, why) in [
            ("", &[][..], "it needs `scenario`, one of fanout, "),
            ("scenario = \"report\"", &[], "`report` is no scenario"),
            ("scenario = \"idle\"\nhold = \"long\"", &[], "invalid value 'long' for '--hold"),
            ("scenario = \"idle\"\nhold = true", &[], "`hold` takes another value"),
            ("scenario = \"idle\"\njson = 1", &[], "`json` is true or false"),
            ("scenario = \"idle\"", &["hold"], "it takes KEY=VALUE"),
            ("scenario = \"idle\"", &["stay=1"], "no key `stay`"),
            ("scenario = ", &[], "line 1"),
        ] {
            let error = refused(text, sets);
            assert!(error.contains(why), "{text} {sets:?}: {error}");
            assert!(!error.contains("Usage"), "{error}");
        }
    }
}
