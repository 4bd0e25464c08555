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
            "test.csv, line 2, column \"dep_delay\": \"late\" is not a number of minutes below a \
             million"
        );
        let short = rows("carrier,tailnum,origin,dep_delay\nUA,N1\n").unwrap_err().to_string();
        assert_eq!(
            short,
            "test.csv, line 2: 2 cells, but the header has 4: nothing for origin, dep_delay"
        );
        let long = rows("carrier,tailnum,origin,dep_delay\nUA,N1,EWR,1,2\n").unwrap_err();
        assert_eq!(long.to_string(), "test.csv, line 2: 5 cells, but the header has 4");
        let missing = rows("carrier,origin,dep_delay\n").unwrap_err().to_string();
        assert!(missing.contains("no column \"tailnum\""), "{missing}");
        assert_eq!(
            rows("carrier,tailnum,origin,dep_delay\n").unwrap_err().to_string(),
            "test.csv: there are no rows"
        );
        assert!(rows("").unwrap_err().to_string().ends_with("the file is empty"));
        assert!(rows(&"x".repeat(9999)).unwrap_err().to_string().len() < 600);
        let long = format!("carrier,tailnum,origin,dep_delay\nUA,{},EWR,1\n", "N".repeat(257));
        let long = rows(&long).unwrap_err().to_string();
        assert!(long.starts_with("test.csv, line 2, column \"tailnum\""), "{long}");
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn every_part_of_a_gz_file_is_read() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let mut file = Vec::new();
        for part in ["carrier,tailnum,origin,dep_delay\nUA,N1,EWR,2\n", "AA,N2,JFK,3\n"] {
            let mut encoder = GzEncoder::new(&mut file, Compression::fast());
            encoder.write_all(part.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        let read = parse("two.gz", MultiGzDecoder::new(file.as_slice()), "tailnum").unwrap();
        assert_eq!(read.len(), 2);
        let cut = &file[..file.len() - 10];
        assert!(parse("cut.gz", MultiGzDecoder::new(cut), "tailnum").is_err());
    }

    #[test]
    fn a_record_reads_back_as_the_row_it_was_made_from() {
        for dep_delay in [None, Some(-3.0), Some(1.5)] {
            let flight = Flight { origin: "JFK".into(), carrier: "B6".into(), dep_delay };
            assert_eq!(decode(&encode(7, &flight)), Some((7, flight)));
        }
        let odd =
            Flight { origin: "JFK, \"old\"\n".into(), carrier: "é,".into(), dep_delay: None };
        assert_eq!(decode(&encode(8, &odd)), Some((8, odd)));
        assert_eq!(decode(b"\xff"), None);
        assert_eq!(decode(b"1,JFK"), None);
    }
}
