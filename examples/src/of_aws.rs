//! Which URLs are of AWS itself: for the programs here and for `kcl`, which takes this file.

/// Domains of AWS: of each partition, those of both IP versions too (the client's own partitions,
/// aws-sdk-kinesis 1.130, `endpoint_lib.rs`).
const OF_AWS: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
];

/// Whether this is a URL of AWS itself, such as that of a VPC or of FIPS.
pub fn is_of_aws(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.');
    let host = host.to_ascii_lowercase();
    OF_AWS.iter().any(|domain| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_aws_is_known_by_its_domain() {
        for url in [
            "https://vpce-1-2.kinesis.us-east-1.vpce.amazonaws.com",
            "https://dynamodb-fips.us-east-1.amazonaws.com:443/",
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
            assert!(is_of_aws(url), "{url}");
        }
        for url in [
            "http://127.0.0.1:4566",
            "http://localhost:8000/x",
            "http://myamazonaws.com",
            "http://my.adc-e.uk",
        ] {
            assert!(!is_of_aws(url), "{url}");
        }
    }
}
