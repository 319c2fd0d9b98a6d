//! File, environment and flags, each read into leaves, the later over the earlier.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::error::{ConfigError, Origin};
use super::schema::{self, Kind, Place};
use crate::base::logged::Logged;

/// Read from the working directory when no other file is named.
pub const FILE_NAME: &str = "alarmcast.toml";
const PREFIX: &str = "ALARMCAST_";
/// Of variables that the test suite reads; no key begins like that.
const TEST_PREFIX: &str = "TEST_";
/// Names the file, as `--config` does.
const FILE_VARIABLE: &str = "ALARMCAST_CONFIG";

/// Where to look for values.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist.
    pub file: Option<PathBuf>,
    /// A file that may exist; used when `file` is none.
    pub optional_file: Option<PathBuf>,
    /// All variables; those without the prefix are ignored.
    pub environment: Vec<(String, String)>,
    pub flags: Vec<Flag>,
}

/// A value from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, such as `stream.listen`.
    pub key: String,
    pub value: String,
    /// The flag as typed, for messages.
    pub typed: String,
}

/// One chosen value.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub path: Vec<String>,
    pub value: Value,
    pub origin: Origin,
}

impl Leaf {
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

impl Sources {
    /// What a started program sees: the file in the working directory and the environment.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, lossy(&value))));
        Self {
            optional_file: Some(FILE_NAME.into()),
            environment: variables.collect(),
            ..Self::default()
        }
    }

    /// Parses `key=value`, as `--set` takes it.
    ///
    /// # Errors
    /// When there is no `=`.
    pub fn add_setting(&mut self, text: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(ConfigError::NotASetting {
                origin: Origin::Flag("--set".into()),
                text: Logged(text).to_string(),
            });
        };
        let typed = format!("--set {}", key.trim());
        self.flags.push(Flag { key: key.trim().into(), value: value.trim().into(), typed });
        Ok(())
    }
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// All leaves, each path once, highest layer wins.
pub fn merge(sources: &Sources) -> Result<Vec<Leaf>, ConfigError> {
    let mut leaves = file_leaves(sources)?;
    for (name, value) in &sources.environment {
        if let Some(leaf) = environment_leaf(name, value)? {
            put(&mut leaves, leaf);
        }
    }
    for flag in &sources.flags {
        put(&mut leaves, flag_leaf(flag)?);
    }
    Ok(leaves)
}

fn put(leaves: &mut Vec<Leaf>, leaf: Leaf) {
    leaves.retain(|other| other.path != leaf.path);
    leaves.push(leaf);
}

