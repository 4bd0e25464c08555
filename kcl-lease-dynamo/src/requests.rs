//! The requests of a lease table: gather, render, send, sort the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aws_sdk_dynamodb::Client;
use futures_util::future::try_join_all;
use kcl_core::{Effects, Scan, TableError};
use kcl_protocol::{CasOutcome, ConditionalWrite, LeaseWrite, Row, RowKey, TableWrite};

use crate::attributes::{Item, text};
use crate::codec::{decode_lease, is_lease};
use crate::coordination::decode_coordination;
use crate::counts::{Counters, Kind};
use crate::effects::DynamoEffects;
use crate::errors::{Intent, classify};
use crate::limits::{EFFECTS, PIN_ATTEMPTS, SCAN_SEGMENTS};
use crate::options::TableOptions;
use crate::render::{Alone, Place, key_attribute, needs_pin, place_of, render};

/// The requests about one lease table; each method runs where it is polled.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub client: Client,
    pub leases: Arc<str>,
    pub coordination: Arc<str>,
    pub create_if_missing: Option<Arc<TableOptions>>,
    /// For each table, whether it was made here and still lacks its options.
    pub owed_options: Arc<[AtomicBool; 2]>,
    pub fixed_segments: Option<u32>,
    pub segments: Arc<[AtomicU32; 2]>,
    pub counters: Arc<Counters>,
}

/// What one segment of a scan brought.
#[derive(Default)]
struct Pages {
    rows: Vec<Row>,
    count: u32,
}

impl Requests {
    pub(crate) fn table_name(&self, place: Place) -> &str {
        match place {
            Place::Leases => &self.leases,
            Place::Coordination => &self.coordination,
        }
    }

    pub(crate) fn decode(&self, place: Place, item: &Item) -> Result<Row, TableError> {
        let decoded = match place {
            Place::Leases => decode_lease(item).map(Row::Lease),
            Place::Coordination => decode_coordination(item),
        };
        decoded.map_err(|reason| {
            let key = item.get(key_attribute(place));
            let key = key.and_then(|key| key.as_s().ok()).map_or("(no key)", String::as_str);
            TableError::BadRow { key: format!("{}/{key}", self.table_name(place)), reason }
        })
    }

    /// Sends one write alone.
    async fn send(
        &self,
        write: &ConditionalWrite,
        pin: Option<&Row>,
    ) -> Result<CasOutcome, TableError> {
        let rendered = render(write, pin, Alone::Yes)?;
        crate::send::alone(self, rendered).await
    }

    async fn segment(&self, place: Place, segment: i32, of: i32) -> Result<Pages, TableError> {
        let table = self.table_name(place);
        let mut pages = Pages::default();
        let mut next = None;
        loop {
            self.counters.add(Kind::ScanPage);
            let scan = self.client.scan().table_name(table).consistent_read(true);
            let scan = if of > 1 { scan.segment(segment).total_segments(of) } else { scan };
            let answer = scan.set_exclusive_start_key(next).send().await;
            let answer = answer.map_err(|error| classify(&error, Intent::Read, table))?;
            pages.count += 1;
            let items = answer.items.unwrap_or_default();
            let ours = items.iter().filter(|item| place == Place::Coordination || is_lease(item));
            for item in ours {
                pages.rows.push(self.decode(place, item)?);
            }
            next = answer.last_evaluated_key;
            if next.is_none() {
                return Ok(pages);
            }
        }
    }

    /// Tries a pinned write on the row as read, and again on each newer row a refusal brings.
    async fn write_pinned(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        let mut seen = self.read(&write.key()).await?;
        for _ in 0..PIN_ATTEMPTS {
            let Ok(after) = write.apply(seen.as_ref()) else { return Ok(CasOutcome::Lost(seen)) };
            let raises = matches!(write, ConditionalWrite::Table(TableWrite::RaiseMaxima { .. }));
            if raises && after == seen {
                return Ok(CasOutcome::Won(seen));
            }
            match self.send(write, seen.as_ref()).await? {
                CasOutcome::Lost(row) => seen = row,
                won => return Ok(won),
            }
        }
        Err(TableError::Conflict)
    }

    pub(crate) async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let place = match scope {
            Scan::Coordination => Place::Coordination,
            Scan::Leases => Place::Leases,
        };
        let known = &self.segments[place as usize];
        let of = self.fixed_segments.unwrap_or_else(|| known.load(Ordering::Relaxed)).max(1);
        // At most SCAN_SEGMENTS, so it fits.
        let segments = (0..of).map(|segment| self.segment(place, segment as i32, of as i32));
        let segments = try_join_all(segments).await?;
        let pages: u32 = segments.iter().map(|pages| pages.count).sum();
        known.fetch_max(pages.min(SCAN_SEGMENTS), Ordering::Relaxed);
        let mut rows: Vec<Row> = segments.into_iter().flat_map(|pages| pages.rows).collect();
        rows.sort_by_cached_key(Row::key);
        Ok(rows)
    }

    pub(crate) async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        let (place, key) = place_of(key);
        let table = self.table_name(place);
        self.counters.add(Kind::Read);
        let get = self.client.get_item().table_name(table).consistent_read(true);
        let answer = get.key(key_attribute(place), text(key)).send().await;
        let answer = answer.map_err(|error| classify(&error, Intent::Read, table))?;
        answer.item.map(|item| self.decode(place, &item)).transpose()
    }

    pub(crate) async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        if needs_pin(write) {
            return self.write_pinned(write).await;
        }
        match (self.send(write, None).await?, write) {
            (CasOutcome::Lost(Some(row)), ConditionalWrite::Lease(LeaseWrite::Ensure(_))) => {
                Ok(CasOutcome::Won(Some(row)))
            }
            (outcome, _) => Ok(outcome),
        }
    }

    pub(crate) async fn write_all(
        &self,
        writes: &[ConditionalWrite],
    ) -> Result<CasOutcome, TableError> {
        match writes {
            [] => Ok(CasOutcome::Won(None)),
            [write] => self.write(write).await,
            writes => self.transact(writes, &DynamoEffects::default()).await,
        }
    }

    pub(crate) async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let Some(effects) = effects.downcast::<DynamoEffects>() else {
            return Err(TableError::Refused(
                "the effects are not DynamoEffects, the only kind this lease table takes".into(),
            ));
        };
        if effects.0.len() > EFFECTS {
            return Err(TableError::Refused(format!(
                "{} effects in one checkpoint; a transaction holds {EFFECTS}: checkpoint oftener",
                effects.0.len()
            )));
        }
        self.transact(std::slice::from_ref(write), effects).await
    }
}
