//! The server's own certificate authority.
//!
//! It is made on the first start and lives in two files of the data folder. Every leaf comes from
//! one function, [`Authority::mint`]: of a signing request only the public key is taken, everything
//! else is ours. Leaves begin an hour before now, for clocks that are behind.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mantle_shared::AgentId;
use mantle_shared::tls::{Fingerprint, SERVER_NAME, agent_uri};
use rand::RngCore as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::store::{META_AUTHORITY, Store, StoreError, server_meta_keep};

const DAY: Duration = Duration::from_hours(24);
/// The authority outlives the server it is made for.
const AUTHORITY_LASTS: Duration = DAY.saturating_mul(3650);
/// A server certificate is made anew at a start when less than a third of its life is left.
const SERVER_LASTS: Duration = DAY.saturating_mul(90);
const SERVER_RENEWS: Duration = DAY.saturating_mul(30);
/// Agents renew at half of it: a machine may be off for two weeks and notice nothing.
pub const AGENT_LASTS: Duration = DAY.saturating_mul(30);
const BACKDATE: Duration = Duration::from_hours(1);
/// A signing request for an elliptic-curve key has some 300 bytes.
const MAX_CSR_BYTES: usize = 4096;

const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY_CERTIFICATE: &str = "ca.crt";
const SERVER_FILE: &str = "server.pem";

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    agent_lasts: Duration,
}

/// The server's key and certificate, with the authority's behind it so that a peer that knows only
/// its fingerprint can check the chain.
pub struct ServerIdentity {
    /// The server's certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The server's key.
    pub key: PrivateKeyDer<'static>,
    /// When the certificate ends.
    pub not_after_us: i64,
}

/// A certificate for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The fingerprint of the key that it is for.
    pub spki: Fingerprint,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// When it ends.
    pub not_after_us: i64,
}

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A part of it is missing.
    #[error("{path} is missing; put it back from your backup: agents trust this authority alone")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file is not what it should be.
    #[error("{path} cannot be used: {what}; put it back from your backup")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The database belongs to another authority.
    #[error(
        "the certificate authority in {path} is not the one that this database was used with, so \
         no agent would trust this server; put the right files back from your backup"
    )]
    Foreign {
        /// The folder.
        path: String,
    },
    /// A name cannot stand in a certificate.
    #[error("'{name}' cannot stand in a certificate; give a host name or an address")]
    Name {
        /// The name.
        name: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
}

/// Why a signing request is refused.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// It is too large, cannot be read, or its signature is wrong.
    #[error("the signing request cannot be read or its signature is wrong")]
    Bad(#[source] Option<rcgen::Error>),
    /// Its key is of a kind that we do not certify.
    #[error("the signing request's key is neither ECDSA P-256 nor Ed25519")]
    Key,
    /// The certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
}

/// Opens the authority of a data folder, makes it on the first start, and sees to it that the
/// database was never used with another.
pub async fn authority_open(
    store: &Store,
    folder: &Path,
    now: SystemTime,
) -> Result<Authority, AuthorityError> {
    let authority = Authority::open(folder, now)?;
    let mut tx = store.begin().await?;
    let own = authority.fingerprint();
    let known = server_meta_keep(&mut tx, META_AUTHORITY, own.as_bytes()).await?;
    tx.commit().await?;
    if known != own.as_bytes() {
        return Err(AuthorityError::Foreign {
            path: folder.display().to_string(),
        });
    }
    Ok(authority)
}

