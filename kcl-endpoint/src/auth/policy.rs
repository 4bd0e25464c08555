//! Rules in the shape of IAM policy documents.

use serde::Deserialize;

/// A statement as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Written {
    #[serde(default)]
    #[expect(dead_code, reason = "a name for people")]
    sid: Option<String>,
    effect: Effect,
    action: OneOrMore,
    resource: OneOrMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    /// Lowercase: IAM compares actions so.
    actions: Vec<String>,
    resources: Vec<String>,
}

/// What a key may do.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    NotAllowed,
}

impl Policy {
    pub(super) fn new(written: Vec<Written>) -> Result<Self, String> {
        let mut statements = Vec::new();
        for statement in written {
            let actions = statement.action.into_vec();
            let resources = statement.resource.into_vec();
            let is_ours = |action: &&String| {
                *action == "*" || action.to_ascii_lowercase().starts_with("kinesis:")
            };
            if let Some(action) = actions.iter().find(|action| !is_ours(action)) {
                return Err(format!("Action {action} is none of Kinesis: use kinesis:NAME or *"));
            }
            let is_arn = |resource: &&String| *resource == "*" || resource.starts_with("arn:");
            if let Some(resource) = resources.iter().find(|resource| !is_arn(resource)) {
                return Err(format!("Resource {resource} is no ARN: use arn:... or *"));
            }
            let actions = actions.iter().map(|action| action.to_ascii_lowercase()).collect();
            statements.push(Statement { effect: statement.effect, actions, resources });
        }
        Ok(Self { statements })
    }

    pub(super) fn judge(&self, action: &str, resource: &str) -> Verdict {
        let action = action.to_ascii_lowercase();
        let mut verdict = Verdict::NotAllowed;
        for statement in &self.statements {
            let fits = statement.actions.iter().any(|pattern| matches(pattern, &action))
                && statement.resources.iter().any(|pattern| matches(pattern, resource));
            match statement.effect {
                Effect::Deny if fits => return Verdict::Denied,
                Effect::Allow if fits => verdict = Verdict::Allowed,
                _ => {}
            }
        }
        verdict
    }
}

/// `*` stands for any characters, `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where the last star is, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    place = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("kinesis:*", "kinesis:PutRecord", true),
            ("kinesis:Put*", "kinesis:GetRecords", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
            ("arn:*:stream/a", "arn:aws:kinesis:r:0:stream/ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn statement(effect: Effect, action: &str, resource: &str) -> Written {
        let one = |text: &str| OneOrMore::One(text.to_owned());
        Written { sid: None, effect, action: one(action), resource: one(resource) }
    }

    #[test]
    fn nothing_is_allowed_unless_said_and_deny_wins() {
        let policy = Policy::new(vec![
            statement(Effect::Allow, "kinesis:Put*", "arn:a:stream/*"),
            statement(Effect::Deny, "Kinesis:putrecords", "arn:a:stream/b"),
        ]);
        let policy = policy.unwrap();
        let judge = |action: &str, resource: &str| policy.judge(action, resource);
        assert_eq!(judge("kinesis:PutRecord", "arn:a:stream/b"), Verdict::Allowed);
        assert_eq!(judge("kinesis:PutRecords", "arn:a:stream/a"), Verdict::Allowed);
        assert_eq!(judge("kinesis:PutRecords", "arn:a:stream/b"), Verdict::Denied);
        assert_eq!(judge("kinesis:GetRecords", "arn:a:stream/b"), Verdict::NotAllowed);
        // No stream at all: only a bare star covers that.
        assert_eq!(judge("kinesis:PutRecord", "*"), Verdict::NotAllowed);
        assert_eq!(Policy::default().judge("kinesis:PutRecord", "*"), Verdict::NotAllowed);
    }
}
