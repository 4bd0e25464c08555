//! Making and checking the tables.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ProvisionedThroughput, ScalarAttributeType, TableDescription, TableStatus, Tag,
};
use kcl_core::TableError;

use crate::counts::Kind;
use crate::errors::{Intent, classify};
use crate::limits::{
    ACTIVE_POLL, ACTIVE_POLLS, ACTIVE_POLLS_PER_LINE, MADE_POLLS, SCAN_PAGE_BYTES, SCAN_SEGMENTS,
};
use crate::options::{Billing, TableOptions};
use crate::render::{Place, key_attribute};
use crate::requests::Requests;

const PLACES: [Place; 2] = [Place::Leases, Place::Coordination];

/// What is known of a table before it is waited for.
#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    /// It was asked for: for a while the service may still say that there is none.
    Made,
    Described(TableDescription),
}

impl Known {
    /// Without a description, which options that are applied may put out of date.
    fn afresh(&self) -> Self {
        match self {
            Self::Made => Self::Made,
            Self::Nothing | Self::Described(_) => Self::Nothing,
        }
    }
}

impl Requests {
    /// See [`crate::DynamoLeaseTable::setup`].
    pub(crate) async fn setup(&self, options: &TableOptions) -> Result<String, TableError> {
        let known = self.make_missing(options).await?;
        for (place, known) in PLACES.into_iter().zip(&known) {
            self.apply_options(place, known.afresh(), options).await?;
        }
        self.check(known.each_ref().map(Known::afresh)).await
    }

    /// See [`kcl_core::LeaseTable::prepare`]. A table just made gets its options too.
    pub(crate) async fn prepare(&self) -> Result<String, TableError> {
        let Some(options) = &self.create_if_missing else {
            return self.check(Default::default()).await;
        };
        let mut known = self.make_missing(options).await?;
        for place in PLACES {
            if self.owes_options(place).load(Ordering::Acquire) {
                let known = &mut known[place as usize];
                let table = self.apply_options(place, std::mem::take(known), options).await?;
                *known = Known::Described(table);
            }
        }
        self.check(known).await
    }

    /// Whether a table was made here and its options were not applied yet: a request that fails
    /// on the way must not leave it without them, although it is found the next time.
    fn owes_options(&self, place: Place) -> &AtomicBool {
        &self.owed_options[place as usize]
    }

    async fn make_missing(&self, options: &TableOptions) -> Result<[Known; 2], TableError> {
        let mut known = <[Known; 2]>::default();
        for place in PLACES {
            known[place as usize] = match self.describe(place).await? {
                Some(table) => Known::Described(table),
                None => {
                    let owes = self.owes_options(place);
                    let owed = owes.swap(true, Ordering::AcqRel);
                    self.create(place, options).await.inspect_err(|error| {
                        // An earlier request may still make it.
                        owes.store(owed || error.may_have_applied(), Ordering::Release);
                    })?;
                    Known::Made
                }
            };
        }
        Ok(known)
    }

    /// Checks that both tables exist, are ours and can be used; returns their ids as one.
    async fn check(&self, known: [Known; 2]) -> Result<String, TableError> {
        let mut ids = Vec::new();
        for (place, known) in PLACES.into_iter().zip(known) {
            let table = self.wait_until_active(place, known).await?;
            check_key(&table, self.table_name(place), key_attribute(place))?;
            // The service counts the size every six hours: a start, corrected by each scan.
            let bytes = table.table_size_bytes().and_then(|size| u64::try_from(size).ok());
            let pages = bytes.unwrap_or(0) / SCAN_PAGE_BYTES + 1;
            let segments = u32::try_from(pages).unwrap_or(SCAN_SEGMENTS).min(SCAN_SEGMENTS);
            self.segments[place as usize].store(segments, Ordering::Relaxed);
            ids.push(id_of(&table));
        }
        Ok(ids.join("+"))
    }

