//! Filters that encode and digest bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Answer, Call, Outcome};

pub(super) fn to_base64(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    Ok(STANDARD.encode(encoding(call)?.bytes(text)?))
}

pub(super) fn from_base64(call: &Call<'_>) -> Answer {
    let text: String = call
        .text()?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let encoding = encoding(call)?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Outcome::failed("meets text that is not base64"))?;
    Ok(match encoding {
        Encoding::Utf16 => {
            let units: Vec<u16> = bytes
                .chunks(2)
                .map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0xFFFD,
                })
                .collect();
            String::from_utf16_lossy(&units)
        }
        Encoding::Utf8 | Encoding::Base64 => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16,
    Base64,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "utf8" | "utf-8" => Some(Self::Utf8),
            "unicode" => Some(Self::Utf16),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    fn bytes(self, text: &str) -> Result<Vec<u8>, Outcome> {
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Utf16 => Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Self::Base64 => {
                let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
                STANDARD
                    .decode(text)
                    .map_err(|_| Outcome::failed("meets text that is not base64"))
            }
        }
    }
}

fn encoding(call: &Call<'_>) -> Result<Encoding, Outcome> {
    match call.args {
        [] => Ok(Encoding::Utf8),
        [name] => Encoding::named(name)
            .filter(|encoding| *encoding != Encoding::Base64)
            .ok_or_else(|| Outcome::failed("takes 'utf8' or 'unicode'")),
        _ => Err(Outcome::failed("takes one argument")),
    }
}

pub(super) fn md5(call: &Call<'_>) -> Answer {
    digest::<Md5>(call)
}

pub(super) fn sha1(call: &Call<'_>) -> Answer {
    digest::<Sha1>(call)
}

pub(super) fn sha256(call: &Call<'_>) -> Answer {
    digest::<Sha256>(call)
}

pub(super) fn sha384(call: &Call<'_>) -> Answer {
    digest::<Sha384>(call)
}

pub(super) fn sha512(call: &Call<'_>) -> Answer {
    digest::<Sha512>(call)
}

/// An encoding and a number of bytes, each optional, in either order.
fn digest<D: Digest>(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let refused =
        || Outcome::failed("takes an encoding ('utf8', 'unicode', 'base64') and a number of bytes");
    let size = |text: &str| text.trim().parse::<i32>().ok().filter(|size| *size > 0);
    let (mut encoding, mut length) = (None, None);
    for arg in call.args {
        if let Some(size) = size(arg).filter(|_| length.is_none()) {
            length = Some(usize::try_from(size).unwrap_or(usize::MAX));
        } else if encoding.is_none() {
            encoding = Some(Encoding::named(arg).ok_or_else(refused)?);
        } else {
            return Err(refused());
        }
    }
    let bytes = encoding.unwrap_or(Encoding::Utf8).bytes(text)?;
    let hex = hex::encode(D::digest(&bytes));
    let shown = length.map_or(hex.len(), |length| length.saturating_mul(2).min(hex.len()));
    Ok(hex.get(..shown).unwrap_or_default().to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "every filter has this type")]
/// Spreads values over `n` buckets, the same way everywhere and for ever. A wrong `n` is told in the text.
pub(super) fn bucket(call: &Call<'_>) -> Answer {
    let [count] = call.args else {
        return Ok("[HashBucket error: expected a single bucket count]".to_owned());
    };
    let buckets = count
        .trim()
        .parse::<i32>()
        .ok()
        .and_then(|count| u32::try_from(count).ok());
    let Some(buckets) = buckets.filter(|buckets| *buckets > 0) else {
        return Ok(format!(
            "[HashBucket error: bucket count '{count}' is not a positive integer]"
        ));
    };
    let text = call.input.unwrap_or_default();
    if text.is_empty() {
        return Ok(String::new());
    }
    let digest = Sha256::digest(text.as_bytes());
    let start: [u8; 4] = digest.first_chunk().copied().unwrap_or_default();
    Ok((u32::from_be_bytes(start) % buckets).to_string())
}
