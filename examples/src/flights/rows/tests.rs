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
    let odd = Flight { origin: "JFK, \"old\"\n".into(), carrier: "é,".into(), dep_delay: None };
    assert_eq!(decode(&encode(8, &odd)), Some((8, odd)));
    assert_eq!(decode(b"\xff"), None);
    assert_eq!(decode(b"1,JFK"), None);
}
