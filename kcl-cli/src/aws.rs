//! Clients of AWS, or of another service in its place.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;

/// Where the service is. Credentials and region come from the environment, the shared configuration
/// files or the machine's role, as for every AWS client; at another service than AWS, and with none
/// in the environment, made-up ones serve.
pub async fn config(endpoint_url: Option<&str>, region: Option<&str>) -> SdkConfig {
    let mut config = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = region {
        config = config.region(Region::new(region.to_owned()));
    }
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
        let named = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"].map(std::env::var_os);
        if named.iter().all(Option::is_none) {
            let made_up = Credentials::new("local", "local", None, None, "kcl");
            config = config.credentials_provider(made_up);
            if region.is_none() && std::env::var_os("AWS_REGION").is_none() {
                config = config.region(Region::from_static("us-east-1"));
            }
        }
    }
    config.load().await
}
