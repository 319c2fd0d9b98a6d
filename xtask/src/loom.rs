//! The models of the wake protocol.

use serde_json::Value;

use crate::Result;
use crate::command::{cargo, command, read, run_tests};
use crate::context::Context;

/// Compiles the library's tests with the models in place of the real thing, and runs the models.
/// Only the library itself is given the `cfg`: with `RUSTFLAGS` everything it depends on would
/// be compiled once more. The models are small: an optimised build costs more than it saves.
pub fn run(context: &Context) -> Result {
    let mut build = cargo(context, &["rustc", "--locked", "--lib", "--profile", "test"]);
    build.args(["--message-format=json-render-diagnostics", "--", "--cfg", "alarmcast_loom"]);
    let models = executable(&read(&mut build)?).ok_or("cargo built no test program")?;
    run_tests(command(context, models).arg("model::")).map(drop)
}

/// The program that cargo's messages name.
fn executable(messages: &str) -> Option<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(str::to_owned)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
             {\"reason\":\"compiler-artifact\",\"executable\":\"/t/alarmcast-1\"}\n\
             {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).as_deref(), Some("/t/alarmcast-1"));
        assert_eq!(executable("{\"executable\":null}\n"), None);
    }
}
