//! Enhanced fan-out: the service pushes, at 2 MiB a second for each shard and consumer.

mod contests;
mod feed;
mod reader;
mod recent;
mod troubles;

pub(crate) use contests::Contests;
pub(crate) use reader::FanOutReader;
pub(crate) use recent::Recent;
pub(crate) use troubles::Troubles;

/// Which consumer of the stream a source is. One application uses one; two that share one take
/// their subscriptions from each other for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FanOut {
    /// The consumer of this name, registered if the stream has none.
    Register(String),
    /// The consumer with this ARN.
    Arn(String),
}

impl FanOut {
    /// The consumer of this name (1 to 128 of `a-zA-Z0-9_.-`), registered at the start if the
    /// stream has none of it. Nobody deregisters it: that is for whoever retires the application.
    pub fn register(name: impl Into<String>) -> Self {
        Self::Register(name.into())
    }
    /// A consumer that stands already.
    pub fn arn(arn: impl Into<String>) -> Self {
        Self::Arn(arn.into())
    }
}
