//! How a request names its stream.

use std::fmt;

/// A stream of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRef {
    /// By its name.
    Name(String),
    /// By its ARN, which may be in another account.
    Arn(String),
    /// By its StreamId, which a description of the stream tells. AWS calls the field reserved for
    /// the future; `kcl serve` has it. The client makes up a host from the id, also where an
    /// endpoint was set, unless it was given an endpoint resolver.
    Id(String),
}

impl<T: Into<String>> From<T> for StreamRef {
    /// Takes what starts like an ARN for one, and everything else for a name.
    fn from(text: T) -> Self {
        let text = text.into();
        if text.starts_with("arn:") { Self::Arn(text) } else { Self::Name(text) }
    }
}

impl StreamRef {
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Arn(_) | Self::Id(_) => None,
        }
    }
    pub(crate) fn arn(&self) -> Option<String> {
        match self {
            Self::Arn(arn) => Some(arn.clone()),
            Self::Name(_) | Self::Id(_) => None,
        }
    }
    pub(crate) fn id(&self) -> Option<String> {
        match self {
            Self::Id(id) => Some(id.clone()),
            Self::Name(_) | Self::Arn(_) => None,
        }
    }
}

/// As the user wrote it.
impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) | Self::Id(text) => f.pad(text),
        }
    }
}

/// The account in a stream's ARN: `arn:aws:kinesis:region:account:stream/name`.
pub(crate) fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_told_from_a_name_and_gives_the_account() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        assert_eq!(StreamRef::from(arn).arn().as_deref(), Some(arn));
        assert_eq!(StreamRef::from("orders").name().as_deref(), Some("orders"));
        assert_eq!(account_of(arn), Some("123456789012"));
        assert_eq!(account_of("arn:aws:kinesis"), None);
    }
}
