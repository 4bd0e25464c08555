// Takes aggregates from standard input apart with aws-kinesis-agg from npm, and compares.
const assert = require("assert");
const readline = require("readline");
const agg = require("aws-kinesis-agg");

// Without a hash key of its own a record has none here, or the empty text.
const inOrder = (a, b) => {
    const [left, right] = [a, b].map((of) => of.hash_key || of.key);
    return left < right ? -1 : Number(left > right);
};

function apart(data) {
    const record = { partitionKey: "outer", sequenceNumber: "1", data };
    let found;
    agg.deaggregateSync(record, true, (error, records) => {
        if (error) throw error;
        found = records;
    });
    assert(found.every((each, at) => each.subSequenceNumber === at), "it was not taken for an aggregate");
    return found.map((each) => ({
        key: each.partitionKey,
        hash_key: each.explicitPartitionKey || null,
        data: each.data,
    }));
}

(async () => {
    let cases = 0;
    for await (const line of readline.createInterface({ input: process.stdin })) {
        let { aggregates, inside } = JSON.parse(line);
        let got = aggregates.flatMap(apart);
        // A producer keeps the order of each hash key, and no other.
        if (aggregates.length > 1) [got, inside] = [got, inside].map((all) => all.sort(inOrder));
        assert.deepStrictEqual(got, inside, `case ${cases} comes apart differently`);
        cases += 1;
    }
    assert.strictEqual(cases, 5);
    console.log(`${cases} cases of aggregates come apart the same in npm's aws-kinesis-agg`);
})();
