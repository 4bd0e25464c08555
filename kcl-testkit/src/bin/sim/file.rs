//! What the program keeps in files: a run to replay, and how far a campaign has come.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kcl_testkit::sim::{Campaign, Failed, Failure, Kind, Options, Outcome, Struck, run};
use serde_json::{Map, Value, json};

/// Reads a run to replay.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_run(file: &Path) -> Result<Options, String> {
    Options::from_json(&read(file)?).map_err(|error| named(file, &error))
}

/// Writes a run to replay, with all the faults that are left of it.
///
/// # Errors
/// If the file cannot be written.
pub fn write_failure(file: &Path, failure: &Failure) -> Result<(), String> {
    let mut fields = failure.options.to_json();
    let fault = |Struck { at, kind, actor, id }: &Struck| {
        let (at_s, kind) = (at.0.as_secs_f64(), format!("{kind:?}"));
        json!({ "at_s": at_s, "kind": kind, "actor": actor, "id": id })
    };
    fields.insert("faults".into(), failure.faults.iter().map(fault).collect());
    let text = format!("{:#}\n", Value::Object(fields));
    fs::write(file, text).map_err(|error| named(file, &error.to_string()))
}

/// How far a campaign has come, kept in a file so that it can go on.
pub struct State {
    file: PathBuf,
    campaign: Map<String, Value>,
}

impl State {
    /// Of this campaign, in this file.
    pub fn new(file: &Path, campaign: &Campaign) -> Self {
        let mut fields = campaign.options.to_json();
        fields.retain(|key, _| !["seed", "without"].contains(&key.as_str()));
        fields.insert("first".into(), campaign.first.into());
        fields.insert("build".into(), build().into());
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
            let why = "is of other seeds, another fleet or a build that simulates otherwise: \
                       remove it, or name another file";
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

/// What this build makes of a small fleet: one that simulates otherwise makes something else of it.
fn build() -> String {
    let small = Options { workers: 3, shards: 4, ..Options::seed(0) };
    format!("{:016x}", run(&small).trace_hash())
}

/// How often each kind struck, by its name.
pub fn faults_by_kind(outcome: &Outcome) -> Map<String, Value> {
    outcome.faults.iter().map(|(kind, count)| (format!("{kind:?}"), (*count).into())).collect()
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

fn read(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| named(file, &error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| named(file, &format!("is not JSON: {error}")))
}

fn named(file: &Path, error: &str) -> String {
    format!("{}: {error}", file.display())
}
