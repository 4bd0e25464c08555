//! The bytes of an envelope.

use aws_lc_rs::aead::NONCE_LEN;

use super::MAGIC;
use super::data_key::KEY_BYTES;

pub const VERSION: u8 = 1;
pub const AES_256_GCM_HKDF: u8 = 1;
pub const TAG_BYTES: usize = 16;

/// An envelope, split.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Everything before the nonce: covered by the tag, and the same for all of a data key.
    pub header: &'a [u8],
    pub key_id: &'a str,
    pub wrapped: &'a [u8],
    pub commitment: &'a [u8],
    pub nonce: [u8; NONCE_LEN],
    pub ciphertext: &'a [u8],
    pub tag: &'a [u8],
}

/// Why bytes are no envelope that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEnvelope {
    NotSealed,
    Version(u8, u8),
    Malformed(&'static str),
}

impl<'a> Envelope<'a> {
    pub fn split(data: &'a [u8]) -> Result<Self, NoEnvelope> {
        let mut rest = data.strip_prefix(&MAGIC[..]).ok_or(NoEnvelope::NotSealed)?;
        let [version, algorithm] = *take(&mut rest, 2, "its version")? else {
            return Err(NoEnvelope::Malformed("its version"));
        };
        if (version, algorithm) != (VERSION, AES_256_GCM_HKDF) {
            return Err(NoEnvelope::Version(version, algorithm));
        }
        let key_id_bytes = usize::from(take(&mut rest, 1, "its key id")?[0]);
        let key_id = std::str::from_utf8(take(&mut rest, key_id_bytes, "its key id")?);
        let key_id = key_id.map_err(|_| NoEnvelope::Malformed("its key id"))?;
        let length = take(&mut rest, 2, "its wrapped key")?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let wrapped = take(&mut rest, length, "its wrapped key")?;
        let commitment = take(&mut rest, KEY_BYTES, "its commitment")?;
        let header = &data[..data.len() - rest.len()];
        let nonce = take(&mut rest, NONCE_LEN, "its nonce")?;
        let nonce = nonce.try_into().map_err(|_| NoEnvelope::Malformed("its nonce"))?;
        let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_BYTES>() else {
            return Err(NoEnvelope::Malformed("its tag"));
        };
        Ok(Self { header, key_id, wrapped, commitment, nonce, ciphertext, tag })
    }
}

/// The next bytes of the rest.
fn take<'a>(rest: &mut &'a [u8], count: usize, what: &'static str) -> Result<&'a [u8], NoEnvelope> {
    let (taken, after) = rest.split_at_checked(count).ok_or(NoEnvelope::Malformed(what))?;
    *rest = after;
    Ok(taken)
}

/// The header of all envelopes of a data key; `None` if a part is longer than its length field.
pub fn header(key_id: &str, wrapped: &[u8], commitment: &[u8; KEY_BYTES]) -> Option<Vec<u8>> {
    let key_id_bytes = u8::try_from(key_id.len()).ok().filter(|bytes| *bytes > 0)?;
    let wrapped_bytes = u16::try_from(wrapped.len()).ok()?.to_be_bytes();
    let mut header = MAGIC.to_vec();
    header.extend([VERSION, AES_256_GCM_HKDF, key_id_bytes]);
    header.extend(key_id.as_bytes());
    header.extend(wrapped_bytes);
    header.extend(wrapped);
    header.extend(commitment);
    Some(header)
}

/// What the tag covers besides the payload. Each part's end is known, so no two triples give the
/// same bytes.
pub fn covered(header: &[u8], stream: &str, partition_key: &str) -> Vec<u8> {
    let mut covered = Vec::with_capacity(header.len() + 8 + stream.len() + partition_key.len());
    covered.extend(header);
    covered.extend((stream.len() as u64).to_be_bytes());
    covered.extend(stream.as_bytes());
    covered.extend(partition_key.as_bytes());
    covered
}
