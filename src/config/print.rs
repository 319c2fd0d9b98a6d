//! The configuration as TOML for people.

use std::fmt::Write;

use toml::{Table, Value};

use super::schema::{KEYS, Key, Kind};
use super::{Config, Loaded, model};

/// Every key; the origin follows where the value is not a default.
pub fn effective(loaded: &Loaded) -> String {
    let table = model::table_of(&loaded.config);
    render(&table, |key| loaded.origins.get(key).map(|origin| format!(" # {origin}")), false)
}

/// Every key with its description.
pub fn documented_defaults() -> String {
    render(&model::default_table(), |_| None, true)
}

/// The keys whose values are not the same.
pub fn differences(one: &Config, other: &Config) -> Vec<&'static str> {
    let (one, other) = (model::table_of(one), model::table_of(other));
    let differs = |key: &&Key| lookup(&one, key.path) != lookup(&other, key.path);
    KEYS.iter().filter(differs).map(|key| key.path).collect()
}

fn render(table: &Table, note: impl Fn(&str) -> Option<String>, describe: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let (prefix, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let header = if matches!(key.kind, Kind::Map(_)) { key.path } else { prefix };
        let new_section = header != section;
        if new_section {
            section = header;
            let gap = if text.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}[{header}]").expect("writing to a string");
        }
        if describe {
            describe_key(&mut text, key);
        }
        match lookup(table, key.path) {
            Some(Value::Table(map)) => {
                for (name, value) in map {
                    let note = note(&format!("{}.{name}", key.path)).unwrap_or_default();
                    writeln!(text, "{} = {value}{note}", key_text(name))
                        .expect("writing to a string");
                }
            }
            Some(value) => {
                let note = note(key.path).unwrap_or_default();
                writeln!(text, "{name} = {value}{note}").expect("writing to a string");
            }
            None => {}
        }
    }
    text
}

fn describe_key(text: &mut String, key: &Key) {
    let allowed = match key.kind {
        Kind::LogFilter | Kind::Boolean | Kind::Text | Kind::UrlPath | Kind::Address => {
            String::new()
        }
        kind => format!(" ({})", kind.allowed()),
    };
    writeln!(text, "# {}{allowed}", key.about).expect("writing to a string");
}

/// The name bare where TOML allows it, else quoted.
fn key_text(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        Value::String(name.to_owned()).to_string()
    }
}

fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = table.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_table()?.get(name))
}