impl Authority {
    /// Opens the authority in this folder, or makes it if neither of its files is there.
    pub fn open(folder: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let key_path = folder.join(AUTHORITY_KEY);
        let certificate_path = folder.join(AUTHORITY_CERTIFICATE);
        let certificate = files::read_private(&certificate_path)?;
        let key = match (files::read_private(&key_path)?, &certificate) {
            (Some(pem), _) => read_key(&key_path, &pem)?,
            (None, Some(_)) => {
                return Err(AuthorityError::Missing {
                    path: key_path.display().to_string(),
                });
            }
            (None, None) => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                files::write_new(&key_path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
                key
            }
        };
        let certificate = if let Some(pem) = certificate {
            read_certificate(&certificate_path, &pem)?
        } else {
            // The first start, perhaps the second try of it: nobody has seen a certificate yet.
            let certificate = authority_params(now).self_signed(&key)?;
            files::write_new(&certificate_path, certificate.pem().as_bytes())?;
            certificate.der().clone()
        };
        if !is_for(&certificate, &key) {
            return Err(AuthorityError::Damaged {
                path: certificate_path.display().to_string(),
                what: "it is not the certificate of ca.key",
            });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            issuer,
            certificate,
            agent_lasts: AGENT_LASTS,
        })
    }

    /// Agents' certificates last this long.
    #[must_use]
    pub fn with_agent_lifetime(mut self, lasts: Duration) -> Self {
        self.agent_lasts = lasts;
        self
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The SHA-256 of the authority's certificate: what join tokens and `mantle login` pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.certificate)
    }

    /// The server's key and certificate for these names and addresses beside the fixed one. What
    /// is there is used while it fits; otherwise both are made anew.
    pub fn server_identity(
        &self,
        folder: &Path,
        names: &[String],
        now: SystemTime,
    ) -> Result<ServerIdentity, AuthorityError> {
        let path = folder.join(SERVER_FILE);
        let names: BTreeSet<String> = names
            .iter()
            .map(String::as_str)
            .chain([SERVER_NAME])
            .map(str::to_ascii_lowercase)
            .collect();
        if let Some(pem) = files::read_private(&path)?
            && let Some(identity) = self.read_server(&pem, &names, now)
        {
            return Ok(identity);
        }
        let mut alternative_names = Vec::new();
        for name in &names {
            alternative_names.push(server_name(name)?);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = Leaf {
            common_name: SERVER_NAME.to_owned(),
            names: alternative_names,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            lasts: SERVER_LASTS,
        };
        let minted = self.mint(leaf, &key, now)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let file = Zeroizing::new(format!("{}{}", minted.pem, *key_pem));
        files::replace(&path, file.as_bytes())?;
        Ok(ServerIdentity {
            chain: vec![minted.der.into(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            not_after_us: minted.not_after_us,
        })
    }

    /// A certificate for the key of a signing request. The caller refuses a key that was seen
    /// before.
    pub fn agent_certificate(
        &self,
        signing_request: &[u8],
        agent: AgentId,
        now: SystemTime,
    ) -> Result<AgentCertificate, CsrError> {
        if signing_request.len() > MAX_CSR_BYTES {
            return Err(CsrError::Bad(None));
        }
        let request = CertificateSigningRequestDer::from(signing_request);
        let request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|error| CsrError::Bad(Some(error)))?;
        let algorithm = request.public_key.algorithm();
        if *algorithm != PKCS_ECDSA_P256_SHA256 && *algorithm != PKCS_ED25519 {
            return Err(CsrError::Key);
        }
        let uri = agent_uri(agent).try_into().map_err(CsrError::Make)?;
        let leaf = Leaf {
            common_name: agent.to_string(),
            names: vec![SanType::URI(uri)],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            lasts: self.agent_lasts,
        };
        let minted = self
            .mint(leaf, &request.public_key, now)
            .map_err(CsrError::Make)?;
        Ok(AgentCertificate {
            der: minted.der,
            spki: Fingerprint::of_der(&request.public_key.subject_public_key_info()),
            serial: minted.serial,
            not_after_us: minted.not_after_us,
        })
    }

    /// Makes a leaf. There is no other place that signs one.
    fn mint(
        &self,
        leaf: Leaf,
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<Minted, rcgen::Error> {
        let mut serial = [0_u8; 16];
        rand::rng().fill_bytes(&mut serial);
        // Serial numbers are positive, and none begins with a zero byte.
        if let Some(first) = serial.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        let not_after = now + leaf.lasts;
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = not_after.into();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.subject_alt_names = leaf.names;
        params.distinguished_name = common_name(&leaf.common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![leaf.usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Minted {
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            serial: serial.to_vec(),
            not_after_us: micros(not_after),
        })
    }

    /// The identity in the file, if it is ours, for these names, and will last.
    fn read_server(
        &self,
        pem: &[u8],
        names: &BTreeSet<String>,
        now: SystemTime,
    ) -> Option<ServerIdentity> {
        let certificate = CertificateDer::from_pem_slice(pem).ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let pair = KeyPair::try_from(&key).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let (_, authority) = X509Certificate::from_der(&self.certificate).ok()?;
        parsed.verify_signature(Some(authority.public_key())).ok()?;
        let not_after_us = parsed
            .validity()
            .not_after
            .timestamp()
            .saturating_mul(1_000_000);
        let lasts = not_after_us > micros(now + SERVER_RENEWS);
        let fits = is_for(&certificate, &pair) && names_of(&parsed)? == *names;
        (lasts && fits).then(|| ServerIdentity {
            chain: vec![certificate.clone(), self.certificate.clone()],
            key,
            not_after_us,
        })
    }
}

/// What differs between leaves.
struct Leaf {
    common_name: String,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
    lasts: Duration,
}

struct Minted {
    der: Vec<u8>,
    pem: String,
    serial: Vec<u8>,
    not_after_us: i64,
}

fn authority_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + AUTHORITY_LASTS).into();
    params.distinguished_name = common_name("Mantle certificate authority");
    // It signs leaves only.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || AuthorityError::Name {
        name: name.to_owned(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
        return Err(bad());
    }
    Ok(SanType::DnsName(
        name.to_owned().try_into().map_err(|_| bad())?,
    ))
}

fn names_of(certificate: &X509Certificate<'_>) -> Option<BTreeSet<String>> {
    let names = certificate.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
            }
            .map(|address| address.to_string()),
            _ => None,
        })
        .collect()
}

fn is_for(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

fn read_key(path: &Path, pem: &[u8]) -> Result<KeyPair, AuthorityError> {
    let damaged = || AuthorityError::Damaged {
        path: path.display().to_string(),
        what: "it holds no private key",
    };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| damaged())?;
    KeyPair::try_from(&key).map_err(|_| damaged())
}

fn read_certificate(path: &Path, pem: &[u8]) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem).map_err(|_| AuthorityError::Damaged {
        path: path.display().to_string(),
        what: "it holds no certificate",
    })
}

fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
