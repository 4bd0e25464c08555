//! Errors with their causes, for plug-ins that sort what clients of services report.

use std::error::Error;
use std::io;

/// An error and its causes in one line.
pub fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

/// True if the causes show that no connection came about, so nothing was sent.
pub fn never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as Kind;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                Kind::ConnectionRefused
                    | Kind::HostUnreachable
                    | Kind::NetworkUnreachable
                    | Kind::AddrNotAvailable
            )
        {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the request failed")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_are_told_in_order_and_a_refused_connection_is_found_among_them() {
        let refused = Outer(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens"));
        assert_eq!(in_one_line(&refused), "the request failed: nobody listens");
        assert!(never_connected(&refused));
        let cut = Outer(io::Error::new(io::ErrorKind::ConnectionReset, "cut"));
        assert!(!never_connected(&cut), "something may have been sent");
    }
}
