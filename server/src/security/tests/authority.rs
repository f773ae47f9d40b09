//! Certificates: every one from us, for the right key, with our names and our dates only.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mantle_shared::AgentId;
use mantle_shared::tls::{Fingerprint, SERVER_NAME, agent_uri, crypto_provider};
use mantle_shared::uuid::Uuid;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PublicKeyData as _, SanType,
};
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::security::{Authority, AuthorityError, CsrError, ServerIdentity, authority_open};
use crate::store::testing;

const DAY: Duration = Duration::from_hours(24);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_000)
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap())
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    Arc::new(roots)
}

fn server_is_valid(
    authority: &Authority,
    identity: &ServerIdentity,
    name: &str,
    at: SystemTime,
) -> Result<(), rustls::Error> {
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        roots(authority),
        crypto_provider(),
    )
    .build()
    .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(
            &identity.chain[0],
            &identity.chain[1..],
            &name,
            &[],
            unix(at),
        )
        .map(drop)
}

fn agent_is_valid(authority: &Authority, der: &[u8], at: SystemTime) -> Result<(), rustls::Error> {
    rustls::server::WebPkiClientVerifier::builder_with_provider(roots(authority), crypto_provider())
        .build()
        .unwrap()
        .verify_client_cert(&CertificateDer::from(der), &[], unix(at))
        .map(drop)
}

fn agent() -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(7))
}

#[test]
fn the_authority_is_made_once_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = Authority::open(folder.path(), now()).unwrap();
    let second = Authority::open(folder.path(), now() + DAY).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(
        first.fingerprint(),
        Fingerprint::of_der(second.certificate())
    );
    let (_, parsed) = X509Certificate::from_der(first.certificate()).unwrap();
    assert!(parsed.is_ca());
    let constraint = parsed.basic_constraints().unwrap().unwrap().value;
    assert_eq!(constraint.path_len_constraint, Some(0));
    #[cfg(unix)]
    for name in ["ca.key", "ca.crt"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn half_an_authority_is_finished_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    Authority::open(folder.path(), now()).unwrap();
    let (key, certificate) = (folder.path().join("ca.key"), folder.path().join("ca.crt"));
    // Killed between the two files of the very first start.
    std::fs::remove_file(&certificate).unwrap();
    Authority::open(folder.path(), now()).unwrap();

    std::fs::remove_file(&key).unwrap();
    let error = Authority::open(folder.path(), now()).err().unwrap();
    assert!(matches!(error, AuthorityError::Missing { .. }), "{error}");
    assert!(!key.exists(), "no other key was made");

    let other = tempfile::tempdir().unwrap();
    Authority::open(other.path(), now()).unwrap();
    std::fs::copy(other.path().join("ca.key"), &key).unwrap();
    let error = Authority::open(folder.path(), now()).err().unwrap();
    assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
    std::fs::write(&key, "nonsense").unwrap();
    let error = Authority::open(folder.path(), now()).err().unwrap();
    assert!(error.to_string().contains("ca.key"), "{error}");
}

#[tokio::test]
async fn a_database_keeps_to_its_authority() {
    let test = testing::sqlite().await;
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority_open(&test.store, ours.path(), now())
        .await
        .unwrap();
    authority_open(&test.store, ours.path(), now())
        .await
        .unwrap();
    let error = authority_open(&test.store, other.path(), now())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, AuthorityError::Foreign { .. }), "{error}");
}

fn identity(
    authority: &Authority,
    folder: &Path,
    names: &[&str],
    at: SystemTime,
) -> ServerIdentity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    authority.server_identity(folder, &names, at).unwrap()
}

