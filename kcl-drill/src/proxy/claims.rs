//! Which leases changed owner, as seen on the wire: was each former owner's right ended before?
//!
//! Reads the built-in worker's own requests; of other programs' it understands nothing and says
//! nothing.

use std::collections::BTreeSet;

use kcl_lease_dynamo::schema;
use serde_json::Value;

/// The rights of owners that were ended, and the leases taken from owners whose right was not.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Ids of workers that are declared dead or said goodbye.
    dead: BTreeSet<String>,
    /// Leases revoked in their owner's inbox, with the fence.
    revoked: BTreeSet<(String, u64)>,
    /// What was taken without either, for people.
    pub unfounded: Vec<String>,
    /// Leases taken from dead owners, or by force.
    pub taken: usize,
}

/// One update, as the service was asked for it.
struct Update<'a> {
    key: &'a str,
    body: &'a Value,
}

impl Claims {
    /// Hears of a request by this worker that the table answered with success.
    pub fn applied(&mut self, worker: &str, operation: &str, body: &[u8]) {
        if operation != "UpdateItem" {
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        if let Some(key) = text(&body["Key"][schema::ROW_KEY]) {
            self.worker_changed(&Update { key, body: &body });
        } else if let Some(key) = text(&body["Key"][schema::LEASE_KEY]) {
            self.lease_changed(worker, &Update { key, body: &body });
        }
    }

    fn worker_changed(&mut self, update: &Update<'_>) {
        let Some(id) = update.key.strip_prefix(schema::WORKER_PREFIX) else { return };
        let state = update.sets(schema::WORKER_STATE).and_then(text);
        if state.is_some_and(|state| state == "FENCED" || state == "GONE") {
            self.dead.insert(id.to_owned());
        }
        for entry in update.values().map(|value| &value["M"]) {
            if text(&entry[schema::ENTRY_KIND]) == Some("REVOKE") {
                let leases = entry[schema::ENTRY_LEASES]["L"].as_array().into_iter().flatten();
                self.revoked.extend(leases.filter_map(|lease| {
                    let key = text(&lease["M"][schema::LEASE_KEY])?;
                    Some((key.to_owned(), number(&lease["M"][schema::LEASE_COUNTER])?))
                }));
            }
        }
    }

    fn lease_changed(&mut self, worker: &str, update: &Update<'_>) {
        let to = update.sets(schema::LEASE_OWNER).and_then(text);
        let from = update.requires(schema::LEASE_OWNER).and_then(text);
        let fence = update.requires(schema::LEASE_COUNTER).and_then(number);
        let (Some(to), Some(from), Some(fence)) = (to, from, fence) else { return };
        // Who gives a lease away says so itself.
        let is_given = from.strip_prefix(worker).is_some_and(|rest| rest.starts_with('-'));
        if to == from || is_given {
            return;
        }
        self.taken += 1;
        let lease = update.key.to_owned();
        if !self.dead.contains(from) && !self.revoked.contains(&(lease.clone(), fence)) {
            self.unfounded.push(format!("{to} took {lease} from {from}, who was not fenced"));
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    value["S"].as_str()
}

fn number(value: &Value) -> Option<u64> {
    value["N"].as_str()?.parse().ok()
}

impl<'a> Update<'a> {
    /// What an attribute is set to.
    fn sets(&self, attribute: &str) -> Option<&'a Value> {
        self.equals(&self.body["UpdateExpression"], attribute)
    }
    /// What an attribute is required to be.
    fn requires(&self, attribute: &str) -> Option<&'a Value> {
        self.equals(&self.body["ConditionExpression"], attribute)
    }
    fn values(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let values = self.body["ExpressionAttributeValues"].as_object();
        values.into_iter().flat_map(|values| values.values())
    }

    /// The value `v` of `name = :v` in an expression.
    fn equals(&self, expression: &Value, attribute: &str) -> Option<&'a Value> {
        let names = self.body["ExpressionAttributeNames"].as_object()?;
        let (name, _) = names.iter().find(|(_, name)| name.as_str() == Some(attribute))?;
        let words: Vec<&str> = expression.as_str()?.split([' ', ',']).collect();
        let found = words.windows(3).find(|three| three[0] == name && three[1] == "=")?;
        self.body["ExpressionAttributeValues"].get(found[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(to: &str, from: &str) -> Vec<u8> {
        let body = json!({
            "Key": {"leaseKey": {"S": "shard"}},
            "UpdateExpression": "SET #n0 = :v2, #n1 = :v3",
            "ConditionExpression": "attribute_exists(#n2) AND #n0 = :v0 AND #n1 = :v1",
            "ExpressionAttributeNames": {
                "#n0": "leaseOwner", "#n1": "leaseCounter", "#n2": "leaseKey"},
            "ExpressionAttributeValues": {
                ":v0": {"S": from}, ":v1": {"N": "4"}, ":v2": {"S": to}, ":v3": {"N": "5"}},
        });
        body.to_string().into_bytes()
    }

    fn worker_update(name: &str, value: Value) -> Vec<u8> {
        let body = json!({
            "Key": {"rowKey": {"S": "WORKER#a-1"}},
            "UpdateExpression": "SET #n0 = :v0",
            "ExpressionAttributeNames": {"#n0": name},
            "ExpressionAttributeValues": {":v0": value},
        });
        body.to_string().into_bytes()
    }

    #[test]
    fn a_take_from_a_living_owner_is_found_and_others_are_not() {
        let unfounded = |before: Option<Vec<u8>>, by: &str| {
            let mut claims = Claims::default();
            before.iter().for_each(|body| claims.applied("b", "UpdateItem", body));
            claims.applied(by, "UpdateItem", &take("b-1", "a-1"));
            (claims.taken, claims.unfounded.len())
        };
        assert_eq!(unfounded(None, "b"), (1, 1));
        assert_eq!(unfounded(None, "a"), (0, 0), "given away");
        let fenced = worker_update("workerState", json!({"S": "FENCED"}));
        assert_eq!(unfounded(Some(fenced), "b"), (1, 0));
        let revoke = |fence| {
            let lease = json!({"M": {"leaseKey": {"S": "shard"}, "leaseCounter": {"N": fence}}});
            let entry = json!({"M": {"kind": {"S": "REVOKE"}, "leases": {"L": [lease]}}});
            worker_update("inbox", entry)
        };
        assert_eq!(unfounded(Some(revoke("4")), "b"), (1, 0));
        assert_eq!(unfounded(Some(revoke("3")), "b"), (1, 1));
    }
}
