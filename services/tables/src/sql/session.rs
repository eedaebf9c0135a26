//! A session: what a query means, and how it is run.

use std::{sync::Arc, time::Duration};

use datafusion::{
    common::{DataFusionError, config::Dialect},
    execution::{SessionState, SessionStateBuilder, context::SQLOptions},
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::SessionConfig,
};
use futures::StreamExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::sql::{
    Answer, Engine, NamedTables, QueryError,
    answer::Query,
    cancel::{self, Stop},
    engine,
    named::{CATALOG, Catalog, SCHEMA},
    postgres,
    statement::{Statement, parse},
};

/// The longest text of a query, in bytes: planning one takes memory that nobody counts, some hundred times its length.
pub const MAX_SQL: usize = 100_000;

/// How long a query may take if nothing is said.
pub const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// The longest that a query may take: it has one of few turns all that time.
pub const MAX_TIME: Duration = Duration::from_secs(600);

/// What is sorted as one, in bytes. Merging batches takes memory that a sort has not set aside, so that it fails.
const SORTED_AT_ONCE: usize = engine::MEMORY;

/// Batches of rows that wait for a client. They are in memory, and not counted.
const BATCHES_AHEAD: usize = 2;

/// Queries of a client. They share nothing that one could set and another would see.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Engine,
    tables: Arc<dyn NamedTables>,
    state: SessionState,
}

