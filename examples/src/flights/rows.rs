//! Rows of the input file.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use kcl_stream_local::limits::KEY_CHARS;

/// The shipped flights: see `examples/data/README.md` for where they come from.
static JANUARY: &[u8] = include_bytes!("../../data/flights-2013-01.csv.gz");

/// How a gzip file starts.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Characters of a header that an error shows.
const HEADER_SHOWN: usize = 400;
/// Characters of a value that an error shows.
const VALUE_SHOWN: usize = 60;

/// The longest delay, early or late (minutes): two years. Sums of it stay exact.
const MOST_MINUTES: f64 = 1e6;

/// What the program needs of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Flight {
    /// Airport it left from.
    pub origin: String,
    /// Two-letter code of the airline.
    pub carrier: String,
    /// Minutes late; `None` where the row has none (the flight did not leave).
    pub dep_delay: Option<f64>,
}

/// A row on its way into the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedFlight {
    /// Its partition key.
    pub key: String,
    /// The row.
    pub flight: Flight,
}

/// Why a file cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// It cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no CSV file.
    #[error("{file}: {source}")]
    NotCsv {
        /// The file.
        file: String,
        /// Where and why.
        source: csv::Error,
    },
    /// A column is missing.
    #[error("{file}: there is no column {column:?}; {found}")]
    NoColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What there is, for people.
        found: String,
    },
    /// A row has too few cells or too many.
    #[error("{file}, line {line}: {cells} cells, but the header has {columns}{missing}")]
    Uneven {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// Cells of the row.
        cells: usize,
        /// Columns of the header.
        columns: usize,
        /// Which columns have no cell, for people.
        missing: String,
    },
    /// A value is not what it should be.
    #[error("{file}, line {line}, column {column:?}: {value:?} is not {expected}")]
    BadValue {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
        /// What should.
        expected: &'static str,
    },
    /// There is nothing in it.
    #[error("{file}: there are no rows")]
    Empty {
        /// The file.
        file: String,
    },
}

/// Reads every row of a file, or of the shipped flights.
///
/// # Errors
/// Names the file, the line and the column.
pub fn read(input: Option<&Path>, partition_key: &str) -> Result<Vec<KeyedFlight>, RowsError> {
    let Some(path) = input else {
        return parse("the shipped flights", MultiGzDecoder::new(JANUARY), partition_key);
    };
    let name = path.display().to_string();
    let file = std::fs::File::open(path)
        .map_err(|source| RowsError::Unreadable { file: name.clone(), source })?;
    let mut file = BufReader::new(file);
    // By its first bytes, not by its name: files are renamed.
    let start =
        file.fill_buf().map_err(|source| RowsError::Unreadable { file: name.clone(), source })?;
    if start.starts_with(GZIP) {
        parse(&name, MultiGzDecoder::new(file), partition_key)
    } else {
        parse(&name, file, partition_key)
    }
}

fn parse(file: &str, input: impl Read, key: &str) -> Result<Vec<KeyedFlight>, RowsError> {
    let not_csv = |source| RowsError::NotCsv { file: file.to_owned(), source };
    // Uneven rows are judged here, where the missing column can be named.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let headers = reader.headers().map_err(not_csv)?.clone();
    let column = |name: &str| {
        headers.iter().position(|header| header == name).ok_or_else(|| RowsError::NoColumn {
            file: file.to_owned(),
            column: name.to_owned(),
            found: columns_in_words(&headers),
        })
    };
    let (origin, carrier) = (column("origin")?, column("carrier")?);
    let (dep_delay, key_name, key) = (column("dep_delay")?, key, column(key)?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(not_csv)?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != headers.len() {
            return Err(uneven(file, line, &record, &headers));
        }
        let bad = |column: &str, value: &str, expected| RowsError::BadValue {
            file: file.to_owned(),
            line,
            column: column.to_owned(),
            value: cut(value, VALUE_SHOWN),
            expected,
        };
        let filled = |column, name| match blank(&record[column]) {
            None => Err(bad(name, "", "filled in")),
            Some(value) => Ok(value.to_owned()),
        };
        let carrier = filled(carrier, "carrier")?;
        let delay = blank(&record[dep_delay]).map(|text| {
            let delay = text.parse::<f64>().ok().filter(|delay| delay.abs() <= MOST_MINUTES);
            delay.ok_or_else(|| bad("dep_delay", text, "a number of minutes below a million"))
        });
        let key = blank(&record[key]).unwrap_or(&carrier).to_owned();
        if key.chars().count() > KEY_CHARS {
            return Err(bad(key_name, &key, "a partition key: at most 256 characters"));
        }
        let flight =
            Flight { origin: filled(origin, "origin")?, carrier, dep_delay: delay.transpose()? };
        rows.push(KeyedFlight { key, flight });
    }
    if rows.is_empty() {
        return Err(RowsError::Empty { file: file.to_owned() });
    }
    Ok(rows)
}

fn columns_in_words(headers: &StringRecord) -> String {
    if headers.is_empty() {
        return "the file is empty".to_owned();
    }
    let all = headers.iter().collect::<Vec<_>>().join(", ");
    format!("its columns are {}", cut(&all, HEADER_SHOWN))
}

/// So many characters of a text that may be anything.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn uneven(file: &str, line: u64, row: &StringRecord, headers: &StringRecord) -> RowsError {
    let missing: Vec<_> = headers.iter().skip(row.len()).collect();
    let named = if missing.is_empty() { "" } else { ": nothing for " };
    RowsError::Uneven {
        file: file.to_owned(),
        line,
        cells: row.len(),
        columns: headers.len(),
        missing: format!("{named}{}", missing.join(", ")),
    }
}

/// Empty cells and `NA` are blank.
fn blank(cell: &str) -> Option<&str> {
    Some(cell.trim()).filter(|cell| !cell.is_empty() && *cell != "NA")
}

/// What goes into a record: the row's number in the file, and what is counted.
pub fn encode(number: usize, flight: &Flight) -> Vec<u8> {
    let delay = flight.dep_delay.map_or(String::new(), |delay| delay.to_string());
    let row = [&number.to_string(), &flight.origin, &flight.carrier, &delay];
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing into memory does not fail.
    let _ = writer.write_record(row);
    writer.into_inner().unwrap_or_default()
}

/// Reads a record back; `None` if it is not one of ours.
pub fn decode(data: &[u8]) -> Option<(usize, Flight)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(data);
    let row = reader.records().next()?.ok().filter(|row| row.len() == 4)?;
    let dep_delay = match &row[3] {
        "" => None,
        delay => Some(delay.parse().ok()?),
    };
    let (origin, carrier) = (row[1].to_owned(), row[2].to_owned());
    Some((row[0].parse().ok()?, Flight { origin, carrier, dep_delay }))
}

#[cfg(test)]
mod tests;
