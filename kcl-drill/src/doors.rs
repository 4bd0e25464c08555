//! What the command line takes, checked at the door.

use hyper::Uri;

use crate::args::Words;

/// The URL of a service on this machine or near it: HTTP, for requests go through a proxy.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err("only http://HOST:PORT, as requests go through the drill's proxy".to_owned());
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("nothing may follow HOST:PORT".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A command in words: split at spaces; single and double quotes keep them.
pub(crate) fn words(text: &str) -> Result<Words, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ' | '\t' | '\n', None) => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("{open} is not closed"));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err("it is empty: name a program".to_owned());
    }
    Ok(Words(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_urls_of_a_host_pass() {
        assert_eq!(url("http://127.0.0.1:8000/"), Ok("http://127.0.0.1:8000".to_owned()));
        for bad in ["", "127.0.0.1:8000", "https://x:1", "http://x:1/table", "http://", "ftp://x"] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn words_are_split_at_spaces_that_are_not_quoted() {
        let split = |text| words(text).map(|words| words.0);
        assert_eq!(split("java  -jar w.jar").unwrap(), ["java", "-jar", "w.jar"]);
        assert_eq!(split("'/my dir/w' --x=\"a b\" ''").unwrap(), ["/my dir/w", "--x=a b", ""]);
        for bad in ["", "  ", "''", "a 'b"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