    async fn describe(&self, place: Place) -> Result<Option<TableDescription>, TableError> {
        let name = self.table_name(place);
        self.counters.add(Kind::Control);
        match self.client.describe_table().table_name(name).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) => match error.as_service_error() {
                Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(None),
                _ => Err(classify(&error, Intent::Read, name)),
            },
        }
    }

    async fn create(&self, place: Place, options: &TableOptions) -> Result<(), TableError> {
        let (name, key) = (self.table_name(place), key_attribute(place));
        let refused = |error: aws_sdk_dynamodb::error::BuildError| {
            TableError::Refused(format!("table {name} cannot be described: {error}"))
        };
        let attribute = AttributeDefinition::builder()
            .attribute_name(key)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(refused)?;
        let hash = KeySchemaElement::builder()
            .attribute_name(key)
            .key_type(KeyType::Hash)
            .build()
            .map_err(refused)?;
        let request = self
            .client
            .create_table()
            .table_name(name)
            .attribute_definitions(attribute)
            .key_schema(hash)
            .set_deletion_protection_enabled(options.deletion_protection.then_some(true));
        let request = match options.billing {
            Billing::OnDemand => request.billing_mode(BillingMode::PayPerRequest),
            Billing::Provisioned { read, write } => {
                let units = ProvisionedThroughput::builder()
                    .read_capacity_units(read.into())
                    .write_capacity_units(write.into())
                    .build()
                    .map_err(refused)?;
                request.billing_mode(BillingMode::Provisioned).provisioned_throughput(units)
            }
        };
        self.counters.add(Kind::Control);
        tracing::info!(table = name, "making the table");
        match request.send().await {
            Ok(_) => Ok(()),
            // Somebody else was first; whether it is a lease table is checked afterwards.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(classify(&error, Intent::Write, name)),
        }
    }

    async fn wait_until_active(
        &self,
        place: Place,
        known: Known,
    ) -> Result<TableDescription, TableError> {
        let name = self.table_name(place);
        let (mut is_new, mut described) = match known {
            Known::Nothing => (false, None),
            Known::Made => (true, None),
            Known::Described(table) => (false, Some(table)),
        };
        for look in 0..ACTIVE_POLLS {
            let table = match described.take() {
                Some(table) => Some(table),
                None => self.describe(place).await?,
            };
            match table {
                // What the service tells of a table lags behind its making.
                None if is_new && look < MADE_POLLS => {}
                None => return Err(missing(name)),
                Some(table) => match table.table_status() {
                    Some(TableStatus::Creating) => is_new = true,
                    Some(TableStatus::Active | TableStatus::Updating) | None => return Ok(table),
                    Some(other) => {
                        return Err(TableError::Refused(format!("table {name} is {other}")));
                    }
                },
            }
            if look % ACTIVE_POLLS_PER_LINE == 0 {
                let waited: Duration = ACTIVE_POLL * look;
                tracing::info!(table = name, ?waited, "waiting until the table is made");
            }
            tokio::time::sleep(ACTIVE_POLL).await;
        }
        Err(TableError::Unavailable(format!(
            "table {name} was still being made after {:?}",
            ACTIVE_POLL * ACTIVE_POLLS
        )))
    }

    /// Returns the table as it stood before.
    async fn apply_options(
        &self,
        place: Place,
        known: Known,
        options: &TableOptions,
    ) -> Result<TableDescription, TableError> {
        let name = self.table_name(place);
        let table = self.wait_until_active(place, known).await?;
        if options.deletion_protection && table.deletion_protection_enabled() != Some(true) {
            self.counters.add(Kind::Control);
            let request = self.client.update_table().table_name(name);
            let answer = request.deletion_protection_enabled(true).send().await;
            answer.map_err(|error| classify(&error, Intent::Write, name))?;
        }
        if options.point_in_time_recovery {
            self.enable_recovery(name).await?;
        }
        if let Some(arn) = table.table_arn().filter(|_| !options.tags.is_empty()) {
            let tags = options.tags.iter().map(|(key, value)| {
                let tag = Tag::builder().key(key).value(value).build();
                tag.map_err(|error| TableError::Refused(error.to_string()))
            });
            let tags = tags.collect::<Result<Vec<_>, _>>()?;
            self.counters.add(Kind::Control);
            let request = self.client.tag_resource().resource_arn(arn).set_tags(Some(tags));
            optional(request.send().await, name, "tags")?;
        }
        self.owes_options(place).store(false, Ordering::Release);
        Ok(table)
    }

    /// A table just made may have no backups yet, although it is active.
    async fn enable_recovery(&self, name: &str) -> Result<(), TableError> {
        let recovery = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .build()
            .map_err(|error| TableError::Refused(error.to_string()))?;
        for _ in 0..ACTIVE_POLLS {
            self.counters.add(Kind::Control);
            let request = self.client.update_continuous_backups().table_name(name);
            let request = request.point_in_time_recovery_specification(recovery.clone());
            match request.send().await {
                Err(error) if error.code() == Some("ContinuousBackupsUnavailableException") => {
                    tokio::time::sleep(ACTIVE_POLL).await;
                }
                answer => return optional(answer, name, "point-in-time recovery"),
            }
        }
        Err(TableError::Unavailable(format!(
            "table {name} still had no backups after {:?}",
            ACTIVE_POLL * ACTIVE_POLLS
        )))
    }
}

fn missing(name: &str) -> TableError {
    TableError::Refused(format!(
        "table {name} does not exist in this account and region; make it with the set-up step \
         (`setup`, or `create_if_missing`), or check region, credentials and application name"
    ))
}

/// Accepts that a service does not know an operation at all, as local stand-ins do not.
fn optional<T, E>(
    answer: Result<
        T,
        aws_sdk_dynamodb::error::SdkError<E, aws_sdk_dynamodb::config::http::HttpResponse>,
    >,
    table: &str,
    what: &str,
) -> Result<(), TableError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("UnknownOperationException") => {
            tracing::warn!(table, "this service has no {what}; left out");
            Ok(())
        }
        Err(error) => Err(classify(&error, Intent::Write, table)),
    }
}

/// The id the service gives a table. Stand-ins that give none: name and time of making, which a
/// restored or re-made table does not share either.
fn id_of(table: &TableDescription) -> String {
    table.table_id().map_or_else(
        || {
            let made = table.creation_date_time().map_or(0.0, |time| time.as_secs_f64());
            format!("{}@{made}", table.table_arn().unwrap_or_default())
        },
        str::to_owned,
    )
}

fn check_key(table: &TableDescription, name: &str, wanted: &str) -> Result<(), TableError> {
    let keys = table.key_schema();
    let typed = table.attribute_definitions().iter().any(|definition| {
        definition.attribute_name() == wanted
            && definition.attribute_type() == &ScalarAttributeType::S
    });
    let ours = matches!(keys, [key] if key.attribute_name() == wanted
        && key.key_type() == &KeyType::Hash);
    if ours && typed {
        return Ok(());
    }
    let found: Vec<&str> = keys.iter().map(KeySchemaElement::attribute_name).collect();
    Err(TableError::Refused(format!(
        "table {name} has the key {found:?}, not the string {wanted:?}: it is no lease table of \
         this library; choose another application name"
    )))
}