#[test]
fn a_server_certificate_is_used_while_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), now()).unwrap();
    let names = ["Deploy01.example.com", "192.0.2.7", "2001:db8::1"];
    let first = identity(&authority, folder.path(), &names, now());
    for name in [
        SERVER_NAME,
        "deploy01.example.com",
        "192.0.2.7",
        "2001:db8::1",
    ] {
        server_is_valid(&authority, &first, name, now()).unwrap();
    }
    // Clocks that are behind; the end; a name that is not in it.
    server_is_valid(
        &authority,
        &first,
        SERVER_NAME,
        now() - Duration::from_secs(3500),
    )
    .unwrap();
    server_is_valid(&authority, &first, SERVER_NAME, now() + DAY * 91).unwrap_err();
    server_is_valid(&authority, &first, "other", now()).unwrap_err();
    assert_eq!(&first.chain[1], authority.certificate());

    let mut again = names;
    again.reverse();
    let same = identity(&authority, folder.path(), &again, now() + DAY * 59);
    assert_eq!(same.chain, first.chain);
    let renewed = identity(&authority, folder.path(), &names, now() + DAY * 61);
    assert_ne!(renewed.chain, first.chain);
    let renamed = identity(&authority, folder.path(), &["deploy02"], now() + DAY * 61);
    assert_ne!(renamed.chain, renewed.chain);
    std::fs::write(folder.path().join("server.pem"), "torn").unwrap();
    identity(&authority, folder.path(), &["deploy02"], now());

    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::open(other.path(), now()).unwrap();
    let theirs = identity(&stranger, other.path(), &names, now());
    std::fs::copy(
        other.path().join("server.pem"),
        folder.path().join("server.pem"),
    )
    .unwrap();
    let ours = identity(&authority, folder.path(), &names, now());
    assert_ne!(ours.chain, theirs.chain, "another authority's is not used");
    server_is_valid(&authority, &ours, SERVER_NAME, now()).unwrap();
}

#[test]
fn a_name_that_cannot_be_certified_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), now()).unwrap();
    for bad in ["", "a b", "host:7443", "h\u{f6}st"] {
        let error = authority
            .server_identity(folder.path(), &[bad.to_owned()], now())
            .err()
            .unwrap();
        assert!(
            matches!(error, AuthorityError::Name { .. }),
            "{bad}: {error}"
        );
    }
}

#[test]
fn of_a_signing_request_only_the_key_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), now()).unwrap();
    let key = KeyPair::generate().unwrap();
    // A request that asks for far more than it gets.
    let mut wishes = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    let uri = agent_uri(AgentId::from_uuid(Uuid::from_u128(1)));
    wishes
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    wishes.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = wishes.serialize_request(&key).unwrap();

    let issued = authority
        .agent_certificate(request.der(), agent(), now())
        .unwrap();
    let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].contains(&agent_uri(agent())), "{names:?}");
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(!parsed.is_ca());
    assert_eq!(parsed.raw_serial(), issued.serial);
    assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
    assert_eq!(issued.spki, Fingerprint::of_der(parsed.public_key().raw));
    assert_eq!(
        parsed.validity().not_after.timestamp() * 1_000_000,
        issued.not_after_us
    );
    agent_is_valid(&authority, &issued.der, now()).unwrap();
    agent_is_valid(&authority, &issued.der, now() + DAY * 31).unwrap_err();

    // An agent's certificate does not make a server.
    let false_server = ServerIdentity {
        chain: vec![
            CertificateDer::from(issued.der),
            authority.certificate().clone(),
        ],
        key: identity(&authority, folder.path(), &[], now()).key,
        not_after_us: 0,
    };
    server_is_valid(&authority, &false_server, SERVER_NAME, now()).unwrap_err();
    // Nor a server's an agent.
    let server = identity(&authority, folder.path(), &[], now());
    agent_is_valid(&authority, &server.chain[0], now()).unwrap_err();
}

#[test]
fn two_certificates_never_share_a_serial_number() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), now()).unwrap();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let issue = || {
        authority
            .agent_certificate(request.der(), agent(), now())
            .unwrap()
    };
    assert_ne!(issue().serial, issue().serial);
}

#[test]
fn a_forged_unreadable_or_strange_signing_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), now()).unwrap();
    let key = KeyPair::generate().unwrap();
    let good = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let issue = |der: &[u8]| authority.agent_certificate(der, agent(), now());
    issue(good.der()).unwrap();
    let mut forged = good.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    for bad in [
        forged.as_slice(),
        b"",
        b"nonsense",
        &[0x30; 5000],
        &good.der()[..100],
    ] {
        assert!(matches!(issue(bad), Err(CsrError::Bad(_))));
    }
    let strange = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&strange)
        .unwrap();
    assert!(matches!(issue(request.der()), Err(CsrError::Key)));
}
