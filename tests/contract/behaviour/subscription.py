"""A subscription to a shard: its events, waited for in a thread of their own."""

import queue
import threading
import time

from botocore.exceptions import BotoCoreError, EventStreamError

from kit import FIRST, Wrong

END = object()


class Subscription:
    """What SubscribeToShard sends; a refusal of the call itself is raised."""

    def __init__(self, k, consumer, kind="TRIM_HORIZON", shard=FIRST, **position):
        self.k = k
        self.events = queue.Queue()
        self.failure = None
        self.stream = k.at_once("SubscribeToShard", ConsumerARN=consumer, ShardId=shard,
                                StartingPosition={"Type": kind, **position})["EventStream"]
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        try:
            for event in self.stream:
                self.events.put(event["SubscribeToShardEvent"])
        except EventStreamError as error:
            self.failure = error.response["Error"]["Code"]
        except (BotoCoreError, OSError, AttributeError, ValueError) as error:
            self.failure = type(error).__name__
        self.events.put(END)

    def next(self, seconds=8):
        """The next event, or END."""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            raise Wrong(f"no event comes in {seconds} seconds") from None
        self.k.came = "the end" if event is END else repr(event)[:200]
        return event

    def records(self, wanted, seconds=12):
        """Records until there are so many; fewer when the time is over or the events end."""
        found, until = [], time.monotonic() + seconds
        while len(found) < wanted and time.monotonic() < until:
            event = self.next(seconds)
            if event is END:
                break
            found += event["Records"]
        return found

    def more(self, seconds=1.5):
        """What still comes in this time."""
        time.sleep(seconds)
        found = []
        while not self.events.empty():
            event = self.events.get()
            found += [] if event is END else event["Records"]
        return found

    def rest(self, seconds=10):
        """All events up to the end."""
        found = []
        while True:
            event = self.next(seconds)
            if event is END:
                return found
            found.append(event)
