//! Names of things, each a type of its own so that one cannot be passed for another.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::rules::{Mutant, Rules};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name; the text is taken as it is.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::from(name.as_ref()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Arc::from(name))
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// One run of one worker: the configured name plus 128 random bits, used once and never again.
    WorkerId
}
name_type! {
    /// A shard of a stream, as the service names it: `shardId-000000000003`.
    ShardId
}
name_type! {
    /// A stream, by name or ARN.
    StreamName
}
name_type! {
    /// The key of a lease row. With one stream the shard id itself; with several
    /// `account:stream:createdAt:shardId`.
    LeaseKey
}

impl WorkerId {
    /// The id of a new registration: the worker's name and 128 bits never drawn before.
    pub fn drawn(name: &str, bits: u128, rules: Rules) -> Self {
        let bits = if rules.breaks(Mutant::IdUsedTwice) { 0 } else { bits };
        Self::from(format!("{name}-{bits:032x}"))
    }
    /// True if it was drawn for a worker of this name.
    pub fn is_of(&self, name: &str) -> bool {
        let bits = self.0.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        bits.is_some_and(|bits| bits.len() == 32 && bits.chars().all(|c| c.is_ascii_hexdigit()))
    }
}

impl LeaseKey {
    /// The key of a shard's lease when the application reads several streams.
    pub fn in_stream(prefix: &str, shard: &ShardId) -> Self {
        Self::from(format!("{prefix}:{shard}"))
    }
    /// The shard this lease is about.
    pub fn shard(&self) -> ShardId {
        ShardId::new(self.0.rsplit_once(':').map_or(&*self.0, |(_, shard)| shard))
    }
    /// What stands before the shard id when the application reads several streams.
    pub fn stream_prefix(&self) -> Option<&str> {
        self.0.rsplit_once(':').map(|(prefix, _)| prefix)
    }
    /// The key of another shard of the same stream.
    pub fn sibling(&self, shard: &ShardId) -> Self {
        match self.stream_prefix() {
            Some(prefix) => Self::in_stream(prefix, shard),
            None => Self::new(shard.as_str()),
        }
    }
}

/// A stream in few bytes: a hash of what stands before the shard id in its lease keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamTag(pub u64);

impl StreamTag {
    /// Of the stream whose lease keys start so.
    pub fn of(lease_prefix: &str) -> Self {
        Self(crate::hash::of_name(lease_prefix))
    }
}

/// A fencing token. It rises by one with every ownership write of a lease and never restarts, so
/// a receiver that keeps the highest one it saw can reject writes of a worker that lost the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl Fence {
    /// Fences of one table generation start at `generation * 2^40`, so that those of a restored
    /// copy stay below.
    pub const PER_GENERATION: u64 = 1 << 40;

    /// The fence the next ownership write sets.
    pub fn next(self, generation: u64) -> Fence {
        Fence((self.0 + 1).max(generation * Self::PER_GENERATION))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The owner's own count of checkpoint values under one fence: a late write carries a lower one
/// and is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

impl Ordinal {
    /// The ordinal of the next new checkpoint value.
    pub fn next(self) -> Ordinal {
        Ordinal(self.0 + 1)
    }
}

/// Names one entry of a worker's inbox; drawn at random so that entries never collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u128);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
