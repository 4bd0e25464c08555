//! Rows of the input file.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

/// The shipped flights: see `examples/data/README.md` for where they come from.
static JANUARY: &[u8] = include_bytes!("../../data/flights-2013-01.csv.gz");

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
    #[error("{file}: there is no column {column:?}; its columns are {found}")]
    NoColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What there is.
        found: String,
    },
    /// A value is not what it should be.
    #[error("{file}, line {line}, column {column:?}: {value:?} is not {expected}")]
    BadValue {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: &'static str,
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
        return parse("the shipped flights", GzDecoder::new(JANUARY), partition_key);
    };
    let name = path.display().to_string();
    let file = std::fs::File::open(path)
        .map_err(|source| RowsError::Unreadable { file: name.clone(), source })?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        parse(&name, GzDecoder::new(file), partition_key)
    } else {
        parse(&name, file, partition_key)
    }
}

fn parse(file: &str, input: impl Read, key: &str) -> Result<Vec<KeyedFlight>, RowsError> {
    let not_csv = |source| RowsError::NotCsv { file: file.to_owned(), source };
    let mut reader = csv::Reader::from_reader(input);
    let headers = reader.headers().map_err(not_csv)?.clone();
    let column = |name: &str| {
        headers.iter().position(|header| header == name).ok_or_else(|| RowsError::NoColumn {
            file: file.to_owned(),
            column: name.to_owned(),
            found: headers.iter().collect::<Vec<_>>().join(", "),
        })
    };
    let (origin, carrier) = (column("origin")?, column("carrier")?);
    let (dep_delay, key) = (column("dep_delay")?, column(key)?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(not_csv)?;
        let line = record.position().map_or(0, csv::Position::line);
        let bad = |column, value: &str, expected| RowsError::BadValue {
            file: file.to_owned(),
            line,
            column,
            value: value.to_owned(),
            expected,
        };
        let filled = |column, name| match blank(&record[column]) {
            None => Err(bad(name, "", "filled in")),
            Some(value) => Ok(value.to_owned()),
        };
        let carrier = filled(carrier, "carrier")?;
        let delay = blank(&record[dep_delay]).map(|text| {
            let delay = text.parse::<f64>().ok().filter(|delay| delay.is_finite());
            delay.ok_or_else(|| bad("dep_delay", text, "a number of minutes"))
        });
        let key = blank(&record[key]).unwrap_or(&carrier).to_owned();
        let flight =
            Flight { origin: filled(origin, "origin")?, carrier, dep_delay: delay.transpose()? };
        rows.push(KeyedFlight { key, flight });
    }
    if rows.is_empty() {
        return Err(RowsError::Empty { file: file.to_owned() });
    }
    Ok(rows)
}

/// Empty cells and `NA` are blank.
fn blank(cell: &str) -> Option<&str> {
    Some(cell.trim()).filter(|cell| !cell.is_empty() && *cell != "NA")
}

/// What goes into a record: the row's number in the file, and what is counted.
pub fn encode(number: usize, flight: &Flight) -> Vec<u8> {
    let delay = flight.dep_delay.map_or(String::new(), |delay| delay.to_string());
    format!("{number},{},{},{delay}", flight.origin, flight.carrier).into_bytes()
}

/// Reads a record back; `None` if it is not one of ours.
pub fn decode(data: &[u8]) -> Option<(usize, Flight)> {
    let mut fields = std::str::from_utf8(data).ok()?.splitn(4, ',');
    let number = fields.next()?.parse().ok()?;
    let (origin, carrier) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let dep_delay = match fields.next()? {
        "" => None,
        delay => Some(delay.parse().ok()?),
    };
    Some((number, Flight { origin, carrier, dep_delay }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<KeyedFlight>, RowsError> {
        parse("test.csv", text.as_bytes(), "tailnum")
    }

    #[test]
    fn the_shipped_file_has_27004_rows() {
        assert_eq!(read(None, "tailnum").unwrap().len(), 27_004);
    }

    #[test]
    fn a_blank_key_falls_back_on_the_carrier() {
        let read = rows("carrier,tailnum,origin,dep_delay\nUA,,EWR,2\nAA,NA,JFK,\n").unwrap();
        assert_eq!((read[0].key.as_str(), read[1].key.as_str()), ("UA", "AA"));
        assert_eq!(read[1].flight.dep_delay, None);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let bad = rows("carrier,tailnum,origin,dep_delay\nUA,N1,EWR,late\n").unwrap_err();
        assert_eq!(
            bad.to_string(),
            "test.csv, line 2, column \"dep_delay\": \"late\" is not a number of minutes"
        );
        let short = rows("carrier,tailnum,origin,dep_delay\nUA,N1\n").unwrap_err().to_string();
        assert!(short.contains("line: 2") || short.contains("line 2"), "{short}");
        let missing = rows("carrier,origin,dep_delay\n").unwrap_err().to_string();
        assert!(missing.contains("no column \"tailnum\""), "{missing}");
        assert!(rows("carrier,tailnum,origin,dep_delay\n").is_err());
    }

    #[test]
    fn a_record_reads_back_as_the_row_it_was_made_from() {
        for dep_delay in [None, Some(-3.0), Some(1.5)] {
            let flight = Flight { origin: "JFK".into(), carrier: "B6".into(), dep_delay };
            assert_eq!(decode(&encode(7, &flight)), Some((7, flight)));
        }
        assert_eq!(decode(b"\xff"), None);
        assert_eq!(decode(b"1,JFK"), None);
    }
}
