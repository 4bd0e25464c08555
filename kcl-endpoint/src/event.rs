//! Frames of `application/vnd.amazon.eventstream`: lengths, headers, payload, and a CRC-32 of the
//! lengths and one of it all. All headers here are texts.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the headers: two lengths and their CRC.
const PRELUDE: usize = 12;
/// The type of a header whose value is a text.
const TEXT: u8 = 7;

/// One frame. Names have up to 255 bytes and values up to 65,535: both are our own.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let head: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    let total = PRELUDE + head + payload.len() + 4;
    let mut frame = BytesMut::with_capacity(total);
    frame.put_u32(total as u32);
    frame.put_u32(head as u32);
    frame.put_u32(crc32fast::hash(&frame));
    for (name, value) in headers {
        frame.put_u8(name.len() as u8);
        frame.put_slice(name.as_bytes());
        frame.put_u8(TEXT);
        frame.put_u16(value.len() as u16);
        frame.put_slice(value.as_bytes());
    }
    frame.put_slice(payload);
    frame.put_u32(crc32fast::hash(&frame));
    frame.freeze()
}

/// An event of this type.
pub(crate) fn event(kind: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let headers =
        [(":message-type", "event"), (":event-type", kind), (":content-type", content_type)];
    frame(&headers, payload)
}

/// An error that ends the events.
pub(crate) fn exception(name: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let headers = [
        (":message-type", "exception"),
        (":exception-type", name),
        (":content-type", content_type),
    ];
    frame(&headers, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_headers_and_payload_is_the_published_vector() {
        let bytes = [
            0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98,
            0xc8, 0xff,
        ];
        assert_eq!(frame(&[], b"")[..], bytes);
    }

    #[test]
    fn a_text_header_has_a_name_a_type_and_a_length() {
        let bytes = frame(&[("content-type", "application/json")], b"{'foo':'bar'}");
        assert_eq!(bytes.len(), 61);
        assert_eq!(bytes[..12], [0, 0, 0, 0x3d, 0, 0, 0, 0x20, 0x07, 0xfd, 0x83, 0x96]);
        assert_eq!(bytes[12..16], [12, b'c', b'o', b'n']);
        assert_eq!(bytes[25..29], [7, 0, 16, b'a']);
        assert_eq!(bytes[57..], [0x8d, 0x9c, 0x08, 0xb1]);
    }
}
