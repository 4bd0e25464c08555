//! What to do with what was read ahead.

/// What is next among the records read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ahead {
    /// Nothing is there yet.
    Nothing,
    /// Records to deliver.
    Records,
    /// A record that cannot be opened.
    Unreadable,
    /// The end of the shard.
    End,
}

/// What a consumer that may deliver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Waits for records, or for acks.
    Wait,
    /// Delivers records, at most so many.
    Deliver {
        /// Most records.
        most: usize,
    },
    /// Asks the error policy about the record that cannot be opened.
    Fail,
    /// Tells the processor that the shard has ended.
    End,
}

impl Ahead {
    /// The next step, with this many records out and not acked, of at most `limit`.
    ///
    /// The end, and a record that cannot be opened, wait for every record before them: a failure
    /// takes back what is out, and what it is about is the first record that is not done.
    pub fn step(self, unacked: usize, limit: usize) -> Step {
        match self {
            Self::Unreadable if unacked == 0 => Step::Fail,
            Self::End if unacked == 0 => Step::End,
            Self::Records if unacked < limit => Step::Deliver { most: limit - unacked },
            Self::Nothing | Self::Records | Self::Unreadable | Self::End => Step::Wait,
        }
    }
}
