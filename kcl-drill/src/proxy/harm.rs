//! What becomes of a request, drawn from its number: the same harm strikes the same requests.

use std::time::Duration;

use kcl_core::protocol::hash;

/// The harm done to requests, each in thousandths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    /// The operation it is done to; empty: every one.
    pub operation: String,
    /// Every request, and every answer, is lost.
    pub outage: bool,
    pub throttle: u64,
    pub drop: u64,
    pub drop_reply: u64,
    pub duplicate: u64,
    pub broken: u64,
    pub delay: u64,
    pub delay_for: Duration,
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

pub(crate) fn fate(harm: &Harm, operation: &str, number: u64) -> Fate {
    if harm.outage {
        return Fate::Drop;
    }
    if !harm.operation.is_empty() && harm.operation != operation {
        return Fate::Pass;
    }
    let mut roll = hash::mix(number) % 1000;
    for (share, fate) in [
        (harm.throttle, Fate::Throttle),
        (harm.drop, Fate::Drop),
        (harm.drop_reply, Fate::DropReply),
        (harm.duplicate, Fate::Duplicate),
        (harm.broken, Fate::Break),
        (harm.delay, Fate::Delay(harm.delay_for)),
    ] {
        if roll < share {
            return fate;
        }
        roll -= share;
    }
    Fate::Pass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_harm_strikes_its_share() {
        let harm = Harm { throttle: 300, drop_reply: 100, ..Harm::default() };
        let fates: Vec<_> = (0..10_000).map(|number| fate(&harm, "PutItem", number)).collect();
        let share = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
        assert!((2_800..3_200).contains(&share(Fate::Throttle)));
        assert!((850..1_150).contains(&share(Fate::DropReply)));
        let other = Harm { operation: "Scan".into(), ..harm };
        assert!((0..1000).all(|number| fate(&other, "PutItem", number) == Fate::Pass));
        let outage = Harm { outage: true, ..Harm::default() };
        assert_eq!(fate(&outage, "Scan", 1), Fate::Drop);
    }
}
