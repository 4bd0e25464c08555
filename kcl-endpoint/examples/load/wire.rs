//! Raw HTTP/1.1 over one connection.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub type Failure = Box<dyn Error + Send + Sync>;

/// How requests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Cbor,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole request, with its head.
pub fn request(operation: &str, encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let kind = if encoding == Encoding::Json { "json" } else { "cbor" };
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: Kinesis_20131202.{operation}\r\n\
         content-type: application/x-amz-{kind}-1.1\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Connection {
    pub fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Reads more into the buffer.
    fn fill(&mut self) -> Result<(), Failure> {
        let length = self.buffer.len();
        self.buffer.resize(length + (256 << 10), 0);
        let count = self.stream.read(&mut self.buffer[length..])?;
        self.buffer.truncate(length + count);
        if count == 0 { Err("the server has closed the connection".into()) } else { Ok(()) }
    }

    /// The head of the next answer: its status line and headers.
    fn head(&mut self) -> Result<String, Failure> {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
                self.buffer.drain(..end + 4);
                return Ok(head);
            }
            self.fill()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The next chunk of a body without a length; empty at its end.
    pub fn chunk(&mut self) -> Result<Vec<u8>, Failure> {
        let line = loop {
            match self.buffer.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None => self.fill()?,
            }
        };
        let line = self.take(line + 2)?;
        let length = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
        let chunk = self.take(length)?;
        self.take(2)?;
        Ok(chunk)
    }

    /// Sends a request whose answer comes in chunks as they arise.
    pub fn begin(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request)?;
        let head = self.head()?;
        if !head.starts_with("http/1.1 200") {
            return Err(head.into());
        }
        Ok(())
    }

    /// Sends a request, and returns the body of its answer.
    pub fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.stream.write_all(request)?;
        let head = self.head()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let body = match length {
            Some(length) => self.take(length.trim().parse()?)?,
            None => {
                let mut body = Vec::new();
                loop {
                    let chunk = self.chunk()?;
                    if chunk.is_empty() {
                        break body;
                    }
                    body.extend(chunk);
                }
            }
        };
        if !head.starts_with("http/1.1 200") {
            return Err(format!("{head}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }

    pub fn json(&mut self, operation: &str, body: &str) -> Result<serde_json::Value, Failure> {
        let body = self.call(&request(operation, Encoding::Json, body.as_bytes()))?;
        Ok(if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&body)? })
    }
}

/// A PutRecords of so many records of so many bytes, with keys that begin at this number.
pub fn put_records(
    stream: &str,
    encoding: Encoding,
    count: usize,
    bytes: usize,
    first: usize,
) -> Vec<u8> {
    let data = vec![b'x'; bytes];
    let body = match encoding {
        Encoding::Json => {
            let data = STANDARD.encode(&data);
            let record =
                |n: usize| format!(r#"{{"Data":"{data}","PartitionKey":"key-{:06}"}}"#, first + n);
            let records: Vec<_> = (0..count).map(record).collect();
            format!(r#"{{"StreamName":"{stream}","Records":[{}]}}"#, records.join(",")).into_bytes()
        }
        Encoding::Cbor => {
            use ciborium::Value;
            let text = |text: &str| Value::Text(text.to_owned());
            let record = |n: usize| {
                let key = format!("key-{:06}", first + n);
                Value::Map(vec![
                    (text("Data"), Value::Bytes(data.clone())),
                    (text("PartitionKey"), Value::Text(key)),
                ])
            };
            let records = Value::Array((0..count).map(record).collect());
            let value =
                Value::Map(vec![(text("StreamName"), text(stream)), (text("Records"), records)]);
            let mut body = Vec::new();
            ciborium::into_writer(&value, &mut body).unwrap_or_default();
            body
        }
    };
    request("PutRecords", encoding, &body)
}
