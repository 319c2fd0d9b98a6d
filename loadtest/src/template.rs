//! How a server that is not Alarmcast is spoken to, as a file in TOML says.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Stands for an event's JSON in what is published.
const EVENT: &str = "{event}";
/// Stands for the length of that in bytes.
const EVENT_BYTES: &str = "{event_bytes}";

/// A server, as far as a fan-out has to know it. A delivery is any message with a load event's
/// mark in it, however it is wrapped, and needs no description.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    #[serde(default)]
    pub subscribe: Subscribe,
    pub publish: Publish,
}

/// How a connection becomes a subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Path and query to connect to; absent: those of `--url`.
    pub path: Option<String>,
    /// The text to send once connected; absent: who is connected is subscribed.
    pub text: Option<String>,
    /// What is in the message that confirms it; absent: nothing does.
    pub confirmed_by: Option<String>,
}

/// How an event is published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "over", rename_all = "lowercase", deny_unknown_fields)]
pub enum Publish {
    /// By a POST to `--control`, one for each event; any status of success is good.
    Http {
        path: String,
        #[serde(default = "json")]
        content_type: String,
        #[serde(default = "bare_event")]
        body: String,
    },
    /// By a text message to the host of `--url`, all on one connection.
    WebSocket {
        path: String,
        /// What is sent before the first event.
        first: Option<String>,
        #[serde(default = "bare_event")]
        text: String,
    },
}

impl Template {
    /// # Errors
    /// When the file cannot be read, or is no template.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path)
            .map_err(Error::io(format!("cannot read {}", path.display())))?;
        Self::parse(&text).map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let template: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        template.check().map(|()| template)
    }

    fn check(&self) -> Result<(), String> {
        let (Publish::Http { path, body, .. } | Publish::WebSocket { path, text: body, .. }) =
            &self.publish;
        if !body.contains(EVENT) {
            return Err(format!("what is published lacks {EVENT}"));
        }
        let mut paths = self.subscribe.path.iter().chain([path]);
        match paths.find(|path| !path.starts_with('/')) {
            Some(path) => Err(format!("a path starts with `/`, unlike `{path}`")),
            None => Ok(()),
        }
    }
}

/// What is published: `template` with the event put in.
pub fn filled(template: &str, event: &str) -> String {
    template.replace(EVENT_BYTES, &event.len().to_string()).replace(EVENT, event)
}

fn json() -> String {
    "application/json".to_owned()
}

fn bare_event() -> String {
    EVENT.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_that_comes_along_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers");
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("there are templates") {
            let path = entry.expect("a file").path();
            Template::read(&path).unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn what_is_left_out_has_a_meaning() {
        let template = Template::parse("publish = { over = \"http\", path = \"/pub\" }");
        let publish = Publish::Http {
            path: "/pub".to_owned(),
            content_type: "application/json".to_owned(),
            body: "{event}".to_owned(),
        };
        assert_eq!(template, Ok(Template { subscribe: Subscribe::default(), publish }));
    }

    #[test]
    fn what_could_not_work_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "missing field `publish`"),
            ("publish = { over = \"smtp\", path = \"/\" }", "smtp"),
            ("publish = { over = \"http\", path = \"pub\" }", "`pub`"),
            ("publish = { over = \"http\", path = \"/\", body = \"x\" }", "lacks {event}"),
            ("publish = { over = \"http\", path = \"/\", first = \"x\" }", "first"),
            ("subscribed = { }\npublish = { over = \"http\", path = \"/\" }", "subscribed"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_event_is_put_in_with_its_length() {
        let text = filled("PUB load {event_bytes}\r\n{event}\r\n", r#"{"a":"é"}"#);
        assert_eq!(text, "PUB load 10\r\n{\"a\":\"é\"}\r\n");
    }
}
