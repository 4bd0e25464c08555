//! How many requests to the table stand between a worker's death and each take of its leases.

use std::collections::BTreeMap;

use kcl_lease_dynamo::schema;
use serde_json::Value;

use super::wire::{Update, text};

/// From when to when a request was with the table (Unix seconds).
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub sent: f64,
    pub answered: f64,
}

/// What takers asked, from the first death on.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    /// When the table had taken that a worker is dead, by its id.
    dead: BTreeMap<String, f64>,
    /// What each worker asked that a take may wait for: scans, and what is about one lease.
    asked: BTreeMap<String, Vec<(Option<String>, Asked)>>,
    /// Of each take of a dead worker's lease: the taker's requests for it since the death was
    /// written, as many as were one after the other, each sent after the former was answered. What
    /// it asked beside them cost no time.
    pub requests: Vec<usize>,
}

impl Takeovers {
    /// Hears of a request that the table has answered, and whether it did what was asked.
    pub fn answered(
        &mut self,
        worker: &str,
        operation: &str,
        body: &Value,
        asked: Asked,
        is_done: bool,
    ) {
        let updates = Update::all(operation, body);
        for update in updates.iter().filter(|_| is_done) {
            if let Some(id) = declared_dead(update) {
                self.dead.entry(id.to_owned()).or_insert(asked.answered);
            }
        }
        if self.dead.is_empty() {
            return;
        }
        for update in &updates {
            let Some((lease, from)) = taken(update) else { continue };
            let dead_since = from.and_then(|from| self.dead.get(from)).copied();
            if let Some(since) = dead_since.filter(|_| is_done) {
                let requests = self.before(worker, lease, since, asked.sent) + 1;
                self.requests.push(requests);
            }
            self.note(worker, Some(lease), asked);
        }
        match operation {
            "Scan" => self.note(worker, None, asked),
            "GetItem" => {
                let lease = text(&body["Key"][schema::LEASE_KEY]);
                lease.into_iter().for_each(|lease| self.note(worker, Some(lease), asked));
            }
            _ => {}
        }
    }

    fn note(&mut self, worker: &str, lease: Option<&str>, asked: Asked) {
        let of_worker = self.asked.entry(worker.to_owned()).or_default();
        of_worker.push((lease.map(str::to_owned), asked));
    }

    /// The longest row of requests that this worker made one after the other in this time, of those
    /// that a take of this lease may have waited for.
    fn before(&self, worker: &str, lease: &str, since: f64, until: f64) -> usize {
        let of_worker = self.asked.get(worker).into_iter().flatten();
        let mut asked: Vec<_> = of_worker
            .filter(|(of, asked)| {
                of.as_deref().is_none_or(|of| of == lease) && asked.answered <= until
            })
            .map(|(_, asked)| *asked)
            .collect();
        asked.sort_by(|a, b| a.answered.total_cmp(&b.answered));
        // Whichever is answered first leaves the most room for others behind it.
        let mut free_from = since;
        let is_next = |asked: &&Asked| {
            let fits = asked.sent >= free_from;
            if fits {
                free_from = asked.answered;
            }
            fits
        };
        asked.iter().filter(is_next).count()
    }
}

/// The worker that is dead because of this.
fn declared_dead<'a>(update: &Update<'a>) -> Option<&'a str> {
    let id = update.key(schema::ROW_KEY)?.strip_prefix(schema::WORKER_PREFIX)?;
    (update.sets(schema::WORKER_STATE).and_then(text)? == "FENCED").then_some(id)
}

/// The lease that gets an owner by this, and from whom.
fn taken<'a>(update: &Update<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let lease = update.key(schema::LEASE_KEY)?;
    update.sets(schema::LEASE_OWNER)?;
    Some((lease, update.requires(schema::LEASE_OWNER).and_then(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fenced(id: &str) -> Value {
        json!({
            "Key": {"rowKey": {"S": format!("WORKER#{id}")}},
            "UpdateExpression": "SET #n0 = :v0",
            "ExpressionAttributeNames": {"#n0": "workerState"},
            "ExpressionAttributeValues": {":v0": {"S": "FENCED"}},
        })
    }

    fn take(lease: &str, from: &str) -> Value {
        json!({
            "Key": {"leaseKey": {"S": lease}},
            "UpdateExpression": "SET #n0 = :v1",
            "ConditionExpression": "#n0 = :v0",
            "ExpressionAttributeNames": {"#n0": "leaseOwner"},
            "ExpressionAttributeValues": {":v0": {"S": from}, ":v1": {"S": "b-1"}},
        })
    }

    fn read(lease: &str) -> Value {
        json!({"Key": {"leaseKey": {"S": lease}}})
    }

    /// Requests of one worker: what, from when, until when.
    type Asks<'a> = &'a [(&'a str, Value, f64, f64)];

    /// What they come to, after a death at 10; the last one alone succeeds.
    fn requests(asks: Asks<'_>) -> Vec<usize> {
        let mut takeovers = Takeovers::default();
        let mut hear = |worker: &str, ask: &(&str, Value, f64, f64), is_done| {
            let (operation, body, sent, answered) = ask;
            let asked = Asked { sent: *sent, answered: *answered };
            takeovers.answered(worker, operation, body, asked, is_done);
        };
        hear("b", &("Scan", json!({}), 9.0, 9.5), true);
        hear("supervisor", &("UpdateItem", fenced("a-1"), 9.8, 10.0), true);
        for (number, ask) in asks.iter().enumerate() {
            hear("b", ask, number + 1 == asks.len());
        }
        takeovers.requests
    }

    #[test]
    fn requests_one_after_the_other_are_counted_and_what_is_beside_them_is_not() {
        let scan = |from, to| ("Scan", json!({}), from, to);
        let taken = |from, to| ("UpdateItem", take("s", "a-1"), from, to);
        assert_eq!(requests(&[scan(10.1, 10.2), scan(10.3, 10.4), taken(10.5, 10.6)]), [3]);
        let beside = scan(10.15, 10.35);
        let of_another = ("GetItem", read("t"), 10.41, 10.45);
        let asks = [scan(10.1, 10.2), beside, scan(10.3, 10.4), of_another, taken(10.5, 10.6)];
        assert_eq!(requests(&asks), [3]);
        let asks = [scan(9.9, 10.2), scan(10.3, 10.4), taken(10.5, 10.6)];
        assert_eq!(requests(&asks), [2], "what was under way at the death is not asked after it");
        let first = ("GetItem", read("s"), 10.41, 10.45);
        let asks = [scan(10.3, 10.4), first, taken(10.5, 10.6), taken(10.7, 10.8)];
        assert_eq!(requests(&asks), [4], "a read before it, and a take that failed");
    }

    #[test]
    fn a_lease_of_a_living_owner_is_no_takeover() {
        let from_another = ("UpdateItem", take("s", "c-1"), 10.5, 10.6);
        assert!(requests(&[from_another]).is_empty());
        let heartbeat = ("UpdateItem", read("s"), 10.5, 10.6);
        assert!(requests(&[heartbeat]).is_empty());
    }
}
