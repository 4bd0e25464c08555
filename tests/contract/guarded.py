"""boto3 over TLS with keys: the certificate is checked, and the signature.

usage: guarded.py URL CERTIFICATE.pem ID SECRET
"""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError

STREAM = "guarded"


def client(url, verify, key, secret):
    once = Config(retries={"total_max_attempts": 1}, read_timeout=20)
    return boto3.client("kinesis", endpoint_url=url, region_name="us-east-1", config=once,
                        verify=verify, aws_access_key_id=key, aws_secret_access_key=secret)


def main():
    url, certificate, key, secret = sys.argv[1:]
    if not url.startswith("https://"):
        raise SystemExit(f"{url} is not TLS")
    kinesis = client(url, certificate, key, secret)
    put = kinesis.put_record(StreamName=STREAM, PartitionKey="k", Data=b"over TLS")
    place = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=put["ShardId"],
                                       ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    read = [record["Data"] for record in kinesis.get_records(ShardIterator=place)["Records"]]
    if read != [b"over TLS"]:
        raise SystemExit(f"read {read!r}")
    for other, expected in (((key, secret + "x"), "InvalidSignatureException"),
                            (("NOBODY", secret), "UnrecognizedClientException")):
        try:
            client(url, certificate, *other).list_streams()
        except ClientError as error:
            found = error.response["Error"]["Code"]
            if found != expected:
                raise SystemExit(f"{found} instead of {expected}")
        else:
            raise SystemExit(f"a request that should be {expected} was answered")
    # Not named as trusted, a certificate that nobody signed is refused by the client.
    try:
        client(url, True, key, secret).list_streams()
    except SSLError:
        pass
    else:
        raise SystemExit("a certificate was trusted that nobody vouches for")
    print("boto3 put and read over TLS with a key; wrong keys and an unknown certificate are refused")


main()
