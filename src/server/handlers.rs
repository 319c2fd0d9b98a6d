//! Publishing from inside the process: a handler per kind of event, each method of which
//! hands one event to the hub and gives its receipt.

use uuid::Uuid;

use crate::base::clock::Clock;
use crate::event::{
    Alert, AlertConverted, AlertReceived, AssignmentChanged, CommentAdded, Escalated, Extra,
    Incident, IncidentEvent, IncidentState, IncidentUpdated, NotificationSent, Payload,
    PlaybookActionExecuted, PlaybookCompleted, PlaybookStarted, Publish, Severity, SystemEvent,
};
use crate::hub::{PublishError, PublishReceipt, Publisher};
use crate::protocol;

/// What every method gives: the receipt, to be waited for or awaited.
type Result = std::result::Result<PublishReceipt, PublishError>;

/// The publishing handlers of a server; cheap to clone, usable from any thread.
///
/// An event counts as published when its receipt says so. An error means that nothing was
/// taken: the event is against the rules that hold for every publisher (lengths, sizes),
/// the queue is full, or the server is ending.
#[derive(Clone, Debug)]
pub struct Publishing {
    publisher: Publisher,
    clock: Clock,
}

impl Publishing {
    pub(super) fn new(publisher: Publisher, clock: Clock) -> Self {
        Self { publisher, clock }
    }

    /// For events of any kind, batches, context and idempotency keys.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub fn incidents(&self) -> Incidents<'_> {
        Incidents(self)
    }

    pub fn alerts(&self) -> Alerts<'_> {
        Alerts(self)
    }

    pub fn escalations(&self) -> Escalations<'_> {
        Escalations(self)
    }

    pub fn playbooks(&self) -> Playbooks<'_> {
        Playbooks(self)
    }

    pub fn notifications(&self) -> Notifications<'_> {
        Notifications(self)
    }

    pub fn assignments(&self) -> Assignments<'_> {
        Assignments(self)
    }

    pub fn comments(&self) -> Comments<'_> {
        Comments(self)
    }

    pub fn system(&self) -> System<'_> {
        System(self)
    }

    /// The wall clock that the server labels events with: for the times of what is published.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.wall()
    }

    fn publish(&self, payload: Payload) -> Result {
        let publish = Publish::from(payload);
        protocol::publish::check(&publish).map_err(PublishError::Invalid)?;
        self.publisher.publish(vec![publish])
    }
}

/// Publishes what happens to incidents.
#[derive(Clone, Copy, Debug)]
pub struct Incidents<'a>(&'a Publishing);

impl Incidents<'_> {
    pub fn created(&self, incident: Incident) -> Result {
        self.0.publish(Payload::IncidentCreated(whole(incident)))
    }

    pub fn updated(&self, incident: Incident, previous_state: Option<IncidentState>) -> Result {
        let incident = Box::new(incident);
        self.0.publish(Payload::IncidentUpdated(IncidentUpdated {
            incident,
            previous_state,
            extra: Extra::new(),
        }))
    }

    pub fn resolved(&self, incident: Incident) -> Result {
        self.0.publish(Payload::IncidentResolved(whole(incident)))
    }

    pub fn closed(&self, incident: Incident) -> Result {
        self.0.publish(Payload::IncidentClosed(whole(incident)))
    }
}

fn whole(incident: Incident) -> IncidentEvent {
    IncidentEvent { incident: Box::new(incident), extra: Extra::new() }
}

/// Publishes what happens to alerts.
#[derive(Clone, Copy, Debug)]
pub struct Alerts<'a>(&'a Publishing);

impl Alerts<'_> {
    pub fn received(&self, alert: Alert) -> Result {
        let alert = Box::new(alert);
        self.0.publish(Payload::AlertReceived(AlertReceived { alert, extra: Extra::new() }))
    }

    /// The alert became, or joined, an incident.
    pub fn converted(&self, alert: Alert, incident_id: Uuid) -> Result {
        self.0.publish(Payload::AlertConverted(AlertConverted {
            alert: Box::new(alert),
            incident_id,
            extra: Extra::new(),
        }))
    }
}

