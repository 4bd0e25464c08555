//! How the programs for AWS reach it, or another service in its place.

use crate::of_aws::is_of_aws;

/// What is made up for a service that asks for none of it, as a local engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MadeUp {
    /// Credentials.
    pub credentials: bool,
    /// The region.
    pub region: bool,
}

/// Variables that name credentials of the user.
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
/// Variables that name a region.
const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// What to make up where the service is at this URL, if one was given, and these variables are set.
/// Nothing for AWS itself, also behind an endpoint of a VPC: credentials and region come from the
/// environment, the shared files or the machine's role there, as for every AWS client.
pub fn made_up(endpoint_url: Option<&str>, is_set: impl Fn(&str) -> bool) -> MadeUp {
    if endpoint_url.is_none_or(is_of_aws) || CREDENTIALS.iter().any(|name| is_set(name)) {
        return MadeUp::default();
    }
    MadeUp { credentials: true, region: !REGION.iter().any(|name| is_set(name)) }
}

/// The configuration of a client. A region that was given goes before all others.
#[cfg(feature = "aws")]
pub async fn config(endpoint_url: Option<&str>, region: Option<&str>) -> aws_config::SdkConfig {
    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_kinesis::config::Credentials;

    let mut config = aws_config::defaults(BehaviorVersion::latest());
    let made_up = made_up(endpoint_url, |name| std::env::var_os(name).is_some());
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
    }
    if made_up.credentials {
        let credentials = Credentials::new("local", "local", None, None, "examples");
        config = config.credentials_provider(credentials);
    }
    if let Some(region) = region {
        config = config.region(Region::new(region.to_owned()));
    } else if made_up.region {
        config = config.region(Region::from_static("us-east-1"));
    }
    config.load().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Option<&str> = Some("http://127.0.0.1:4566");
    const BOTH: MadeUp = MadeUp { credentials: true, region: true };

    fn of(url: Option<&str>, set: &[&str]) -> MadeUp {
        made_up(url, |name| set.contains(&name))
    }

    #[test]
    fn nothing_is_made_up_for_aws() {
        assert_eq!(of(None, &[]), MadeUp::default());
        for url in [
            "https://kinesis.eu-west-1.amazonaws.com",
            "https://vpce-1-2.kinesis.us-east-1.vpce.amazonaws.com",
            "https://kinesis-fips.us-east-1.amazonaws.com:443/",
            "https://kinesis.cn-north-1.amazonaws.com.cn/",
            "https://kinesis.eusc-de-east-1.amazonaws.eu",
            "https://kinesis.eusc-de-east-1.api.amazonwebservices.eu",
            "https://kinesis.cn-north-1.api.amazonwebservices.com.cn",
            "https://kinesis.us-iso-east-1.c2s.ic.gov",
            "https://kinesis.us-iso-east-1.api.aws.ic.gov",
            "https://kinesis.us-isob-east-1.sc2s.sgov.gov",
            "https://kinesis.us-isob-east-1.api.aws.scloud",
            "https://kinesis.eu-isoe-west-1.cloud.adc-e.uk",
            "https://kinesis.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
            "https://kinesis.us-isof-south-1.csp.hci.ic.gov",
            "https://kinesis.us-isof-south-1.api.aws.hci.ic.gov",
            "https://Kinesis.us-east-1.API.AWS",
            "dynamodb.us-east-1.api.aws.",
        ] {
            assert_eq!(of(Some(url), &[]), MadeUp::default(), "{url}");
        }
    }

    #[test]
    fn credentials_and_region_are_made_up_for_another_service() {
        for url in [
            "http://127.0.0.1:4566",
            "http://localhost:8000/x",
            "http://myamazonaws.com",
            "http://my.adc-e.uk",
        ] {
            assert_eq!(of(Some(url), &[]), BOTH, "{url}");
        }
    }

    #[test]
    fn whoever_has_credentials_of_his_own_uses_them_everywhere() {
        for name in CREDENTIALS {
            assert_eq!(of(LOCAL, &[name]), MadeUp::default(), "{name}");
        }
    }

    #[test]
    fn a_region_in_the_environment_is_kept_beside_made_up_credentials() {
        for name in REGION {
            assert_eq!(of(LOCAL, &[name]), MadeUp { credentials: true, region: false }, "{name}");
        }
    }
}
