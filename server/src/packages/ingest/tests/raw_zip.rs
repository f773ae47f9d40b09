//! Zips written by hand, with any lie in them.

use std::io::Write as _;

/// An entry; what is said of it can be bent field by field.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) flags: u16,
    pub(crate) local_flags: Option<u16>,
    pub(crate) method: u16,
    pub(crate) local_method: Option<u16>,
    pub(crate) crc: u32,
    pub(crate) local_crc: Option<u32>,
    pub(crate) size: u32,
    pub(crate) local_size: Option<u32>,
    pub(crate) packed: Vec<u8>,
    pub(crate) packed_size: Option<u32>,
    pub(crate) host: u8,
    pub(crate) attributes: u32,
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Vec<u8>,
    pub(crate) offset: Option<u32>,
    /// Bytes after the data: a descriptor, padding, a hidden entry.
    pub(crate) tail: Vec<u8>,
}

impl RawEntry {
    /// A stored file with a Unix mode.
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            flags: 0x800,
            local_flags: None,
            method: 0,
            local_method: None,
            crc: crc.sum(),
            local_crc: None,
            size: content.len() as u32,
            local_size: None,
            packed: content.to_vec(),
            packed_size: None,
            host: 3,
            attributes: 0o100_644 << 16,
            extra: Vec::new(),
            local_extra: Vec::new(),
            offset: None,
            tail: Vec::new(),
        }
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(content).unwrap();
        Self {
            method: 8,
            packed: encoder.finish().unwrap(),
            ..Self::stored(name, content)
        }
    }

    pub(crate) fn folder(name: &str) -> Self {
        Self::stored(name, b"").mode(0o040_755)
    }

    pub(crate) fn link(name: &str, target: &str) -> Self {
        Self::stored(name, target.as_bytes()).mode(0o120_777)
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self {
            attributes: mode << 16,
            ..self
        }
    }

    /// As a writer without Unix modes has it.
    pub(crate) fn dos(self) -> Self {
        Self {
            host: 0,
            attributes: 0,
            ..self
        }
    }

    fn local(&self) -> Vec<u8> {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend(self.local_flags.unwrap_or(self.flags).to_le_bytes());
        out.extend(self.local_method.unwrap_or(self.method).to_le_bytes());
        out.extend([0x11, 0x22, 0x33, 0x44]);
        out.extend(self.local_crc.unwrap_or(self.crc).to_le_bytes());
        let packed = self.packed_size.unwrap_or(self.packed.len() as u32);
        let blank = self.local_size == Some(0);
        out.extend((if blank { 0 } else { packed }).to_le_bytes());
        out.extend(self.local_size.unwrap_or(self.size).to_le_bytes());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend((self.local_extra.len() as u16).to_le_bytes());
        out.extend(name);
        out.extend(&self.local_extra);
        out
    }

    fn central(&self, offset: u32) -> Vec<u8> {
        let mut out = b"PK\x01\x02\x14".to_vec();
        out.push(self.host);
        out.extend([0x14, 0]);
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0x11, 0x22, 0x33, 0x44]);
        out.extend(self.crc.to_le_bytes());
        let packed = self.packed_size.unwrap_or(self.packed.len() as u32);
        out.extend(packed.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
        out.extend([0; 6]);
        out.extend(self.attributes.to_le_bytes());
        out.extend(self.offset.unwrap_or(offset).to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.extra);
        out
    }
}

/// A zip of raw entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawZip {
    pub(crate) entries: Vec<RawEntry>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) stated_entries: Option<u16>,
    pub(crate) before_directory: Vec<u8>,
    pub(crate) trailer: Vec<u8>,
}

impl RawZip {
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            directory.extend(entry.central(out.len() as u32));
            out.extend(entry.local());
            out.extend(&entry.packed);
            out.extend(&entry.tail);
        }
        out.extend(&self.before_directory);
        let at = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        let count = self.stated_entries.unwrap_or(self.entries.len() as u16);
        out.extend(count.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.trailer);
        out
    }
}

pub(crate) fn zip_of(entries: Vec<RawEntry>) -> Vec<u8> {
    RawZip {
        entries,
        ..RawZip::default()
    }
    .build()
}
