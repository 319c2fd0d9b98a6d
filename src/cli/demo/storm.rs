//! The storm: incidents that live their whole life, many at a time, among background noise.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::scenarios::{BACKGROUND, CHANNELS, PEOPLE, SCENARIOS, Scenario};
use crate::cli::chance::Chance;

/// Incidents alive at one time.
const OPEN_MAX: usize = 12;
/// Of a hundred events.
const BACKGROUND_PERCENT: usize = 15;
const SEVERITIES: [&str; 5] = ["P0", "P1", "P2", "P3", "P4"];

/// An endless, seeded source of events.
#[derive(Debug)]
pub struct Storm {
    chance: Chance,
    open: Vec<Incident>,
}

/// What happens next to an incident.
#[derive(Clone, Copy, Debug)]
enum Step {
    Alert,
    Convert,
    Create,
    State(&'static str),
    Escalate,
    Assign,
    Notify,
    Comment,
    StartPlaybook,
    /// The index among the scenario's actions.
    Act(usize),
    CompletePlaybook,
    Resolve,
    Close,
}

#[derive(Debug)]
struct Incident {
    scenario: &'static Scenario,
    id: Uuid,
    resource: &'static str,
    region: &'static str,
    severity: usize,
    state: &'static str,
    assignees: Vec<&'static str>,
    created_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    last_alert: Option<Value>,
    playbook_id: String,
    steps: VecDeque<Step>,
}

impl Storm {
    pub const fn new(seed: u64) -> Self {
        Self { chance: Chance::from_seed(seed), open: Vec::new() }
    }

    /// The next event, as publishers send it.
    pub fn next_event(&mut self, now: Timestamp) -> Value {
        if self.chance.percent(BACKGROUND_PERCENT) {
            return self.background();
        }
        if self.open.is_empty() || (self.open.len() < OPEN_MAX && self.chance.percent(20)) {
            let incident = Incident::new(&mut self.chance);
            self.open.push(incident);
        }
        let index = self.chance.below(self.open.len());
        let incident = &mut self.open[index];
        let event = incident.next_event(&mut self.chance, now);
        if incident.steps.is_empty() {
            self.open.swap_remove(index);
        }
        event
    }

    fn background(&mut self) -> Value {
        let (category, message) = self.chance.pick(BACKGROUND);
        json!({
            "event_type": "system_event",
            "category": category,
            "message": message,
            "metadata": {
                "region": self.chance.pick(REGIONS),
                "build": format!("2026.{}.{}", 1 + self.chance.below(12), self.chance.below(40)),
            },
        })
    }
}

const REGIONS: &[&str] = &["eu-central", "us-east", "ap-south"];

impl Incident {
    fn new(chance: &mut Chance) -> Self {
        let scenario = &SCENARIOS[chance.below(SCENARIOS.len())];
        let escalates = scenario.severity > 0 && chance.percent(35);
        Self {
            scenario,
            id: chance.uuid(),
            resource: scenario.resources[chance.below(scenario.resources.len())],
            region: REGIONS[chance.below(REGIONS.len())],
            severity: scenario.severity,
            state: "Detected",
            assignees: Vec::new(),
            created_at: None,
            resolved_at: None,
            last_alert: None,
            playbook_id: format!("pb-{:04x}", chance.below(0x1_0000)),
            steps: script(scenario, escalates, chance),
        }
    }

    fn next_event(&mut self, chance: &mut Chance, now: Timestamp) -> Value {
        let step = self.steps.pop_front().unwrap_or(Step::Comment);
        match step {
            Step::Alert => {
                let alert = self.alert(chance, now);
                self.last_alert = Some(alert.clone());
                json!({ "event_type": "alert_received", "alert": alert })
            }
            Step::Convert => {
                let mut alert = self.last_alert.take().unwrap_or_else(|| self.alert(chance, now));
                alert["incident_id"] = json!(self.id);
                self.created_at = Some(now);
                json!({ "event_type": "alert_converted", "alert": alert, "incident_id": self.id })
            }
            Step::Create => {
                json!({ "event_type": "incident_created", "incident": self.incident(now) })
            }
            Step::State(state) => {
                let before = std::mem::replace(&mut self.state, state);
                json!({
                    "event_type": "incident_updated",
                    "incident": self.incident(now),
                    "previous_state": before,
                })
            }
            Step::Resolve => {
                self.state = "Resolved";
                self.resolved_at = Some(now);
                json!({ "event_type": "incident_resolved", "incident": self.incident(now) })
            }
            Step::Close => {
                self.state = "Closed";
                json!({ "event_type": "incident_closed", "incident": self.incident(now) })
            }
            step => self.small_event(step, chance, now),
        }
    }

