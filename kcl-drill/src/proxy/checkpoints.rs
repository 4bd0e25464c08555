//! Checkpoints that the table has taken, as seen on the wire.

use kcl_core::protocol::{Checkpoint, Position};
use kcl_lease_dynamo::schema;

use super::wire::{Update, number, text};

/// A checkpoint that stands in the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// Unix seconds: when the answer passed the proxy, before the worker had it.
    pub at: f64,
    pub worker: String,
    pub lease: String,
    pub fence: u64,
    pub ordinal: u64,
    pub checkpoint: Checkpoint,
}

/// The checkpoint that this update wrote under a fence, if it wrote one.
pub(super) fn written(worker: &str, at: f64, update: &Update<'_>) -> Option<Written> {
    let position = update.sets(schema::CHECKPOINT).and_then(text)?;
    Some(Written {
        at,
        worker: worker.to_owned(),
        lease: update.key(schema::LEASE_KEY)?.to_owned(),
        fence: update.requires(schema::LEASE_COUNTER).and_then(number)?,
        ordinal: update.sets(schema::ORDINAL).and_then(number).unwrap_or(0),
        checkpoint: match position {
            schema::SHARD_END => Checkpoint::ShardEnd,
            sequence => Checkpoint::At(Position {
                sequence: sequence.parse().ok()?,
                subsequence: update.sets(schema::CHECKPOINT_SUB).and_then(number)?,
            }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn update(checkpoint: &str) -> Value {
        json!({
            "Key": {"leaseKey": {"S": "shard"}},
            "UpdateExpression": "SET #n3 = :v2, #n4 = :v3, #n5 = :v4",
            "ConditionExpression": "#n0 = :v0 AND #n1 = :v1 AND #n3 <> :v5",
            "ExpressionAttributeNames": {
                "#n0": "leaseOwner", "#n1": "leaseCounter", "#n3": "checkpoint",
                "#n4": "checkpointSubSequenceNumber", "#n5": "checkpointOrdinal"},
            "ExpressionAttributeValues": {
                ":v0": {"S": "a-1"}, ":v1": {"N": "4"}, ":v2": {"S": checkpoint},
                ":v3": {"N": "2"}, ":v4": {"N": "7"}, ":v5": {"S": "SHARD_END"}},
        })
    }

    fn found(operation: &str, body: &Value) -> Vec<Written> {
        let updates = Update::all(operation, body);
        updates.iter().filter_map(|update| written("a", 1.5, update)).collect()
    }

    #[test]
    fn a_checkpoint_is_read_alone_and_in_a_transaction() {
        let sequence = "49590338271490256608559692538361571095921575989136588898";
        let [alone] = &found("UpdateItem", &update(sequence))[..] else { panic!() };
        assert_eq!((alone.fence, alone.ordinal, alone.lease.as_str()), (4, 7, "shard"));
        let Checkpoint::At(at) = alone.checkpoint else { panic!("{alone:?}") };
        assert_eq!((at.sequence.to_string().as_str(), at.subsequence), (sequence, 2));
        let child = json!({"Put": {"Item": {"leaseKey": {"S": "child"}}}});
        let both = json!({"TransactItems": [{"Update": update("SHARD_END")}, child]});
        let [end] = &found("TransactWriteItems", &both)[..] else { panic!() };
        assert_eq!(end.checkpoint, Checkpoint::ShardEnd);
        assert_eq!(found("UpdateItem", &update("TRIM_HORIZON")), []);
    }
}
