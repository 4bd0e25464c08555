//! An in-process stream engine with the shards, limits and iterators of Kinesis.
