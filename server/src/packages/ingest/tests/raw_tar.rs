//! Tars written by hand, with any lie in them.

/// A tar under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawTar {
    bytes: Vec<u8>,
}

impl RawTar {
    /// Any header and content; the size in the header can differ from the content's.
    pub(crate) fn raw(
        mut self,
        flag: u8,
        name: &str,
        link: &str,
        mode: u32,
        size: u64,
        content: &[u8],
    ) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0001750");
        header[116..123].copy_from_slice(b"0001750");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[136..147].copy_from_slice(b"14000000000");
        header[156] = flag;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(content);
        let over = content.len() % 512;
        if over != 0 {
            self.bytes.extend(vec![0; 512 - over]);
        }
        self
    }

    pub(crate) fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.raw(b'0', name, "", mode, content.len() as u64, content)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.raw(b'5', name, "", 0o755, 0, b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name, target, 0o777, 0, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name, target, 0o644, 0, b"")
    }

    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut body = String::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let mut length = rest.len() + 1;
            while length != rest.len() + length.to_string().len() {
                length += 1;
            }
            body += &length.to_string();
            body += &rest;
        }
        self.raw(b'x', "pax", "", 0o644, body.len() as u64, body.as_bytes())
    }

    pub(crate) fn gnu_long(self, flag: u8, name: &str) -> Self {
        let body = format!("{name}\0");
        self.raw(
            flag,
            "././@LongLink",
            "",
            0o644,
            body.len() as u64,
            body.as_bytes(),
        )
    }

    /// What is there, without an end.
    pub(crate) fn open(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    files
        .iter()
        .fold(RawTar::default(), |tar, (name, content)| {
            tar.file(name, 0o644, content)
        })
        .end()
}
