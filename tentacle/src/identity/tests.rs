//! An identity is whole or not there, and a key that others can read is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_shared::uuid::Uuid;

use super::*;

fn enrolled() -> Enrolled {
    Enrolled {
        agent: AgentId::from_uuid(Uuid::from_u128(7)),
        name: "web01".to_owned(),
        servers: vec!["mantle.example:7443".to_owned()],
        certificate: vec![1, 2, 3],
        authority: vec![4, 5, 6],
        not_after_us: 99,
    }
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Identity::exists(dir.path()));
    assert!(matches!(
        Identity::load(dir.path()),
        Err(IdentityError::NotJoined { .. })
    ));
    let key = NewKey::generate().unwrap();
    save(dir.path(), &key, &enrolled()).unwrap();
    let loaded = Identity::load(dir.path()).unwrap();
    assert_eq!(loaded.agent, enrolled().agent);
    assert_eq!(loaded.servers, enrolled().servers);
    assert_eq!(loaded.private_key().secret_der(), key.pkcs8().as_slice());
    assert_eq!(
        loaded.authority_fingerprint(),
        Fingerprint::of_der(&[4, 5, 6])
    );
}

#[test]
fn joining_again_leaves_one_key() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &NewKey::generate().unwrap(), &enrolled()).unwrap();
    let second = NewKey::generate().unwrap();
    save(dir.path(), &second, &enrolled()).unwrap();
    let names: Vec<_> = fs::read_dir(folder(dir.path()))
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names.iter().filter(|n| n.starts_with("key-")).count(),
        1,
        "{names:?}"
    );
    assert_eq!(names.len(), 2, "{names:?}");
    let loaded = Identity::load(dir.path()).unwrap();
    assert_eq!(loaded.private_key().secret_der(), second.pkcs8().as_slice());
}

#[cfg(unix)]
#[test]
fn a62_a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &NewKey::generate().unwrap(), &enrolled()).unwrap();
    let folder = folder(dir.path());
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let key = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "p8"))
        .unwrap();
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load(dir.path()).unwrap_err();
        assert!(
            matches!(&error, IdentityError::KeyExposed { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn damage_is_named_and_nothing_panics() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &NewKey::generate().unwrap(), &enrolled()).unwrap();
    let path = folder(dir.path()).join(FILE);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() - 1 {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(
            matches!(
                Identity::load(dir.path()),
                Err(IdentityError::Damaged { .. })
            ),
            "cut at {cut}"
        );
    }
    fs::write(
        &path,
        String::from_utf8(whole)
            .unwrap()
            .replace("\"format\": 1", "\"format\": 2"),
    )
    .unwrap();
    assert!(matches!(
        Identity::load(dir.path()),
        Err(IdentityError::Newer { found: 2, .. })
    ));
}

#[test]
fn a_signing_request_names_the_agent_and_proves_the_key() {
    let key = NewKey::generate().unwrap();
    let request = key.signing_request("web01").unwrap();
    let parsed = rcgen::CertificateSigningRequestParams::from_der(&request.into()).unwrap();
    assert_eq!(
        rcgen::PublicKeyData::der_bytes(&parsed.public_key),
        key.public_key(),
        "the request carries this key"
    );
}
