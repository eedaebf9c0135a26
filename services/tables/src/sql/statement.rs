//! Which statements are queries.

use std::ops::ControlFlow;

use datafusion::{
    common::DataFusionError,
    sql::{
        parser::{DFParserBuilder, Statement as Parsed},
        sqlparser::{
            ast::{self, Visit, Visitor},
            dialect::PostgreSqlDialect,
            keywords::Keyword,
            tokenizer::{Token, Tokenizer},
        },
    },
};

/// Operators of a query: a chain of them becomes a tree as deep as it is long, and trees are walked by recursion.
const MAX_OPERATORS: usize = 500;

/// Tables of a query, and subqueries in their places: for the same reason.
const MAX_TABLES: usize = 100;

/// What may be asked.
pub(super) enum Statement {
    /// SELECT, WITH, VALUES, EXPLAIN of these, DESCRIBE.
    Query(Box<Parsed>),
    /// SHOW TABLES.
    ShowTables,
}

/// Reads one statement, and refuses what is no query.
pub(super) fn parse(sql: &str) -> Result<Statement, DataFusionError> {
    check_operators(sql)?;
    let mut statements = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).build()?.parse_statements()?;
    let statement = statements.pop_front().ok_or_else(|| refused("the query is empty"))?;
    if !statements.is_empty() {
        return Err(refused("there are several statements; one query is answered at a time"));
    }
    if let Parsed::Statement(inner) = &statement
        && let ast::Statement::ShowTables { .. } = **inner
    {
        return Ok(Statement::ShowTables);
    }
    check(&statement)?;
    check_tables(&statement)?;
    Ok(Statement::Query(Box::new(statement)))
}

fn check(statement: &Parsed) -> Result<(), DataFusionError> {
    match statement {
        Parsed::Explain(explain) => check(&explain.statement),
        Parsed::Statement(inner) => match &**inner {
            ast::Statement::Query(_) | ast::Statement::ExplainTable { .. } => Ok(()),
            ast::Statement::Explain { statement, .. } if matches!(**statement, ast::Statement::Query(_)) => Ok(()),
            other => Err(only_queries(&other.to_string())),
        },
        other => Err(only_queries(&other.to_string())),
    }
}

fn check_operators(sql: &str) -> Result<(), DataFusionError> {
    // What is no token is told by the parser, with its place.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    match tokens.iter().filter(|token| is_operator(token)).count() {
        0..=MAX_OPERATORS => Ok(()),
        operators => Err(refused(&format!("the query has {operators} operators; at most {MAX_OPERATORS} are read"))),
    }
}

/// Whether a token may make the tree deeper. The parser itself limits parentheses.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
                | Keyword::AT
        ),
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_) => false,
        _ => true,
    }
}

fn check_tables(statement: &Parsed) -> Result<(), DataFusionError> {
    let mut tables = Tables(0);
    let _stopped = match statement {
        Parsed::Explain(explain) => return check_tables(&explain.statement),
        Parsed::Statement(statement) => statement.visit(&mut tables),
        _ => return Ok(()),
    };
    if tables.0 <= MAX_TABLES {
        return Ok(());
    }
    Err(refused(&format!("the query names {} tables; at most {MAX_TABLES} are read", tables.0)))
}

/// Counts tables.
struct Tables(usize);

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_table_factor(&mut self, _: &ast::TableFactor) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

/// Names a statement by its first word: the rest of it may be long.
fn only_queries(statement: &str) -> DataFusionError {
    let word = statement.split_whitespace().next().unwrap_or_default();
    refused(&format!(
        "{word} is not allowed: tables are only read here, by SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES"
    ))
}

fn refused(why: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Refused(why.to_owned())))
}

/// Why a statement is not run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);
