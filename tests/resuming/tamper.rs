use serde_json::Value;

/// What is done to a client's messages, to prove that the checks bite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An event does not come.
    Lost,
    /// An event comes twice.
    Twice,
    /// Two events of a priority change places.
    Swapped,
    /// A position is told that is ahead of what came.
    Ahead,
}

/// Stands between a connection and its reader; without a fault it does nothing.
#[derive(Debug, Default)]
pub struct Tamper {
    fault: Option<Fault>,
    occasions: u64,
    /// The first of two that are to change places.
    held: Option<Value>,
}

impl Tamper {
    pub fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// What comes of a message.
    pub fn pass(&mut self, mut message: Value) -> Vec<Value> {
        let is_event = message["type"] == "event";
        if let Some(held) = self.held.take() {
            let is_pair = is_event && message["priority"] == held["priority"];
            return if is_pair { vec![message, held] } else { vec![held, message] };
        }
        let fault = self.fault;
        match fault {
            Some(Fault::Lost) if is_event && self.strikes() => Vec::new(),
            Some(Fault::Twice) if is_event && self.strikes() => vec![message.clone(), message],
            Some(Fault::Swapped) if is_event && self.strikes() => {
                self.held = Some(message);
                Vec::new()
            }
            Some(Fault::Ahead) => {
                if matches!(message["type"].as_str(), Some("checkpoint" | "caught_up"))
                    && let Some(seq) = message["seq"].as_u64()
                    && self.strikes()
                {
                    message["seq"] = (seq + 3).into();
                }
                vec![message]
            }
            _ => vec![message],
        }
    }

    fn strikes(&mut self) -> bool {
        const EVERY: u64 = 7;
        self.occasions += 1;
        self.occasions.is_multiple_of(EVERY)
    }
}
