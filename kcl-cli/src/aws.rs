//! Clients of AWS, or of another service in its place.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;

use crate::of_aws::is_of_aws;

/// Where the service is, if not at AWS: the URL that was given, else that of the environment, where
/// the service's own goes before that of all.
pub fn endpoint(given: Option<&str>, service: &str) -> Option<String> {
    chosen(given, service, |name| std::env::var(name).ok())
}

fn chosen(
    given: Option<&str>,
    service: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let names = [format!("AWS_ENDPOINT_URL_{service}"), "AWS_ENDPOINT_URL".to_owned()];
    let mut named = names.iter().filter_map(|name| environment(name));
    given.map(str::to_owned).or_else(|| named.find(|url| !url.is_empty()))
}

/// What the client said, in one line: it lists in lines where it looked for credentials.
pub fn in_one_line(said: &str) -> String {
    said.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Where the service is. Credentials and region come from the environment, the shared configuration
/// files or the machine's role, as for every AWS client; at a URL that is not of AWS, and with none
/// in the environment, made-up ones serve.
pub async fn config(endpoint_url: Option<&str>, region: Option<&str>) -> SdkConfig {
    let mut config = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = region {
        config = config.region(Region::new(region.to_owned()));
    }
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
        let named = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"].map(std::env::var_os);
        if named.iter().all(Option::is_none) && !is_of_aws(url) {
            let made_up = Credentials::new("local", "local", None, None, "kcl");
            config = config.credentials_provider(made_up);
            if region.is_none() && std::env::var_os("AWS_REGION").is_none() {
                config = config.region(Region::from_static("us-east-1"));
            }
        }
    }
    config.load().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_goes_before_the_services_own_and_that_before_the_one_of_all() {
        const OWN: &str = "AWS_ENDPOINT_URL_DYNAMODB";
        const ALL: &str = "AWS_ENDPOINT_URL";
        let of = |given, set: &[&str]| {
            chosen(given, "DYNAMODB", |name| set.contains(&name).then(|| name.to_owned()))
        };
        assert_eq!(of(Some("given"), &[OWN, ALL]).as_deref(), Some("given"));
        assert_eq!(of(None, &[OWN, ALL]).as_deref(), Some(OWN));
        assert_eq!(of(None, &[ALL]).as_deref(), Some(ALL));
        assert_eq!(of(None, &[]), None);
        assert_eq!(chosen(None, "DYNAMODB", |_| Some(String::new())), None);
    }
}