impl Session {
    pub(super) fn new(engine: Engine, tables: Arc<dyn NamedTables>) -> Self {
        let mut config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_target_partitions(engine::cores());
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".to_owned());
        options.execution.sort_in_place_threshold_bytes = SORTED_AT_ONCE;
        options.sql_parser.dialect = Dialect::PostgreSQL;
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.collect_spans = true;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(engine.environment()))
            .with_default_features();
        let state = postgres::configure(state).build();
        state.catalog_list().register_catalog(CATALOG.to_owned(), Arc::new(Catalog(Arc::clone(&tables))));
        Self { engine, tables, state }
    }

    /// Plans and runs a query for as long as `time`, or [`MAX_TIME`] where that is less. What is wrong with the query
    /// itself is known when this returns.
    ///
    /// # Errors
    /// The text is no query, names what there is not, or is over a limit.
    pub async fn query(&self, sql: &str, time: Duration) -> Result<Answer, QueryError> {
        let time = time.min(MAX_TIME);
        let deadline = Instant::now() + time;
        if sql.len() > MAX_SQL {
            return Err(QueryError::TooLong(sql.len()));
        }
        let turn = self.engine.turn(time).await?;
        let (session, sql) = (self.clone(), sql.to_owned());
        let (say_schema, schema) = oneshot::channel();
        let (batches, receiver) = mpsc::channel(BATCHES_AHEAD);
        let stop = Stop::default();
        let stopped = stop.clone();
        let task = self.engine.threads().spawn(async move {
            // It is another's turn once this has ended: what was cancelled may compute on for a while.
            let _turn = turn;
            let (plan, state) = match session.plan(&sql, &stopped).await {
                Ok(planned) => planned,
                Err(error) => return drop(say_schema.send(Err(error))),
            };
            if say_schema.send(Ok(plan.schema())).is_err() {
                return;
            }
            let rows = match execute_stream(plan, state.task_ctx()) {
                Ok(rows) => rows,
                Err(error) => return drop(batches.send(Err(session.error(error))).await),
            };
            let mut rows = std::pin::pin!(rows);
            while let Some(batch) = rows.next().await {
                if batches.send(batch.map_err(|error| session.error(error))).await.is_err() {
                    return;
                }
            }
        });
        // Whoever stops waiting here drops it, and so stops it.
        let query = Query { task, stop };
        let schema = match timeout_at(deadline, schema).await {
            Err(_elapsed) => return Err(QueryError::Timeout(time)),
            Ok(Err(_dropped)) => return Err(QueryError::Internal("a query panicked while it was planned".to_owned())),
            Ok(Ok(schema)) => schema?,
        };
        Ok(Answer::new(schema, receiver, query, (deadline, time)))
    }

    /// The plan of a query, and the state that it runs in.
    async fn plan(&self, sql: &str, stop: &Stop) -> Result<(Arc<dyn ExecutionPlan>, SessionState), QueryError> {
        let mut state = self.state.clone();
        state.mark_start_execution();
        let error = |error| self.error(error);
        let logical = match parse(sql).map_err(error)? {
            Statement::ShowTables => self.show_tables().map_err(error)?,
            Statement::Query(statement) => state.statement_to_plan(*statement).await.map_err(error)?,
        };
        let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_queries
            .verify_plan(&logical)
            .map_err(|error| QueryError::Refused(format!("tables are only read here: {}", error.message())))?;
        let optimized = state.optimize(&logical).and_then(|plan| stop.check_joins(plan)).map_err(error)?;
        let plan = state.query_planner().create_physical_plan(&optimized, &state).await.map_err(error)?;
        let plan = cancel::yield_after_joins(plan).map_err(error)?;
        Ok((plan, state))
    }

    /// The names of all tables, as a plan.
    fn show_tables(&self) -> Result<LogicalPlan, DataFusionError> {
        postgres::table_of_names(self.tables.names())
    }

    fn error(&self, error: DataFusionError) -> QueryError {
        QueryError::new(&error, &self.tables.names())
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::fixture::{self, TIME, Tables, all, session};

    use super::*;

    /// Nobody holds a turn any more: whatever ran has ended.
    async fn ends(engine: &Engine) {
        let ended = tokio::time::timeout(TIME, engine.all_turns());
        ended.await.expect("what was stopped computes on");
    }

    /// Minutes of work, and no row until its end.
    const LONG: &str = "select count(*) from generate_series(1, 1000000) as a(n) \
                        join generate_series(1, 1000000) as b(m) on a.n * b.m % 7 = 8";

    #[tokio::test]
    async fn statements_that_are_no_query_are_refused() {
        let (_scratch, session) = session();
        let mut said = Vec::new();
        for sql in [
            "",
            ";",
            "select 1; select 2",
            "insert into movie values (1)",
            "update movie set title = 'a'",
            "delete from movie",
            "drop table movie",
            "create table a as select 1",
            "create view a as select 1",
            "create external table a stored as csv location '/etc/passwd'",
            "copy movie to 'a.csv'",
            "copy (select 1) to 'a.csv'",
            "set time zone 'CET'",
            "set datafusion.execution.time_zone = 'CET'",
            "reset all",
            "show all",
            "begin",
            "prepare a as select 1",
            "explain insert into movie values (1)",
            "explain analyze copy movie to 'a.csv'",
            "with a as (insert into movie values (1) returning *) select * from a",
            "select 1 into a",
            "select * from 'movie.csv'",
            "select * from \"/etc/passwd\"",
            "select * from read_csv('a.csv')",
            "select * from information_schema.df_settings",
            "select * from pg_catalog.pg_tables",
            "select 1; drop table movie",
        ] {
            let error = all(session.query(sql, TIME).await).await.expect_err(sql);
            said.push(format!("{sql} → {error}"));
        }
        insta::assert_snapshot!(said.join("\n"), @r#"
         → the query is empty
        ; → the query is empty
        select 1; select 2 → there are several statements; one query is answered at a time
        insert into movie values (1) → INSERT is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        update movie set title = 'a' → UPDATE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        delete from movie → DELETE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        drop table movie → DROP is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        create table a as select 1 → CREATE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        create view a as select 1 → CREATE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        create external table a stored as csv location '/etc/passwd' → CREATE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        copy movie to 'a.csv' → COPY is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        copy (select 1) to 'a.csv' → COPY is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        set time zone 'CET' → SET is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        set datafusion.execution.time_zone = 'CET' → SET is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        reset all → RESET is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        show all → SHOW is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        begin → BEGIN is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        prepare a as select 1 → PREPARE is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        explain insert into movie values (1) → INSERT is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        explain analyze copy movie to 'a.csv' → COPY is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES
        with a as (insert into movie values (1) returning *) select * from a → this is not supported: query INSERT INTO movie VALUES (1) RETURNING * not implemented yet
        select 1 into a → tables are only read here: DDL not supported: CreateMemoryTable
        select * from 'movie.csv' → there is no table `movie.csv`; the tables are `movie`, `user`; did you mean `movie`?
        select * from "/etc/passwd" → line 1, column 15: there is no table `/etc/passwd`; the tables are `movie`, `user`
        select * from read_csv('a.csv') → table function 'read_csv' not found
        select * from information_schema.df_settings → line 1, column 15: there is no table `information_schema.df_settings`: SHOW TABLES and DESCRIBE say what there is
        select * from pg_catalog.pg_tables → line 1, column 15: there is no table `pg_catalog.pg_tables`: SHOW TABLES and DESCRIBE say what there is
        select 1; drop table movie → there are several statements; one query is answered at a time
        "#);
    }

    #[tokio::test]
    async fn queries_of_every_kind_are_answered() {
        let (_scratch, session) = session();
        for sql in [
            "select 1;",
            "with a as (select 1 as n) select n from a",
            "values (1), (2)",
            "select title from public.movie",
            "select title from waybill.public.movie",
            "explain select * from movie",
            "explain analyze select * from movie",
            "describe movie",
            "SHOW TABLES",
            "select email from \"user\"",
        ] {
            all(session.query(sql, TIME).await).await.expect(sql);
        }
    }

    #[tokio::test]
    async fn a_query_that_computes_without_a_pause_is_stopped_in_time() {
        let (_scratch, engine) = fixture::engine(256 * 1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        let error = all(session.query(LONG, Duration::from_millis(300)).await).await.unwrap_err();
        assert!(matches!(error, QueryError::Timeout(_)), "{error}");
        ends(&engine).await;
    }

    #[tokio::test]
    async fn a_query_ends_with_its_client() {
        let (_scratch, engine) = fixture::engine(256 * 1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        drop(session.query(LONG, TIME).await.unwrap());
        ends(&engine).await;
        // Also where rows wait for somebody to take them.
        let mut answer = session.query("select * from generate_series(1, 100000000)", TIME).await.unwrap();
        answer.next().await.unwrap().unwrap();
        drop(answer);
        ends(&engine).await;
    }

    #[tokio::test]
    async fn many_rows_are_read_as_they_come() {
        let (_scratch, engine) = fixture::engine(1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        let mut answer = session.query("select * from generate_series(1, 100000000)", TIME).await.unwrap();
        let mut rows = 0;
        while rows < 1_000_000 {
            rows += answer.next().await.unwrap().unwrap().num_rows();
        }
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let (_scratch, engine) = fixture::engine(64 * 1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        let error =
            all(session.query("select array_agg(n) from generate_series(1, 10000000) as g(n)", TIME).await).await;
        assert!(matches!(error, Err(QueryError::Memory)), "{error:?}");
    }

    #[tokio::test]
    async fn a_sort_goes_to_the_disk() {
        // Some 50 MB of rows, and as much for their order.
        let (_scratch, engine) = fixture::engine(32 * 1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        let sorted = "select n from generate_series(1, 3000000) as g(n) order by n % 1000, n";
        let batches = all(session.query(sorted, TIME).await).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3_000_000);
    }

    #[tokio::test]
    async fn functions_do_not_make_much_of_little() {
        let (_scratch, session) = session();
        for sql in [
            "select repeat('a', 1000000000)",
            "select length(repeat('a', n * 100000)) from generate_series(1, 8000) as g(n)",
            "select lpad('a', 1000000000)",
            "select rpad('a', 1000000000, 'b')",
            "select range(1, 1000000000)",
            "select array_repeat(1, 1000000000)",
        ] {
            let error = all(session.query(sql, TIME).await).await.expect_err(sql);
            assert!(matches!(error, QueryError::Failed(_) | QueryError::Invalid(_)), "{error}");
        }
        all(session.query("select repeat('a', 1000), lpad('a', 10), repeat(null, 2)", TIME).await).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_queries_run_than_there_are_turns_for() {
        let (_scratch, engine) = fixture::engine(256 * 1024 * 1024);
        let session = engine.session(Arc::new(Tables));
        let mut running = Vec::new();
        for _ in 0..engine.free_turns() {
            running.push(session.query(LONG, TIME).await.unwrap());
        }
        let error = session.query("select 1", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, QueryError::Busy), "{error}");
        running.pop();
        all(session.query("select 1", TIME).await).await.unwrap();
    }

    #[tokio::test]
    async fn texts_without_measure_are_refused() {
        let (_scratch, session) = session();
        let long = format!("select '{}'", "a".repeat(MAX_SQL));
        assert!(matches!(session.query(&long, TIME).await, Err(QueryError::TooLong(_))));
        let repeated = |times: usize| {
            [
                format!("select {}1{}", "(".repeat(times), ")".repeat(times)),
                format!("select {}1", "1 + ".repeat(times)),
                format!("select {}1", "- ".repeat(times)),
                format!("select 1{}", "::int".repeat(times)),
                format!("select {}true", "true and ".repeat(times)),
                format!("select {}true", "not ".repeat(times)),
                format!("select 'a'{}", " || 'a'".repeat(times)),
                format!("select 1{}", " union all select 1".repeat(times)),
                format!("select 1 from (select 1) as a{}", ", (select 1)".repeat(times / 4)),
                format!("select 1 from movie{}", " join movie on true".repeat(times / 4)),
                format!("select {}1{}", "abs(".repeat(times), ")".repeat(times)),
                format!("select {}1{}", "case when true then ".repeat(times / 4), " end".repeat(times / 4)),
            ]
        };
        for sql in repeated(5_000) {
            let refused = session.query(&sql, TIME).await.map(drop).expect_err(&sql[..40]);
            assert!(matches!(refused, QueryError::Invalid(_) | QueryError::Refused(_)), "{refused}");
        }
        // Refused or answered, but nothing falls over.
        for sql in repeated(480) {
            drop(all(session.query(&sql, TIME).await).await);
        }
        all(session.query("select 1", TIME).await).await.unwrap();
    }
}