/// Publishes changes of an incident's severity.
#[derive(Clone, Copy, Debug)]
pub struct Escalations<'a>(&'a Publishing);

impl Escalations<'_> {
    pub fn escalated(
        &self,
        incident_id: Uuid,
        from_severity: Severity,
        to_severity: Severity,
        reason: impl Into<String>,
    ) -> Result {
        let reason = reason.into();
        self.0.publish(Payload::Escalated(Escalated {
            incident_id,
            from_severity,
            to_severity,
            reason,
            extra: Extra::new(),
        }))
    }
}

/// Publishes the runs of playbooks.
#[derive(Clone, Copy, Debug)]
pub struct Playbooks<'a>(&'a Publishing);

impl Playbooks<'_> {
    pub fn started(
        &self,
        incident_id: Uuid,
        playbook_id: impl Into<String>,
        playbook_name: impl Into<String>,
    ) -> Result {
        self.0.publish(Payload::PlaybookStarted(PlaybookStarted {
            incident_id,
            playbook_id: playbook_id.into(),
            playbook_name: playbook_name.into(),
            extra: Extra::new(),
        }))
    }

    pub fn action_executed(
        &self,
        incident_id: Uuid,
        playbook_id: impl Into<String>,
        action_name: impl Into<String>,
        success: bool,
        message: impl Into<String>,
    ) -> Result {
        self.0.publish(Payload::PlaybookActionExecuted(PlaybookActionExecuted {
            incident_id,
            playbook_id: playbook_id.into(),
            action_name: action_name.into(),
            success,
            message: message.into(),
            extra: Extra::new(),
        }))
    }

    pub fn completed(
        &self,
        incident_id: Uuid,
        playbook_id: impl Into<String>,
        success: bool,
        actions_executed: u64,
    ) -> Result {
        self.0.publish(Payload::PlaybookCompleted(PlaybookCompleted {
            incident_id,
            playbook_id: playbook_id.into(),
            success,
            actions_executed,
            extra: Extra::new(),
        }))
    }
}

/// Publishes that somebody was notified, or could not be.
#[derive(Clone, Copy, Debug)]
pub struct Notifications<'a>(&'a Publishing);

impl Notifications<'_> {
    pub fn sent(&self, incident_id: Uuid, channel: impl Into<String>, success: bool) -> Result {
        let channel = channel.into();
        self.0.publish(Payload::NotificationSent(NotificationSent {
            incident_id,
            channel,
            success,
            extra: Extra::new(),
        }))
    }
}

/// Publishes who works on an incident.
#[derive(Clone, Copy, Debug)]
pub struct Assignments<'a>(&'a Publishing);

impl Assignments<'_> {
    pub fn changed(&self, incident_id: Uuid, assignees: Vec<String>) -> Result {
        self.0.publish(Payload::AssignmentChanged(AssignmentChanged {
            incident_id,
            assignees,
            extra: Extra::new(),
        }))
    }
}

/// Publishes comments on incidents.
#[derive(Clone, Copy, Debug)]
pub struct Comments<'a>(&'a Publishing);

impl Comments<'_> {
    /// A comment that was made now.
    pub fn added(
        &self,
        incident_id: Uuid,
        author: impl Into<String>,
        comment: impl Into<String>,
    ) -> Result {
        self.0.publish(Payload::CommentAdded(CommentAdded {
            incident_id,
            author: author.into(),
            comment: comment.into(),
            timestamp: self.0.now().into(),
            extra: Extra::new(),
        }))
    }
}

/// Publishes what concerns the incident manager itself.
#[derive(Clone, Copy, Debug)]
pub struct System<'a>(&'a Publishing);

impl System<'_> {
    pub fn event(
        &self,
        category: impl Into<String>,
        message: impl Into<String>,
        metadata: impl IntoIterator<Item = (String, String)>,
    ) -> Result {
        self.0.publish(Payload::SystemEvent(SystemEvent {
            category: category.into(),
            message: message.into(),
            metadata: metadata.into_iter().collect(),
            extra: Extra::new(),
        }))
    }
}
