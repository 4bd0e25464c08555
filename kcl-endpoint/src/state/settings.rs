//! What the engine does not know of streams: how they are set up in the service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::State;
use crate::error::ApiError;
use crate::limits::{DAY_MILLIS, TAGS};
use crate::names::ConsumerRef;

/// How a stream's capacity is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    #[default]
    Provisioned,
    OnDemand,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
    /// Of its name, which the model has checked.
    pub fn of(name: &str) -> Self {
        if name == "ON_DEMAND" { Self::OnDemand } else { Self::Provisioned }
    }
}

/// What picks the shard of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Distribution {
    #[default]
    UserPartitionKey,
    Auto,
}

impl Distribution {
    pub fn name(self) -> &'static str {
        match self {
            Self::UserPartitionKey => "USER_PARTITION_KEY",
            Self::Auto => "AUTO",
        }
    }
    /// Of its name, which the model has checked.
    pub fn of(name: &str) -> Self {
        if name == "AUTO" { Self::Auto } else { Self::UserPartitionKey }
    }
}

/// What is attached to a stream or a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attached {
    pub tags: BTreeMap<String, String>,
    pub policy: Option<String>,
}

impl Attached {
    /// Adds tags, or replaces their values: all or none.
    pub fn tag(&mut self, tags: BTreeMap<String, String>) -> Result<(), ApiError> {
        let is_allowed =
            |c: char| c.is_alphanumeric() || c.is_whitespace() || "_./=+-%@:".contains(c);
        let is_fine = |text: &String| text.chars().all(is_allowed);
        if !tags.iter().all(|(key, value)| is_fine(key) && is_fine(value)) {
            return Err(ApiError::invalid_argument(
                "Some tags contain invalid characters. Valid characters: Unicode letters, digits, \
                 white space, _ . / = + - % @ :",
            ));
        }
        if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
            return Err(ApiError::invalid_argument("Tag keys starting with aws: are reserved."));
        }
        let added = tags.keys().filter(|key| !self.tags.contains_key(*key)).count();
        if self.tags.len() + added > TAGS {
            return Err(ApiError::invalid_argument(format!(
                "A resource cannot have more than {TAGS} tags associated with it."
            )));
        }
        self.tags.extend(tags);
        Ok(())
    }
}

/// Calls of one kind within a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Daily(VecDeque<u64>);

impl Daily {
    /// Counts a call, unless `most` were made within 24 hours.
    pub fn take(&mut self, now_millis: u64, most: usize, what: &str) -> Result<(), ApiError> {
        self.0.retain(|at| at + DAY_MILLIS > now_millis);
        if self.0.len() >= most {
            return Err(ApiError::limit_exceeded(format!(
                "{what} can be called {most} times in 24 hours for a stream: try again later."
            )));
        }
        self.0.push_back(now_millis);
        Ok(())
    }
}

/// The settings of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub mode: Mode,
    pub distribution: Distribution,
    pub warm_mibps: Option<i64>,
    /// The key its records are said to be encrypted with.
    pub key: Option<String>,
    pub metrics: BTreeSet<String>,
    pub attached: Attached,
    pub resharded: Daily,
    pub mode_updated: Daily,
    pub encryption_started: Daily,
    pub encryption_stopped: Daily,
}

/// What tags and policies are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Stream(String),
    Consumer(ConsumerRef),
}

impl State {
    /// Reads the settings of a stream.
    pub fn settings<R>(&self, stream: &str, read: impl FnOnce(&Settings) -> R) -> R {
        match self.lock_settings().get(stream) {
            Some(settings) => read(settings),
            None => read(&Settings::default()),
        }
    }

    /// Changes the settings of a stream that exists. If the change cannot be kept, there is none.
    pub fn change_settings<R>(
        &self,
        stream: &str,
        change: impl FnOnce(&mut Settings) -> R,
    ) -> Result<R, ApiError> {
        let mut settings = self.lock_settings();
        let of_stream = settings.entry(stream.to_owned()).or_default();
        let before = of_stream.clone();
        let changed = change(of_stream);
        let is_changed = before != *of_stream;
        drop(settings);
        if is_changed {
            let undo = |_: &_| drop(self.lock_settings().insert(stream.to_owned(), before));
            self.keep().inspect_err(undo)?;
        }
        Ok(changed)
    }

    /// The settings of a stream that is about to be there: kept with it.
    pub fn begin_settings(&self, stream: &str, settings: Settings) {
        self.lock_settings().insert(stream.to_owned(), settings);
    }

    /// What of a stream's settings every put and read needs: no copy of the rest.
    pub fn record_settings(&self, stream: &str) -> (Distribution, &'static str) {
        let settings = self.lock_settings();
        settings.get(stream).map_or((Distribution::default(), "NONE"), |settings| {
            (settings.distribution, if settings.key.is_some() { "KMS" } else { "NONE" })
        })
    }

    /// Reads or changes what is attached to a resource.
    pub fn attached<R>(
        &self,
        resource: &Resource,
        read: impl FnOnce(&mut Attached) -> R,
    ) -> Result<R, ApiError> {
        match resource {
            Resource::Stream(stream) => {
                self.stream(stream)?;
                self.change_settings(stream, |settings| read(&mut settings.attached))
            }
            Resource::Consumer(consumer) => self.attached_to_consumer(consumer, read),
        }
    }

    /// The settings of all streams, to be kept.
    pub(super) fn all_settings(&self) -> BTreeMap<String, Settings> {
        self.lock_settings().clone()
    }

    /// Drops the settings of a stream that is gone.
    pub fn forget_settings(&self, stream: &str) {
        self.lock_settings().remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(range: std::ops::Range<u32>) -> BTreeMap<String, String> {
        range.map(|number| (format!("k{number}"), "v".to_owned())).collect()
    }

    #[test]
    fn a_resource_has_at_most_fifty_tags() {
        let mut attached = Attached::default();
        attached.tag(tags(0..50)).unwrap();
        assert!(attached.tag(tags(50..51)).is_err());
        attached.tag(tags(0..50)).unwrap();
        assert_eq!(attached.tags.len(), 50);
        for bad in ["aws:x", "a#b"] {
            assert!(Attached::default().tag([(bad.into(), "v".into())].into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_daily_quota_comes_back_after_a_day() {
        let mut daily = Daily::default();
        daily.take(0, 2, "X").unwrap();
        daily.take(1, 2, "X").unwrap();
        assert!(daily.take(DAY_MILLIS - 1, 2, "X").is_err());
        daily.take(DAY_MILLIS, 2, "X").unwrap();
    }
}
