//! The options of a run as JSON, to run it again.

use std::time::Duration;

use serde_json::{Map, Value};

use super::run::Options;

const DAY_S: u64 = 86_400;

impl Options {
    /// Everything that the run follows from, but its rules: those are broken in tests alone.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("seed", self.seed),
            ("workers", self.workers as u64),
            ("shards", self.shards.into()),
            ("rate", self.rate.into()),
            ("faults_s", self.faults.as_secs()),
            ("healing_s", self.healing.as_secs()),
        ];
        let fields = fields.map(|(key, value)| (key.to_owned(), value.into()));
        let mut fields: Map<_, _> = fields.into_iter().collect();
        let without: Vec<_> = self.without.iter().map(|id| Value::from(*id)).collect();
        fields.insert("without".into(), without.into());
        fields
    }

    /// The run that [`Options::to_json`] wrote down.
    ///
    /// # Errors
    /// Names the field that is missing or out of bounds.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let within = |key: &str, least: u64, most: u64| match value[key].as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => Err(format!("`{key}` is {number}, and must be {least} to {most}")),
            None => Err(format!("`{key}` is missing, or no number")),
        };
        let seed = within("seed", 0, u64::MAX)?;
        let without = value["without"].as_array().map(Vec::as_slice).unwrap_or_default();
        let without: Option<Vec<_>> = without.iter().map(Value::as_u64).collect();
        Ok(Self {
            workers: usize::try_from(within("workers", 1, 200)?).unwrap_or(usize::MAX),
            shards: u32::try_from(within("shards", 1, 1000)?).unwrap_or(u32::MAX),
            rate: u32::try_from(within("rate", 0, 1000)?).unwrap_or(u32::MAX),
            faults: Duration::from_secs(within("faults_s", 0, DAY_S)?),
            healing: Duration::from_secs(within("healing_s", 1, DAY_S)?),
            without: without.ok_or("`without` is not a list of numbers")?,
            ..Self::seed(seed)
        })
    }
}
