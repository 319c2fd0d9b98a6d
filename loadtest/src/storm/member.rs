//! One subscriber of a storm, without its socket: it remembers where it was.

use serde_json::{Value, json};

use crate::events::EventCache;
use crate::target::Target;
use crate::wire::frame::{self, Kind, Step};
use crate::wire::message::{Mark, Message};
use crate::wire::upgrade::{Answer, JSON_SUBPROTOCOL, Upgrade};

/// A subscriber over all its connections.
#[derive(Debug, Default)]
pub struct Member {
    phase: Phase,
    /// Where it comes back to: the last event that came. All are of one priority and come in
    /// order.
    pub place: Option<Place>,
    /// Told as lost, and not yet passed.
    told: u64,
    pub counts: Counts,
}

#[derive(Clone, Debug)]
pub struct Place {
    epoch: Box<str>,
    pub seq: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub replayed: u64,
    pub holes: u64,
    pub duplicates: u64,
    pub dropped: u64,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Away,
    Upgrading(Upgrade),
    Greeting,
    CatchingUp,
    Live,
}

/// What the caller has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    CaughtUp,
    Event(Mark),
    /// It is to come back, perhaps not before so many milliseconds.
    Ended {
        why: String,
        after_ms: Option<u64>,
    },
}

impl Member {
    /// Starts the upgrade; its request goes to `output`.
    pub fn start(&mut self, target: &Target, output: &mut Vec<u8>) {
        let (upgrade, request) = Upgrade::start(&target.host, &target.path, Some(JSON_SUBPROTOCOL));
        output.extend_from_slice(&request);
        self.phase = Phase::Upgrading(upgrade);
    }

    /// The connection is gone.
    pub fn leave(&mut self) {
        self.phase = Phase::Away;
        self.told = 0;
    }

    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Takes what was received: how much of it. Answers go to `output`, what matters to `news`.
    pub fn handle_input(
        &mut self,
        input: &[u8],
        events: &mut EventCache,
        output: &mut Vec<u8>,
        news: &mut Vec<News>,
    ) -> usize {
        let mut bytes = 0;
        if let Phase::Upgrading(upgrade) = &self.phase {
            match upgrade.read_answer(input) {
                Ok(Answer::Incomplete) => return 0,
                Ok(Answer::Accepted { head_bytes }) => bytes = head_bytes,
                Ok(Answer::Refused { status, retry_after_secs }) => {
                    let after_ms = retry_after_secs.map(|secs| secs.saturating_mul(1_000));
                    news.push(News::Ended { why: format!("HTTP {status}"), after_ms });
                    return input.len();
                }
                Err(error) => {
                    news.push(News::Ended { why: error.to_string(), after_ms: None });
                    return input.len();
                }
            }
            self.phase = Phase::Greeting;
        }
        loop {
            match frame::read(&input[bytes..]) {
                Ok(Step::Incomplete { .. }) => return bytes,
                Ok(Step::Frame { kind, payload, bytes: frame_bytes }) => {
                    self.handle_frame(kind, payload, events, output, news);
                    bytes += frame_bytes;
                }
                Err(error) => {
                    news.push(News::Ended { why: error.to_string(), after_ms: None });
                    return input.len();
                }
            }
        }
    }

    fn handle_frame(
        &mut self,
        kind: Kind,
        payload: &[u8],
        events: &mut EventCache,
        output: &mut Vec<u8>,
        news: &mut Vec<News>,
    ) {
        match kind {
            Kind::Ping => frame::write(Kind::Pong, payload, output),
            Kind::Pong | Kind::Binary => {}
            Kind::Close => {
                let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                news.push(News::Ended { why: format!("closed with {code}"), after_ms: None });
            }
            Kind::Text => {
                let last = self.place.as_ref().map_or(0, |place| place.seq);
                match events.read(payload, last) {
                    Ok(Message::Event(facts)) => {
                        self.take_event(facts.seq.unwrap_or(0));
                        news.extend(facts.mark.map(News::Event));
                    }
                    Ok(Message::Dropped(dropped)) => {
                        self.told += dropped.counts.sum();
                        self.counts.dropped += dropped.counts.sum();
                    }
                    _ => self.handle_other(payload, output, news),
                }
            }
        }
    }