    /// The events that carry only the incident's id.
    fn small_event(&mut self, step: Step, chance: &mut Chance, now: Timestamp) -> Value {
        let scenario = self.scenario;
        let mut event = match step {
            Step::Escalate => {
                let from = self.severity;
                self.severity = from.saturating_sub(1);
                json!({
                    "event_type": "escalated",
                    "from_severity": SEVERITIES[from],
                    "to_severity": SEVERITIES[self.severity],
                    "reason": "not acknowledged in time, and more customers are affected",
                })
            }
            Step::Assign => {
                let person = *chance.pick(PEOPLE);
                if !self.assignees.contains(&person) {
                    self.assignees.push(person);
                }
                json!({ "event_type": "assignment_changed", "assignees": self.assignees })
            }
            Step::Notify => json!({
                "event_type": "notification_sent",
                "channel": chance.pick(CHANNELS),
                "success": chance.percent(95),
            }),
            Step::StartPlaybook => json!({
                "event_type": "playbook_started",
                "playbook_id": self.playbook_id,
                "playbook_name": scenario.playbook,
            }),
            Step::Act(index) => {
                let success = chance.percent(92);
                json!({
                    "event_type": "playbook_action_executed",
                    "playbook_id": self.playbook_id,
                    "action_name": scenario.actions[index],
                    "success": success,
                    "message": if success { "done" } else { "timed out, tried again" },
                })
            }
            Step::CompletePlaybook => json!({
                "event_type": "playbook_completed",
                "playbook_id": self.playbook_id,
                "success": true,
                "actions_executed": scenario.actions.len(),
            }),
            _ => json!({
                "event_type": "comment_added",
                "author": chance.pick(PEOPLE),
                "comment": chance.pick(scenario.comments),
                "timestamp": now,
            }),
        };
        event["incident_id"] = json!(self.id);
        event
    }

    fn alert(&self, chance: &mut Chance, now: Timestamp) -> Value {
        let name = chance.pick(self.scenario.alerts);
        let id = chance.uuid();
        json!({
            "id": id,
            "external_id": format!("{:016x}", chance.next()),
            "source": self.scenario.source,
            "timestamp": now,
            "severity": SEVERITIES[self.severity],
            "alert_type": self.scenario.incident_type,
            "title": format!("{name} on {}", self.resource),
            "description": self.scenario.description,
            "labels": self.labels(),
            "affected_services": [self.resource],
            "runbook_url": format!("https://runbooks.example/{name}"),
            "deduplicated": self.last_alert.is_some(),
        })
    }

    fn incident(&self, now: Timestamp) -> Value {
        let scenario = self.scenario;
        let mut incident = json!({
            "id": self.id,
            "created_at": self.created_at.unwrap_or(now),
            "updated_at": now,
            "state": self.state,
            "severity": SEVERITIES[self.severity],
            "incident_type": scenario.incident_type,
            "source": scenario.source,
            "title": scenario.title.replace("{}", self.resource),
            "description": scenario.description,
            "affected_resources": [self.resource],
            "labels": self.labels(),
            "assignees": self.assignees,
        });
        if let Some(resolved_at) = self.resolved_at {
            incident["resolution"] = json!({
                "resolved_at": resolved_at,
                "resolved_by": self.assignees.first().copied().unwrap_or("automation"),
                "resolution_method": "AutoAssistedManual",
                "root_cause": scenario.root_cause,
                "notes": format!("Playbook “{}” helped.", scenario.playbook),
            });
        }
        incident
    }

    fn labels(&self) -> Value {
        json!({ "team": self.scenario.team, "region": self.region, "env": "production" })
    }
}

/// An incident's life from its first alert to its close.
fn script(scenario: &Scenario, escalates: bool, chance: &mut Chance) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    // In a storm one cause rings many bells.
    let alerts = if chance.percent(25) { 4 + chance.below(8) } else { 1 + chance.below(3) };
    steps.extend((0..alerts).map(|_| Step::Alert));
    steps.extend([Step::Convert, Step::Create, Step::Notify, Step::State("Triaged"), Step::Assign]);
    if escalates {
        steps.extend([Step::Escalate, Step::Notify, Step::Assign]);
    }
    steps.extend([Step::State("Investigating"), Step::Comment]);
    if chance.percent(60) {
        steps.push_back(Step::Comment);
    }
    steps.extend([Step::StartPlaybook, Step::State("Remediating")]);
    steps.extend((0..scenario.actions.len()).map(Step::Act));
    steps.extend([Step::CompletePlaybook, Step::Comment, Step::Resolve, Step::Notify, Step::Close]);
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::protocol::parse_item;

    fn events(seed: u64, count: usize) -> Vec<Value> {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a moment");
        let mut storm = Storm::new(seed);
        (0..count).map(|_| storm.next_event(now)).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_storm() {
        assert_eq!(events(7, 500), events(7, 500));
        assert_ne!(events(7, 500), events(8, 500));
    }

    #[test]
    fn every_event_is_valid_and_every_type_occurs() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a moment");
        let mut types = BTreeMap::new();
        for event in events(1, 5_000) {
            let parsed = parse_item(event.clone(), now);
            let publish = parsed.unwrap_or_else(|error| panic!("{error}: {event}"));
            *types.entry(publish.payload.event_type().to_string()).or_insert(0) += 1;
        }
        assert_eq!(types.len(), 14, "{types:?}");
    }

    #[test]
    fn an_incident_is_created_before_it_is_resolved_before_it_is_closed() {
        let mut seen = BTreeMap::new();
        for event in events(3, 5_000) {
            let Some(id) = event["incident"]["id"].as_str() else { continue };
            let life =
                ["incident_created", "incident_updated", "incident_resolved", "incident_closed"];
            let stage = life.iter().position(|name| event["event_type"] == *name);
            let before = seen.insert(id.to_owned(), stage);
            assert!(before.unwrap_or(None) <= stage, "seed 3: {event}");
            assert!(before.is_some() || stage == Some(0), "seed 3: {event}");
        }
        assert!(seen.len() > 50);
    }
}
