"""StartStreamEncryption and StopStreamEncryption."""

from kit import BAD, IN_USE, NOT_FOUND, a_stream, check, equal, refusals

refuses = refusals(__name__)
KMS = {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
ABSENT = "behaviour-that-is-not-there"

refuses("StartStreamEncryption of no stream is ResourceNotFoundException",
        "StartStreamEncryption", NOT_FOUND, StreamName=ABSENT, **KMS)
refuses("StopStreamEncryption of no stream is ResourceNotFoundException",
        "StopStreamEncryption", NOT_FOUND, StreamName=ABSENT, **KMS)
refuses("StartStreamEncryption must have StreamName or StreamARN", "StartStreamEncryption",
        *BAD, **KMS)
refuses("StartStreamEncryption requires KeyId",
        "StartStreamEncryption", *BAD, StreamName=a_stream, EncryptionType="KMS")
refuses("StartStreamEncryption requires EncryptionType",
        "StartStreamEncryption", *BAD, StreamName=a_stream, KeyId="alias/aws/kinesis")
refuses("The only valid EncryptionType is KMS",
        "StartStreamEncryption", *BAD, StreamName=a_stream, EncryptionType="NONE",
        KeyId="alias/aws/kinesis")
refuses("A KeyId has at most 2,048 characters",
        "StartStreamEncryption", *BAD, StreamName=a_stream, EncryptionType="KMS", KeyId="k" * 2049)


def encrypted(k):
    name = k.stream()
    equal(k.ask("StartStreamEncryption", StreamName=name, **KMS), {})
    return k.active(name)


def stopped(k):
    name = encrypted(k)
    equal(k.ask("StopStreamEncryption", StreamName=name, **KMS), {})
    return k.active(name)


@check("StartStreamEncryption sets UPDATING, and ACTIVE when it is done", alone=True)
def states(k):
    name = k.stream()
    k.at_once("StartStreamEncryption", StreamName=name, **KMS)
    equal(k.status(name), "UPDATING")
    k.active(name)


@check("StartStreamEncryption of a stream that is not ACTIVE is ResourceInUseException",
       alone=True)
def not_active(k):
    name = k.stream()
    k.at_once("StartStreamEncryption", StreamName=name, **KMS)
    k.refused("StartStreamEncryption", IN_USE, StreamName=name, **KMS)


@check("A stream that is encrypted says KMS and the key")
def described(k):
    found = k.summary(encrypted(k))
    equal((found.get("EncryptionType"), found.get("KeyId")), ("KMS", "alias/aws/kinesis"))


@check("The answer of PutRecord verifies that encryption is applied")
def put(k):
    equal(k.put(encrypted(k)).get("EncryptionType"), "KMS")


@check("The answer of PutRecords verifies that encryption is applied")
def put_many(k):
    got = k.ask("PutRecords", StreamName=encrypted(k),
                Records=[{"Data": b"x", "PartitionKey": "k"}])
    equal(got.get("EncryptionType"), "KMS")


@check("A record that is encrypted says KMS when it is read, and has its data")
def read(k):
    name = encrypted(k)
    k.put(name, b"text")
    record = k.read(k.iterator(name), 1)[0][0]
    equal((record.get("EncryptionType"), record["Data"]), ("KMS", b"text"))


@check("After StopStreamEncryption the stream says NONE")
def stopped_described(k):
    equal(k.summary(stopped(k)).get("EncryptionType"), "NONE")


@check("After StopStreamEncryption records are not encrypted")
def stopped_put(k):
    equal(k.put(stopped(k)).get("EncryptionType", "NONE"), "NONE")


@check("StartStreamEncryption with another key updates the key")
def other_key(k):
    name = encrypted(k)
    key = "12345678-1234-1234-1234-123456789012"
    k.ask("StartStreamEncryption", StreamName=name, EncryptionType="KMS", KeyId=key)
    equal(k.summary(k.active(name)).get("KeyId"), key)


@check("StartStreamEncryption takes StreamARN")
def by_arn(k):
    name = k.stream()
    k.ask("StartStreamEncryption", StreamARN=k.arn(name), **KMS)
    equal(k.summary(k.active(name)).get("EncryptionType"), "KMS")
