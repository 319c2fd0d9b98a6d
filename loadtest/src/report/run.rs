//! One result, as a report needs it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::results::{self, About, ResultFile};
use crate::series::Series;

#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder's.
    pub name: String,
    pub about: About,
    pub figures: Figures,
    /// Those that are shown.
    pub series: Vec<Series>,
}

/// What scenarios with many connections measure; absent where one does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub is_ok: bool,
    pub connections: Option<f64>,
    pub deliveries_per_second: Option<f64>,
    pub cpu_us_per_delivery: Option<f64>,
    pub user_us_per_delivery: Option<f64>,
    /// Of resident user-space memory.
    pub bytes_per_connection: Option<f64>,
}

/// Reads results; of their series those that are asked for, or all but those that are counted
/// from requests.
///
/// # Errors
/// When a folder is no result, or none has a series that is asked for.
pub fn read(folders: &[PathBuf], names: &[String]) -> Result<Vec<Run>, Error> {
    let is_shown = |series: &Series| match names {
        [] => !series.name.ends_with("-from-request"),
        names => names.contains(&series.name),
    };
    let runs: Vec<Run> = folders
        .iter()
        .map(|folder| {
            let (ResultFile { about, result, .. }, series) = results::read(folder)?;
            let series = series.into_iter().filter(is_shown).collect();
            Ok(Run { name: name(folder), about, figures: Figures::of(&result), series })
        })
        .collect::<Result<_, Error>>()?;
    for asked in names {
        if !runs.iter().flat_map(|run| &run.series).any(|series| series.name == *asked) {
            return Err(Error::Usage(format!("no result has a series `{asked}`")));
        }
    }
    Ok(runs)
}

/// A folder's own name, also of `.`.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned()
}

impl Run {
    /// What results with the same name here make one curve of.
    pub fn label(&self) -> &str {
        self.about.label.as_deref().unwrap_or(&self.about.scenario)
    }
}

impl Figures {
    fn of(result: &Value) -> Self {
        // Of scenarios that are a fan-out and more, the fan-out.
        let fanout = result.get("fanout").unwrap_or(result);
        let number = |pointer: &str| fanout.pointer(pointer).and_then(Value::as_f64);
        let above_zero = |pointer: &str| number(pointer).filter(|&number| number > 0.0);
        Self {
            is_ok: result["ok"].as_bool().unwrap_or(false),
            connections: number("/connections/subscribed").or_else(|| number("/connections")),
            deliveries_per_second: above_zero("/deliveries/per_second"),
            cpu_us_per_delivery: above_zero("/server/cpu_us_per_delivery"),
            user_us_per_delivery: above_zero("/server/user_us_per_delivery"),
            bytes_per_connection: above_zero("/server/rss_bytes_per_connection"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_found_in_a_fan_out_and_in_what_holds_one() {
        let fanout = json!({
            "ok": true,
            "connections": {"asked": 10, "subscribed": 9},
            "deliveries": {"per_second": 200.5},
            "server": {"cpu_us_per_delivery": 5.0, "rss_bytes_per_connection": 480.0},
        });
        let expected = Figures {
            is_ok: true,
            connections: Some(9.0),
            deliveries_per_second: Some(200.5),
            cpu_us_per_delivery: Some(5.0),
            user_us_per_delivery: None,
            bytes_per_connection: Some(480.0),
        };
        assert_eq!(Figures::of(&fanout), expected);
        assert_eq!(Figures::of(&json!({"ok": true, "fanout": fanout})), expected);
        let storm = Figures::of(&json!({"ok": false, "connections": 5_000}));
        assert_eq!(storm, Figures { connections: Some(5_000.0), ..Figures::default() });
    }
}
