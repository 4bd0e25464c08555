//! What becomes of a request, drawn from its number: the same harm strikes the same requests.

use std::time::Duration;

use kcl_core::protocol::hash;

/// The harm done to requests at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    /// No request comes through.
    pub is_outage: bool,
    pub rules: Vec<Rule>,
}

/// One harm done to a share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The operation it is done to, as in `UpdateItem`; every one if absent.
    pub operation: Option<String>,
    pub fate: Fate,
    /// In thousandths.
    pub share: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Delay(Duration),
    /// Never forwarded.
    Drop,
    /// Forwarded; its answer is lost.
    DropReply,
    /// Forwarded twice; the second answer is given.
    Duplicate,
    Throttle,
    /// An internal error, not forwarded.
    Break,
}

/// The longest delay: beyond it every client has given up.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

impl Rule {
    /// Refuses this share (in thousandths) of all requests.
    pub fn throttle(share: u64) -> Self {
        Self { operation: None, fate: Fate::Throttle, share }
    }

    /// Reads `[OPERATION:]KIND=PERCENT`, with `@MILLISECONDS` behind a delay.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not [OPERATION:]KIND=PERCENT or delay=PERCENT@MS");
        let (operation, rest) = match text.split_once(':') {
            Some((operation, rest)) => (Some(operation.to_owned()), rest),
            None => (None, text),
        };
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric())
        };
        if !operation.as_ref().is_none_or(is_name) {
            return Err(usage());
        }
        let (kind, amount) = rest.split_once('=').ok_or_else(usage)?;
        let (percent, millis) = match amount.split_once('@') {
            Some((percent, millis)) => (percent, Some(millis)),
            None => (amount, None),
        };
        let percent: f64 = percent.trim_end_matches('%').parse().map_err(|_| usage())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(format!("{text:?}: a share is 0 to 100 percent"));
        }
        let fate = match (kind, millis) {
            ("delay", Some(millis)) => {
                let delay = Duration::from_millis(millis.parse().map_err(|_| usage())?);
                if delay > LONGEST_DELAY {
                    return Err(format!("{text:?}: a delay is at most {LONGEST_DELAY:?}"));
                }
                Fate::Delay(delay)
            }
            ("drop", None) => Fate::Drop,
            ("drop-reply", None) => Fate::DropReply,
            ("duplicate", None) => Fate::Duplicate,
            ("throttle", None) => Fate::Throttle,
            ("error", None) => Fate::Break,
            _ => return Err(usage()),
        };
        Ok(Self { operation, fate, share: (percent * 10.0).round() as u64 })
    }
}

/// What becomes of a request; of rules that together exceed the whole, the first ones count.
pub(crate) fn fate(harm: &Harm, operation: &str, number: u64) -> Fate {
    if harm.is_outage {
        return Fate::Drop;
    }
    let mut roll = hash::mix(number) % 1000;
    for rule in &harm.rules {
        if rule.operation.as_deref().is_some_and(|only| only != operation) {
            continue;
        }
        if roll < rule.share {
            return rule.fate;
        }
        roll -= rule.share;
    }
    Fate::Pass
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harm(text: &str) -> Harm {
        let rules = text.split(',').map(|rule| Rule::parse(rule).unwrap()).collect();
        Harm { is_outage: false, rules }
    }

    #[test]
    fn each_harm_strikes_its_share_of_its_operation() {
        let harm = harm("throttle=30,PutItem:drop-reply=10");
        let share = |operation, wanted| {
            (0..10_000).filter(|number| fate(&harm, operation, *number) == wanted).count()
        };
        assert!((2_800..3_200).contains(&share("PutItem", Fate::Throttle)));
        assert!((850..1_150).contains(&share("PutItem", Fate::DropReply)));
        assert!((2_800..3_200).contains(&share("Scan", Fate::Throttle)));
        assert_eq!(share("Scan", Fate::DropReply), 0);
        let outage = Harm { is_outage: true, ..Harm::default() };
        assert_eq!(fate(&outage, "Scan", 1), Fate::Drop);
    }

    #[test]
    fn harm_is_read_and_nonsense_is_refused() {
        let delay = Rule::parse("UpdateItem:delay=2.5@300").unwrap();
        let wanted = Fate::Delay(Duration::from_millis(300));
        assert_eq!((delay.operation.as_deref(), delay.share), (Some("UpdateItem"), 25));
        assert_eq!(delay.fate, wanted);
        for bad in [
            "",
            "drop",
            "drop=",
            "drop=x",
            "drop=101",
            "drop=-1",
            "drop=5@300",
            "delay=5",
            "delay=5@x",
            "delay=5@60001",
            ":drop=5",
            "Update Item:drop=5",
            "burn=5",
            "drop=NaN",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad:?}");
        }
    }
}
