#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which driver the shards are to use, as the operator says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverChoice {
    /// io_uring where [`super::probe_uring`] finds it, else epoll.
    #[default]
    Auto,
    Uring,
    Epoll,
}

impl DriverChoice {
    pub const NAMES: [&'static str; 3] = ["auto", "uring", "epoll"];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown driver {0:?}: auto, uring or epoll")]
pub struct UnknownDriver(pub String);

impl FromStr for DriverChoice {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, UnknownDriver> {
        let choices = [Self::Auto, Self::Uring, Self::Epoll];
        let found = choices.into_iter().find(|choice| choice.name() == name);
        found.ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text_and_json() {
        for name in DriverChoice::NAMES {
            let choice: DriverChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
            assert_eq!(serde_json::to_string(&choice).unwrap(), format!("\"{name}\""));
        }
        assert!("kqueue".parse::<DriverChoice>().is_err());
    }
}
