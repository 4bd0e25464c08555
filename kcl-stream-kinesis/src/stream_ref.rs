//! How a request names its stream.

/// A stream by name or by ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamRef {
    Name(String),
    Arn(String),
}

impl StreamRef {
    /// Takes what starts like an ARN for one.
    pub fn parse(text: String) -> Self {
        if text.starts_with("arn:") { Self::Arn(text) } else { Self::Name(text) }
    }
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Arn(_) => None,
        }
    }
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => Some(arn.clone()),
        }
    }
    /// As the user wrote it, for errors.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(text) | Self::Arn(text) => text,
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
        assert_eq!(StreamRef::parse(arn.into()).arn().as_deref(), Some(arn));
        assert_eq!(StreamRef::parse("orders".into()).name().as_deref(), Some("orders"));
        assert_eq!(account_of(arn), Some("123456789012"));
        assert_eq!(account_of("arn:aws:kinesis"), None);
    }
}