fn file_leaves(sources: &Sources) -> Result<Vec<Leaf>, ConfigError> {
    let named = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
    let required = sources.file.clone().or_else(|| named.map(|(_, path)| PathBuf::from(path)));
    let Some(path) = required.clone().or_else(|| sources.optional_file.clone()) else {
        return Ok(Vec::new());
    };
    match fs::read_to_string(&path) {
        Ok(text) => parse_file(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && required.is_none() => Ok(Vec::new()),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

fn parse_file(path: &Path, text: &str) -> Result<Vec<Leaf>, ConfigError> {
    let syntax = |error: toml::de::Error| ConfigError::Syntax {
        path: path.into(),
        message: error.to_string().trim_end().into(),
    };
    let table = DeTable::parse(text).map_err(syntax)?;
    let mut reader = FileReader { path, text, leaves: Vec::new() };
    reader.read(table.get_ref(), &[])?;
    Ok(reader.leaves)
}

struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    leaves: Vec<Leaf>,
}

impl FileReader<'_> {
    fn read(&mut self, table: &DeTable<'_>, above: &[String]) -> Result<(), ConfigError> {
        for (name, value) in table {
            let mut path = above.to_vec();
            path.push(name.get_ref().to_string());
            let origin = Origin::File { path: self.path.into(), line: self.line(name) };
            match (schema::find(&path), value.get_ref()) {
                (Place::Section, DeValue::Table(inner)) => self.read(inner, &path)?,
                (Place::Key(key), value) => {
                    let value = plain(value);
                    self.leaves.push(checked(path, value, key.kind, origin)?);
                }
                (Place::Section, _) => return Err(section(&path, origin)),
                (Place::Unknown, _) => return Err(unknown(path.join("."), origin)),
            }
        }
        Ok(())
    }

    fn line<T>(&self, spanned: &Spanned<T>) -> usize {
        let before = self.text.get(..spanned.span().start).unwrap_or_default();
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }
}

/// The value without its place in the file. Kinds that no key has stay recognisable
/// for the message that refuses them.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Value::Float(f64::INFINITY), Value::Integer),
        DeValue::Float(float) => {
            float.as_str().parse().map_or(Value::Float(f64::NAN), Value::Float)
        }
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| plain(item.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}

fn environment_leaf(name: &str, text: &str) -> Result<Option<Leaf>, ConfigError> {
    let Some(key) = name.strip_prefix(PREFIX) else { return Ok(None) };
    if name == FILE_VARIABLE || key.starts_with(TEST_PREFIX) || is_service_link(key) {
        return Ok(None);
    }
    let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
    let origin = Origin::Environment(name.into());
    match schema::find(&path) {
        Place::Key(key) => checked(path, key.kind.parse(text), key.kind, origin).map(Some),
        Place::Section => Err(section(&path, origin)),
        Place::Unknown => {
            let suggestion = schema::suggest(&path.join(".")).map(variable_name);
            Err(ConfigError::UnknownKey { origin, key: path.join("."), suggestion })
        }
    }
}

fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Kubernetes gives every pod such variables for each service: `ALARMCAST_SERVICE_HOST`,
/// `ALARMCAST_PORT_8080_TCP_ADDR` for a service named alarmcast. They are not settings.
fn is_service_link(key: &str) -> bool {
    let of_service = key.ends_with("SERVICE_HOST") || key.contains("SERVICE_PORT");
    let of_port = key == "PORT" || key.ends_with("_PORT");
    let of_protocol = key.contains("_TCP") || key.contains("_UDP");
    let names_port = key.starts_with("PORT_") || key.contains("_PORT_");
    !key.contains("__") && (of_service || of_port || (names_port && of_protocol))
}

fn flag_leaf(flag: &Flag) -> Result<Leaf, ConfigError> {
    let path: Vec<String> = flag.key.split('.').map(str::to_owned).collect();
    let origin = Origin::Flag(flag.typed.clone());
    match schema::find(&path) {
        Place::Key(key) => checked(path, key.kind.parse(&flag.value), key.kind, origin),
        Place::Section => Err(section(&path, origin)),
        Place::Unknown => Err(unknown(flag.key.clone(), origin)),
    }
}

fn checked(
    path: Vec<String>,
    value: Value,
    kind: Kind,
    origin: Origin,
) -> Result<Leaf, ConfigError> {
    if kind.accepts(&value) {
        return Ok(Leaf { path, value, origin });
    }
    let shown = Logged(&value.to_string()).to_string();
    Err(ConfigError::BadValue {
        origin,
        key: path.join("."),
        value: shown,
        allowed: kind.allowed(),
    })
}

fn unknown(key: String, origin: Origin) -> ConfigError {
    let suggestion = schema::suggest(&key).map(str::to_owned);
    ConfigError::UnknownKey { origin, key: Logged(&key).to_string(), suggestion }
}

fn section(path: &[String], origin: Origin) -> ConfigError {
    let dotted = path.join(".");
    let suggestion = schema::KEYS.iter().find(|key| key.path.starts_with(&dotted));
    let suggestion = suggestion.map(|key| match key.kind {
        Kind::Map(_) => format!("{}.critical", key.path),
        _ => key.path.to_owned(),
    });
    ConfigError::Section { origin, key: dotted, suggestion }
}
