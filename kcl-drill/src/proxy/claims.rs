//! Which leases changed owner, as seen on the wire: was each former owner's right ended before?

use std::collections::{BTreeMap, BTreeSet};

use kcl_lease_dynamo::schema;

use super::wire::{Update, number, text};

/// The rights of owners that were ended, and the leases taken from owners whose right was not.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Ids of workers that are declared dead or said goodbye.
    dead: BTreeSet<String>,
    /// Leases revoked in their owner's inbox, with the fence.
    revoked: BTreeSet<(String, u64)>,
    /// Who owns each lease whose owner was seen to change, by table and key.
    owners: BTreeMap<(String, String), String>,
    /// What was taken without either, for people.
    pub unfounded: Vec<String>,
    /// Leases taken from dead owners, or by force.
    pub taken: usize,
}

impl Claims {
    /// Hears of an update by this worker that the table has applied.
    pub fn applied(&mut self, worker: &str, update: &Update<'_>) {
        if let Some(key) = update.key(schema::ROW_KEY) {
            self.worker_changed(key, update);
        } else if let Some(key) = update.key(schema::LEASE_KEY) {
            self.lease_changed(worker, key, update);
        }
    }

    fn worker_changed(&mut self, key: &str, update: &Update<'_>) {
        let Some(id) = key.strip_prefix(schema::WORKER_PREFIX) else { return };
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

    fn lease_changed(&mut self, worker: &str, lease: &str, update: &Update<'_>) {
        let row = (update.table().to_owned(), lease.to_owned());
        let known = self.owners.get(&row).cloned();
        let to = update.sets(schema::LEASE_OWNER).and_then(text);
        match to {
            Some(to) => drop(self.owners.insert(row, to.to_owned())),
            None if update.removes(schema::LEASE_OWNER) => drop(self.owners.remove(&row)),
            None => {}
        }
        // A write that does not say whom it takes from takes from whoever had it.
        let said = update.requires(schema::LEASE_OWNER).and_then(text).map(str::to_owned);
        let (Some(to), Some(from)) = (to, said.or(known)) else { return };
        // Who gives a lease away says so itself.
        let is_given = from.strip_prefix(worker).is_some_and(|rest| rest.starts_with('-'));
        if to == from || is_given {
            return;
        }
        self.taken += 1;
        let fence = update.requires(schema::LEASE_COUNTER).and_then(number);
        let is_revoked =
            fence.is_some_and(|fence| self.revoked.contains(&(lease.to_owned(), fence)));
        if !self.dead.contains(&from) && !is_revoked {
            self.unfounded.push(format!("{to} took {lease} from {from}, who was not fenced"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn take(to: &str, from: &str) -> Value {
        json!({
            "Key": {"leaseKey": {"S": "shard"}},
            "UpdateExpression": "SET #n0 = :v2, #n1 = :v3",
            "ConditionExpression": "attribute_exists(#n2) AND #n0 = :v0 AND #n1 = :v1",
            "ExpressionAttributeNames": {
                "#n0": "leaseOwner", "#n1": "leaseCounter", "#n2": "leaseKey"},
            "ExpressionAttributeValues": {
                ":v0": {"S": from}, ":v1": {"N": "4"}, ":v2": {"S": to}, ":v3": {"N": "5"}},
        })
    }

    /// By whom, and under no more of a condition than the fence.
    fn take_from_whoever(to: &str) -> Value {
        let mut body = take(to, "");
        body["ConditionExpression"] = json!("#n1 = :v1");
        body
    }

    fn release() -> Value {
        json!({
            "Key": {"leaseKey": {"S": "shard"}},
            "UpdateExpression": "SET #n1 = :v0 REMOVE #n0",
            "ExpressionAttributeNames": {"#n0": "leaseOwner", "#n1": "leaseCounter"},
            "ExpressionAttributeValues": {":v0": {"N": "6"}},
        })
    }

    fn worker_update(name: &str, value: Value) -> Value {
        json!({
            "Key": {"rowKey": {"S": "WORKER#a-1"}},
            "UpdateExpression": "SET #n0 = :v0",
            "ExpressionAttributeNames": {"#n0": name},
            "ExpressionAttributeValues": {":v0": value},
        })
    }

    fn hear(claims: &mut Claims, by: &str, body: &Value) {
        Update::all("UpdateItem", body).iter().for_each(|update| claims.applied(by, update));
    }

    #[test]
    fn a_take_from_a_living_owner_is_found_and_others_are_not() {
        let unfounded = |before: Option<Value>, by: &str| {
            let mut claims = Claims::default();
            before.iter().for_each(|body| hear(&mut claims, "b", body));
            hear(&mut claims, by, &take("b-1", "a-1"));
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

    #[test]
    fn a_take_that_names_no_former_owner_is_judged_by_who_had_the_lease() {
        let mut claims = Claims::default();
        hear(&mut claims, "a", &take_from_whoever("a-1"));
        assert_eq!((claims.taken, claims.unfounded.len()), (0, 0), "nobody had it");
        let mut elsewhere = take_from_whoever("b-1");
        elsewhere["TableName"] = json!("another");
        hear(&mut claims, "b", &elsewhere);
        assert_eq!((claims.taken, claims.unfounded.len()), (0, 0), "nor that of another table");
        hear(&mut claims, "b", &take_from_whoever("b-1"));
        assert_eq!((claims.taken, claims.unfounded.len()), (1, 1));
        hear(&mut claims, "b", &release());
        hear(&mut claims, "c", &take_from_whoever("c-1"));
        assert_eq!((claims.taken, claims.unfounded.len()), (1, 1), "it was released");
    }
}