    /// Messages that are read for more than a load test elsewhere does.
    fn handle_other(&mut self, payload: &[u8], output: &mut Vec<u8>, news: &mut Vec<News>) {
        let message: Value = serde_json::from_slice(payload).unwrap_or_default();
        let ended = |why: String, after_ms| News::Ended { why, after_ms };
        match message["type"].as_str().unwrap_or_default() {
            "welcome" => {
                let epoch = message["epoch"].as_str().unwrap_or_default();
                let seq = message["seq"].as_u64().unwrap_or(0);
                let place = self.place.get_or_insert_with(|| Place { epoch: epoch.into(), seq });
                let subscribe = json!({
                    "type": "subscribe", "subscription_id": "storm", "filters": {},
                    "resume": {"epoch": place.epoch, "after": place.seq},
                });
                frame::write(Kind::Text, subscribe.to_string().as_bytes(), output);
                self.phase = Phase::CatchingUp;
            }
            "subscribed" if message["resumed"] != true => {
                self.place = None;
                news.push(ended(format!("not resumed: {}", message["reason"]), None));
            }
            "caught_up" => {
                self.phase = Phase::Live;
                news.push(News::CaughtUp);
            }
            "closing" => {
                let why = format!("closing: {}", message["reason"]);
                news.push(ended(why, message["retry_after_ms"].as_u64()));
            }
            "error" => {
                let why = format!("error {}", message["code"]);
                news.push(ended(why, message["retry_after_ms"].as_u64()));
            }
            _ => {}
        }
    }

    fn take_event(&mut self, seq: u64) {
        let Some(place) = &mut self.place else { return };
        self.counts.replayed += u64::from(matches!(self.phase, Phase::CatchingUp));
        if seq <= place.seq {
            self.counts.duplicates += 1;
            return;
        }
        let missing = seq - place.seq - 1;
        let told = missing.min(self.told);
        self.told -= told;
        self.counts.holes += missing - told;
        place.seq = seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(payload: &str) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("a short text");
        let mut bytes = match length {
            0..126 => vec![0x81, length as u8],
            _ => [&[0x81, 126][..], &length.to_be_bytes()].concat(),
        };
        bytes.extend_from_slice(payload.as_bytes());
        bytes
    }

    fn hear(member: &mut Member, messages: &[&str]) -> (Vec<u8>, Vec<News>) {
        let (mut output, mut news) = (Vec::new(), Vec::new());
        for message in messages {
            let (bytes, mut events) = (text(message), EventCache::default());
            let taken = member.handle_input(&bytes, &mut events, &mut output, &mut news);
            assert_eq!(taken, bytes.len());
        }
        (output, news)
    }

    #[test]
    fn it_comes_back_to_its_last_event_and_counts_what_is_missing_or_comes_twice() {
        let mut member = Member { phase: Phase::Greeting, ..Member::default() };
        let (output, _) = hear(&mut member, &[r#"{"type":"welcome","epoch":"e","seq":4}"#]);
        assert!(!output.is_empty() && !member.is_live());
        let (_, news) = hear(
            &mut member,
            &[
                r#"{"type":"subscribed","resumed":true}"#,
                r#"{"type":"event","seq":5}"#,
                r#"{"type":"caught_up","seq":5}"#,
                r#"{"type":"event","seq":6}"#,
            ],
        );
        assert_eq!((news, member.is_live()), (vec![News::CaughtUp], true));
        member.leave();
        member.phase = Phase::Greeting;
        hear(
            &mut member,
            &[
                r#"{"type":"welcome","epoch":"e","seq":9}"#,
                r#"{"type":"event","seq":6}"#,
                r#"{"type":"event","seq":8}"#,
                r#"{"type":"dropped","from_seq":9,"to_seq":10,"counts":{"low":2}}"#,
                r#"{"type":"event","seq":11}"#,
            ],
        );
        let expected = Counts { replayed: 4, holes: 1, duplicates: 1, dropped: 2 };
        assert_eq!(member.counts, expected);
        assert_eq!(member.place.map(|place| place.seq), Some(11));
    }

    #[test]
    fn it_is_told_when_to_come_back() {
        let mut member = Member { phase: Phase::Greeting, ..Member::default() };
        let closing = r#"{"type":"closing","reason":"drain","code":4001,"retry_after_ms":1500}"#;
        let (_, news) = hear(&mut member, &[closing]);
        let why = "closing: \"drain\"".to_owned();
        assert_eq!(news, [News::Ended { why, after_ms: Some(1_500) }]);
    }
}
