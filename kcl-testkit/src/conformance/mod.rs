//! What every plug-in must do: suites for any `LeaseTable`, any `StreamSource` and any
//! `PutSink`, one function a fact. The macros expand to one test a fact.

pub mod lease_table;
pub mod put_sink;
pub mod random_writes;
pub mod stream_source;

/// Expands to one `#[tokio::test]` for each fact about lease tables. `$make` is an expression
/// that gives a fresh, empty `Arc<dyn LeaseTable>`; it may await.
#[macro_export]
macro_rules! lease_table_suite {
    ($make:expr) => {
        $crate::lease_table_suite!($make;
            preparing_twice_gives_the_same_id,
            rows_read_back_as_they_were_written,
            creating_a_row_twice_loses_and_shows_the_standing_one,
            a_write_of_a_missing_row_loses,
            ensure_leaves_a_standing_lease_alone,
            random_writes_behave_like_the_reference,
            a_transaction_applies_all_or_none,
            a_transaction_refuses_too_many_or_repeated_rows,
            scans_are_ordered_and_keep_to_their_scope,
            one_of_many_racers_wins,
            concurrent_compare_and_sets_lose_no_step,
            effects_of_a_foreign_kind_are_refused,
        );
    };
    ($make:expr; $($fact:ident,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $fact() {
            $crate::conformance::lease_table::$fact($make).await;
        }
    )* };
}

/// Expands to one `#[tokio::test]` for each fact about stream sources. `$make` is an expression
/// that gives a fresh `impl SourceHarness` with two open shards and no records; it may await.
#[macro_export]
macro_rules! stream_source_suite {
    ($make:expr) => {
        $crate::stream_source_suite!($make;
            records_come_in_the_order_they_were_put,
            a_reader_starts_where_it_was_told,
            a_caught_up_reader_says_so_and_wakes_for_the_next_record,
            a_dropped_read_loses_no_record,
            a_limit_holds_and_the_rest_follows,
            a_split_shard_ends_with_its_children_for_ever,
            merged_shards_name_the_same_child,
            listings_show_parents_and_ranges_that_tile,
            several_readers_of_one_shard_see_the_same,
            an_unknown_shard_is_not_found,
        );
    };
    ($make:expr; $($fact:ident,)*) => { $(
        #[tokio::test]
        async fn $fact() {
            $crate::conformance::stream_source::$fact($make).await;
        }
    )* };
}

/// Expands to one `#[tokio::test]` for each fact about sinks of a producer. `$make` is an
/// expression that gives a fresh `impl SinkHarness` with two open shards and no records; it may
/// await.
#[macro_export]
macro_rules! put_sink_suite {
    ($make:expr) => {
        $crate::put_sink_suite!($make;
            outcomes_name_where_each_record_went,
            hash_keys_pick_the_shard_that_the_listing_names,
            what_was_put_is_read_where_the_receipts_say,
            faults_and_reshards_lose_nothing_and_change_no_order,
        );
    };
    ($make:expr; $($fact:ident,)*) => { $(
        #[tokio::test]
        async fn $fact() {
            $crate::conformance::put_sink::$fact($make).await;
        }
    )* };
}
