import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.retry.RetryPolicy;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.services.kinesis.model.Record;

/**
 * Walks an endpoint with the SDK for Java v2 as the KCL uses it: CBOR, but for SubscribeToShard,
 * and cleartext HTTP/2 for every call. Usage: Walk URL (an endpoint with the service's limits).
 */
public class Walk {
    static final String STREAM = "java";
    static final String FIRST = "shardId-000000000000";
    static KinesisAsyncClient kinesis;

    static void equal(Object found, Object expected, String what) {
        if (!Objects.equals(found, expected)) {
            System.err.println(what + ": '" + found + "' instead of '" + expected + "'");
            System.exit(1);
        }
        System.out.println("  " + what);
    }

    static void refused(Supplier<CompletableFuture<?>> call, Class<?> expected, String what) {
        Object found = "nothing";
        try {
            call.get().join();
        } catch (CompletionException error) {
            found = error.getCause().getClass();
        }
        equal(found, expected, what);
    }

    static void active() throws InterruptedException {
        for (int turn = 0; turn < 200; turn++) {
            StreamStatus status = kinesis.describeStreamSummary(b -> b.streamName(STREAM)).join()
                .streamDescriptionSummary().streamStatus();
            if (status == StreamStatus.ACTIVE) {
                return;
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException("the stream does not become ACTIVE");
    }

    static String text(List<Record> records) {
        StringBuilder text = new StringBuilder();
        records.forEach(record -> text.append(record.data().asUtf8String()));
        return text.toString();
    }

    static GetRecordsResponse read(String shard, GetShardIteratorRequest.Builder from)
            throws InterruptedException {
        // Five reads a second of a shard.
        Thread.sleep(250);
        String place = kinesis.getShardIterator(from.streamName(STREAM).shardId(shard).build())
            .join().shardIterator();
        return kinesis.getRecords(b -> b.shardIterator(place)).join();
    }

    static GetShardIteratorRequest.Builder from(ShardIteratorType type) {
        return GetShardIteratorRequest.builder().shardIteratorType(type);
    }

    static void put(String text) {
        SdkBytes data = SdkBytes.fromUtf8String(text);
        kinesis.putRecord(b -> b.streamName(STREAM).partitionKey("k").explicitHashKey("0")
            .data(data)).join();
    }

    static void putAndRead() throws InterruptedException {
        List<PutRecordsRequestEntry> entries = new ArrayList<>();
        for (String text : List.of("a", "b", "c")) {
            entries.add(PutRecordsRequestEntry.builder().partitionKey("k").explicitHashKey("0")
                .data(SdkBytes.fromUtf8String(text)).build());
        }
        PutRecordsResponse put = kinesis.putRecords(b -> b.streamName(STREAM).records(entries)).join();
        equal(put.failedRecordCount(), 0, "PutRecords takes three records");
        put("d");
        String second = put.records().get(1).sequenceNumber();
        GetRecordsResponse all = read(FIRST, from(ShardIteratorType.TRIM_HORIZON));
        equal(text(all.records()), "abcd", "TRIM_HORIZON reads all");
        Duration age = Duration.between(all.records().get(0).approximateArrivalTimestamp(), Instant.now());
        equal(age.abs().compareTo(Duration.ofMinutes(1)) < 0, true, "times are milliseconds");
        equal(text(read(FIRST, from(ShardIteratorType.LATEST)).records()), "", "LATEST reads none");
        equal(text(read(FIRST, from(ShardIteratorType.AT_SEQUENCE_NUMBER)
            .startingSequenceNumber(second)).records()), "bcd", "AT_SEQUENCE_NUMBER reads from it");
        equal(text(read(FIRST, from(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
            .startingSequenceNumber(second)).records()), "cd", "AFTER_SEQUENCE_NUMBER after it");
        equal(text(read(FIRST, from(ShardIteratorType.AT_TIMESTAMP)
            .timestamp(Instant.now().minusSeconds(60))).records()), "abcd", "AT_TIMESTAMP by time");
    }

    static void throttle() throws InterruptedException {
        Thread.sleep(1100);
        String place = kinesis.getShardIterator(from(ShardIteratorType.LATEST).streamName(STREAM)
            .shardId(FIRST).build()).join().shardIterator();
        for (int turn = 0; turn < 5; turn++) {
            kinesis.getRecords(b -> b.shardIterator(place)).join();
        }
        refused(() -> kinesis.getRecords(b -> b.shardIterator(place)),
            ProvisionedThroughputExceededException.class, "the sixth read within a second is refused");
        Thread.sleep(1100);
    }

    static void reshard() throws InterruptedException {
        kinesis.splitShard(b -> b.streamName(STREAM).shardToSplit(FIRST)
            .newStartingHashKey("1000")).join();
        active();
        kinesis.mergeShards(b -> b.streamName(STREAM).shardToMerge("shardId-000000000001")
            .adjacentShardToMerge("shardId-000000000002")).join();
        active();
        GetRecordsResponse end = read(FIRST, from(ShardIteratorType.TRIM_HORIZON));
        equal(end.nextShardIterator(), null, "a closed shard ends");
        equal(end.childShards().size(), 2, "and names its children");
        ListShardsResponse open = kinesis.listShards(b -> b.streamName(STREAM)
            .shardFilter(f -> f.type(ShardFilterType.AT_LATEST))).join();
        equal(open.shards().size(), 1, "one shard is open after a split and a merge");
    }

    /** A subscription: its events come into the queue, and the future ends with it. */
    static CompletableFuture<Void> subscribe(String consumer, String shard, ShardIteratorType from,
            LinkedBlockingQueue<SubscribeToShardEvent> events) {
        SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
            .onError(error -> { })
            .subscriber(SubscribeToShardResponseHandler.Visitor.builder()
                .onSubscribeToShardEvent(events::add).build())
            .build();
        return kinesis.subscribeToShard(b -> b.consumerARN(consumer).shardId(shard)
            .startingPosition(p -> p.type(from)), handler);
    }

    static void fanOut(String arn) throws Exception {
        String consumer = kinesis.registerStreamConsumer(b -> b.streamARN(arn).consumerName("c"))
            .join().consumer().consumerARN();
        while (kinesis.describeStreamConsumer(b -> b.consumerARN(consumer)).join()
                .consumerDescription().consumerStatus() != ConsumerStatus.ACTIVE) {
            Thread.sleep(50);
        }
        LinkedBlockingQueue<SubscribeToShardEvent> events = new LinkedBlockingQueue<>();
        subscribe(consumer, FIRST, ShardIteratorType.TRIM_HORIZON, events).get(20, TimeUnit.SECONDS);
        List<Record> records = new ArrayList<>();
        List<SubscribeToShardEvent> all = new ArrayList<>(events);
        all.forEach(event -> records.addAll(event.records()));
        equal(text(records), "abcd", "a subscription reads a closed shard to its end");
        SubscribeToShardEvent last = all.get(all.size() - 1);
        equal(last.continuationSequenceNumber(), null, "where there is no place to go on");
        equal(last.childShards().size(), 2, "but children");
        refused(() -> subscribe(consumer, FIRST, ShardIteratorType.LATEST, events),
            ResourceInUseException.class, "a second subscription within five seconds is refused");
        events.clear();
        String child = "shardId-000000000003";
        CompletableFuture<Void> first = subscribe(consumer, child, ShardIteratorType.TRIM_HORIZON, events);
        put("e");
        SubscribeToShardEvent event = events.poll(10, TimeUnit.SECONDS);
        equal(event == null ? null : text(event.records()), "e", "a record comes as it is put");
        Thread.sleep(5100);
        LinkedBlockingQueue<SubscribeToShardEvent> more = new LinkedBlockingQueue<>();
        subscribe(consumer, child, ShardIteratorType.TRIM_HORIZON, more);
        refused(() -> first.orTimeout(10, TimeUnit.SECONDS), ResourceInUseException.class,
            "after five seconds a second one takes over, and the first is told");
        event = more.poll(10, TimeUnit.SECONDS);
        equal(event == null ? null : text(event.records()), "e", "the second reads on");
    }

    public static void main(String[] arguments) throws Exception {
        kinesis = KinesisAsyncClient.builder()
            .endpointOverride(URI.create(arguments[0]))
            .region(Region.US_EAST_1)
            .credentialsProvider(StaticCredentialsProvider.create(
                AwsBasicCredentials.create("local", "local")))
            .overrideConfiguration(c -> c.retryPolicy(RetryPolicy.none()))
            .build();
        kinesis.createStream(b -> b.streamName(STREAM).shardCount(1)).join();
        active();
        putAndRead();
        throttle();
        refused(() -> kinesis.describeStream(b -> b.streamName("nowhere")),
            ResourceNotFoundException.class, "an unknown stream is not found");
        refused(() -> kinesis.getRecords(b -> b.shardIterator("forged")),
            InvalidArgumentException.class, "a forged iterator is refused");
        reshard();
        fanOut(kinesis.describeStreamSummary(b -> b.streamName(STREAM)).join()
            .streamDescriptionSummary().streamARN());
        kinesis.deleteStream(b -> b.streamName(STREAM).enforceConsumerDeletion(true)).join();
        System.out.println("the SDK for Java walked the endpoint");
        System.exit(0);
    }
}
