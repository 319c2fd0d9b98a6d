use std::collections::BTreeMap;

use super::fact::{Fact, PRIORITIES, Published};
use super::reader::{Claim, From, Reader, Told};
use super::way::Certainty;

/// Compares what a reader was handed and told with what was published; what is wrong, in words.
pub fn judge(reader: &Reader, published: &Published) -> Vec<String> {
    let mut findings = reader.findings().to_vec();
    for (seq, handed_on) in &reader.handed_on {
        match published.get(seq) {
            None => findings.push(format!("a stray: {seq} was never published")),
            Some((fact, _)) if *fact != handed_on.fact => {
                findings.push(format!("{seq} is {:?}, and was {fact:?}", handed_on.fact));
            }
            Some(_) => {}
        }
    }
    // By seq, with the latest claim that has to do with it.
    let mut missing: BTreeMap<u64, (Fact, &Claim)> = BTreeMap::new();
    for claim in &reader.claims {
        for (&seq, &(fact, millis)) in published.range(..=claim.to) {
            let is_covered = match claim.from {
                From::Position(position) => seq > position,
                From::Millisecond(since) => millis >= since,
            };
            if !is_covered || !claim.is_certain_of(fact) {
                continue;
            }
            let came_before = reader.handed_on.get(&seq).is_some_and(|it| it.moment < claim.moment);
            if !came_before {
                missing.entry(seq).or_insert((fact, claim));
            }
        }
    }
    findings.extend(untold(reader, &missing));
    findings
}

impl Claim {
    fn is_certain_of(&self, fact: Fact) -> bool {
        let also = match self.certainty {
            Certainty::Everything => true,
            Certainty::OnlyWith(other) => other.wants(fact),
            Certainty::Nothing => false,
        };
        also && self.interest.wants(fact)
    }
}

/// What is missing, and was not named by a notice before the position was told.
fn untold(reader: &Reader, missing: &BTreeMap<u64, (Fact, &Claim)>) -> Vec<String> {
    let mut left: Vec<Told> = reader.losses.clone();
    left.sort_by_key(|told| told.to);
    let mut holes = Vec::new();
    for (&seq, &(fact, claim)) in missing {
        // Of those that may mean it, the one that ends first has the fewest left to mean.
        let told = left.iter_mut().find(|told| {
            let is_within = told.from <= seq && seq <= told.to && told.moment < claim.moment;
            is_within && told.counts[fact.priority] > 0
        });
        match told {
            Some(told) => told.counts[fact.priority] -= 1,
            None => {
                let name = PRIORITIES[fact.priority];
                let (who, Claim { way, by, to, moment, from, .. }) = (&reader.name, claim);
                holes.push(format!(
                    "{who}: a hole: {name} {seq} is missing on {way}, though {by} says {to} after \
                     {from:?} in message {moment}"
                ));
            }
        }
    }
    holes
}
