//! What the program keeps in files: a run to replay, and how far a campaign has come.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kcl_testkit::sim::{Campaign, Failed, Kind, Options, Outcome};
use serde_json::{Map, Value, json};

const DAY_S: u64 = 86_400;

/// The options of a run, to replay it.
pub fn run_to_json(options: &Options) -> Value {
    let mut fields = common(options);
    fields.insert("seed".into(), options.seed.into());
    let without: Vec<_> = options.without.iter().map(|id| Value::from(*id)).collect();
    fields.insert("without".into(), without.into());
    Value::Object(fields)
}

/// Reads a run to replay.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_run(file: &Path) -> Result<Options, String> {
    let value = read(file)?;
    let within = |key: &str, least: u64, most: u64| match number(&value, key) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(number) => {
            Err(named(file, &format!("`{key}` is {number}, and must be {least} to {most}")))
        }
        Err(error) => Err(named(file, &error)),
    };
    let seed = within("seed", 0, u64::MAX)?;
    let without = value["without"].as_array().map(Vec::as_slice).unwrap_or_default();
    let without: Option<Vec<_>> = without.iter().map(Value::as_u64).collect();
    Ok(Options {
        workers: usize::try_from(within("workers", 1, 200)?).unwrap_or(usize::MAX),
        shards: u32::try_from(within("shards", 1, 1000)?).unwrap_or(u32::MAX),
        rate: u32::try_from(within("rate", 0, 1000)?).unwrap_or(u32::MAX),
        faults: Duration::from_secs(within("faults_s", 0, DAY_S)?),
        healing: Duration::from_secs(within("healing_s", 1, DAY_S)?),
        without: without.ok_or_else(|| named(file, "`without` is not a list of numbers"))?,
        ..Options::seed(seed)
    })
}

/// How far a campaign has come, kept in a file so that it can go on.
pub struct State {
    file: PathBuf,
    campaign: Map<String, Value>,
}

impl State {
    /// Of this campaign, in this file.
    pub fn new(file: &Path, campaign: &Campaign) -> Self {
        let mut fields = common(&campaign.options);
        fields.insert("first".into(), campaign.first.into());
        Self { file: file.to_owned(), campaign: fields }
    }

    /// What is done, and how long it took; nothing, if there is no such file.
    ///
    /// # Errors
    /// If the file is not one of these, or of another campaign.
    pub fn read(&self) -> Result<(Outcome, Duration), String> {
        if !self.file.exists() {
            return Ok(Default::default());
        }
        let value = read(&self.file)?;
        let done = &value["done"];
        if value["campaign"].as_object() != Some(&self.campaign) {
            let why = "is of other seeds or another fleet: remove it, or name another file";
            return Err(named(&self.file, why));
        }
        outcome(done).ok_or_else(|| named(&self.file, "is torn: remove it to start over"))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, outcome: &Outcome, wall: Duration) -> Result<(), String> {
        let failed: Vec<_> = outcome
            .failed
            .iter()
            .map(|failed| json!({ "seed": failed.seed, "violations": failed.violations }))
            .collect();
        let value = json!({
            "campaign": self.campaign,
            "done": {
                "seeds": outcome.seeds,
                "simulated_s": outcome.simulated.as_secs(),
                "faults_by_kind": faults_by_kind(outcome),
                "records": outcome.records,
                "failed": failed,
                "not_reproducible": outcome.not_reproducible,
                "trace_hash": outcome.trace_hash,
                "wall_ms": u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            },
        });
        // A process killed in the middle leaves the old file.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{value:#}\n"))
            .and_then(|()| fs::rename(&next, &self.file))
            .map_err(|error| named(&self.file, &error.to_string()))
    }
}

/// How often each kind struck, by its name.
pub fn faults_by_kind(outcome: &Outcome) -> Map<String, Value> {
    outcome.faults.iter().map(|(kind, count)| (format!("{kind:?}"), (*count).into())).collect()
}

fn common(options: &Options) -> Map<String, Value> {
    let fields = [
        ("workers", options.workers as u64),
        ("shards", options.shards.into()),
        ("rate", options.rate.into()),
        ("faults_s", options.faults.as_secs()),
        ("healing_s", options.healing.as_secs()),
    ];
    fields.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect()
}

fn outcome(done: &Value) -> Option<(Outcome, Duration)> {
    let number = |key: &str| done[key].as_u64();
    let by_name: BTreeMap<_, _> = Kind::ALL.map(|kind| (format!("{kind:?}"), kind)).into();
    let mut faults = BTreeMap::new();
    for (name, count) in done["faults_by_kind"].as_object()? {
        faults.insert(*by_name.get(name)?, usize::try_from(count.as_u64()?).ok()?);
    }
    let failed = done["failed"].as_array()?.iter().map(|failed| {
        let violations = failed["violations"].as_array()?.iter();
        let violations = violations.map(|text| text.as_str().map(str::to_owned));
        Some(Failed {
            seed: failed["seed"].as_u64()?,
            violations: violations.collect::<Option<_>>()?,
        })
    });
    let outcome = Outcome {
        seeds: number("seeds")?,
        simulated: Duration::from_secs(number("simulated_s")?),
        faults,
        records: usize::try_from(number("records")?).ok()?,
        failed: failed.collect::<Option<_>>()?,
        not_reproducible: done["not_reproducible"]
            .as_array()?
            .iter()
            .map(Value::as_u64)
            .collect::<Option<_>>()?,
        trace_hash: number("trace_hash")?,
    };
    Some((outcome, Duration::from_millis(number("wall_ms")?)))
}

fn number(value: &Value, key: &str) -> Result<u64, String> {
    value[key].as_u64().ok_or_else(|| format!("`{key}` is missing, or no number"))
}

fn read(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| named(file, &error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| named(file, &format!("is not JSON: {error}")))
}

fn named(file: &Path, error: &str) -> String {
    format!("{}: {error}", file.display())
}
