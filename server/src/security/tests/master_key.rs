//! Secrets at rest: what opens, what does not, and what a start refuses.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use mantle_domain::ids::SecretVersionId;
use mantle_shared::AttemptId;
use mantle_shared::uuid::Uuid;

use crate::security::files::{self, FileError};
use crate::security::{
    MasterKey, MasterKeyError, SECRET_VERSION_TABLE as TABLE, SealError, Secret, master_key_open,
    master_key_rotate,
};
use crate::store::testing::{self, TestStore};
use crate::store::{
    META_MASTER_KEY_CHECK, NewSecretVersion, Store, secret_set, secret_version_fetch,
    secret_version_reseal, server_meta_find, server_meta_replace,
};

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn opened(result: Result<Secret, SealError>) -> Result<String, SealError> {
    result.map(|secret| secret.expose().to_owned())
}

#[test]
fn what_was_sealed_for_a_row_opens_for_that_row_alone() {
    let key = MasterKey::generate();
    let sealed = key
        .seal("secret_version", b"row 1", &secret("p4ss"))
        .unwrap();
    assert!(!sealed.windows(4).any(|window| window == b"p4ss"));
    let open = |table: &str, row: &[u8], sealed: &[u8]| opened(key.unseal(table, row, sealed));
    assert_eq!(
        open("secret_version", b"row 1", &sealed),
        Ok("p4ss".to_owned())
    );
    // A67: swapped between rows or columns.
    assert_eq!(
        open("secret_version", b"row 2", &sealed),
        Err(SealError::Forged)
    );
    assert_eq!(open("other", b"row 1", &sealed), Err(SealError::Forged));
    assert_eq!(
        open("secret", b"_version\0row 1", &sealed),
        Err(SealError::Forged)
    );
    for at in 4..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(
            open("secret_version", b"row 1", &changed),
            Err(SealError::Forged)
        );
    }
    for length in 0..sealed.len() {
        assert!(open("secret_version", b"row 1", &sealed[..length]).is_err());
    }
    let other = MasterKey::generate();
    let foreign = opened(other.unseal("secret_version", b"row 1", &sealed));
    assert_eq!(foreign, Err(SealError::Forged));
    let again = key
        .seal("secret_version", b"row 1", &secret("p4ss"))
        .unwrap();
    assert_ne!(sealed, again, "every sealing has a nonce of its own");
}

#[test]
fn equal_values_have_equal_marks_also_after_a_rotation() {
    let key = MasterKey::generate();
    let mark = key.mark(&secret("a"));
    assert_eq!(mark.len(), 64);
    assert_eq!(
        mark,
        key.with_new_key().without_old_keys().mark(&secret("a"))
    );
    assert_ne!(mark, key.mark(&secret("b")));
    assert_ne!(mark, MasterKey::generate().mark(&secret("a")));
}

/// As an agent does it.
fn seal_output(seal_key: &Secret, attempt: AttemptId, name: &str, value: &str) -> String {
    let key = STANDARD.decode(seal_key.expose()).unwrap();
    let cipher = XChaCha20Poly1305::new(&Key::try_from(key.as_slice()).unwrap());
    let nonce = [7_u8; 24];
    let aad = [attempt.as_bytes().as_slice(), name.as_bytes()].concat();
    let payload = Payload {
        msg: value.as_bytes(),
        aad: &aad,
    };
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).unwrap();
    STANDARD.encode([nonce.as_slice(), &sealed].concat())
}

#[test]
fn an_output_opens_for_its_attempt_and_name_alone() {
    let key = MasterKey::generate();
    let (one, two) = (
        AttemptId::from_uuid(Uuid::from_u128(1)),
        AttemptId::from_uuid(Uuid::from_u128(2)),
    );
    let sealed = seal_output(&key.seal_key(one), one, "Token", "s3cret");
    let open = |key: &MasterKey, attempt, name| opened(key.unseal_output(attempt, name, &sealed));
    assert_eq!(open(&key, one, "Token"), Ok("s3cret".to_owned()));
    assert_eq!(open(&key, one, "Other"), Err(SealError::Forged));
    assert_eq!(open(&key, two, "Token"), Err(SealError::Forged));
    assert_eq!(
        open(&key.with_new_key(), one, "Token"),
        Ok("s3cret".to_owned())
    );
    for damaged in ["", "!", "AAAA"] {
        let result = opened(key.unseal_output(one, "Token", damaged));
        assert_eq!(result, Err(SealError::Forged));
    }
}

#[test]
fn the_key_file_reads_back_and_damage_is_named_by_line() {
    let key = MasterKey::generate().with_new_key();
    let text = String::from_utf8(key.text().to_vec()).unwrap();
    let again = MasterKey::parse(text.as_bytes()).map_err(|line| line.to_string());
    assert_eq!(again.unwrap().check(), key.check());
    let lines: Vec<&str> = text.lines().collect();
    let compare = lines.iter().position(|l| l.starts_with("compare")).unwrap();
    let cases = [
        (text.replace("compare ", "compare x"), compare + 1),
        (text.replace("key 1 ", "key 3 "), compare + 3),
        (text.replace("key 2 ", "key 0 "), compare + 3),
        (text.replace("key 2 ", "keys 2 "), compare + 3),
        (text[..text.len() - 4].to_owned(), compare + 3),
        (String::new(), 1),
        (lines[..=compare].join("\n"), compare + 2),
    ];
    for (text, line) in cases {
        assert_eq!(
            MasterKey::parse(text.as_bytes()).err(),
            Some(line),
            "{text}"
        );
    }
}

fn path_of(test: &TestStore) -> PathBuf {
    test.folder.path().join("master.key")
}

#[tokio::test]
async fn the_first_start_makes_a_private_key_file_and_later_ones_use_it() {
    let test = testing::sqlite().await;
    let path = path_of(&test);
    let first = master_key_open(&test.store, &path).await.ok().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let text = std::fs::read(&path).unwrap();
    let second = master_key_open(&test.store, &path).await.ok().unwrap();
    assert_eq!(first.check(), second.check());
    assert_eq!(std::fs::read(&path).unwrap(), text);
    let names: Vec<_> = std::fs::read_dir(test.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("key"))
        .collect();
    assert_eq!(names, ["master.key"], "nothing is left beside it");
}

#[tokio::test]
async fn a_start_that_was_killed_between_file_and_database_goes_on() {
    let test = testing::sqlite().await;
    let path = path_of(&test);
    let key = MasterKey::generate();
    files::write_new(&path, &key.text()).unwrap();
    // And one killed while it wrote the file.
    std::fs::write(path.with_extension("key.part"), "half").unwrap();
    let opened = master_key_open(&test.store, &path).await.ok().unwrap();
    assert_eq!(opened.check(), key.check());
}

#[tokio::test]
async fn a_missing_wrong_damaged_or_exposed_key_file_is_refused() {
    let test = testing::sqlite().await;
    let path = path_of(&test);
    master_key_open(&test.store, &path).await.ok().unwrap();
    let good = std::fs::read(&path).unwrap();
    let refused = async |path: &Path| {
        master_key_open(&test.store, path)
            .await
            .err()
            .expect("it must be refused")
    };

    std::fs::remove_file(&path).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, MasterKeyError::Missing { .. }), "{error}");
    assert!(!path.exists(), "no new key was made");

    files::replace(&path, &MasterKey::generate().text()).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, MasterKeyError::Wrong { .. }), "{error}");

    files::replace(&path, b"key 1 abc\n").unwrap();
    let error = refused(&path).await;
    assert!(
        matches!(error, MasterKeyError::Damaged { line: 1, .. }),
        "{error}"
    );

    files::replace(&path, &good).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).unwrap();
        let error = refused(&path).await;
        let exposed = matches!(&error, MasterKeyError::File(FileError::Exposed { .. }));
        assert!(
            exposed && error.to_string().contains("chmod 600"),
            "{error}"
        );
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    master_key_open(&test.store, &path).await.ok().unwrap();
}

async fn set(store: &Store, key: &MasterKey, path: &str, value: &str) -> SecretVersionId {
    let id = SecretVersionId::from_uuid(Uuid::now_v7());
    let new = NewSecretVersion {
        id,
        path: path.to_owned(),
        key_id: key.active_id(),
        ciphertext: key.seal(TABLE, id.as_bytes(), &secret(value)).unwrap(),
        mark: key.mark(&secret(value)),
        at_us: 1,
        by: "ada".to_owned(),
    };
    store
        .write(async |tx| secret_set(tx, &new).await)
        .await
        .unwrap();
    id
}

async fn get(store: &Store, key: &MasterKey, id: SecretVersionId) -> Result<String, SealError> {
    let mut tx = store.read().await.unwrap();
    let row = secret_version_fetch(&mut tx, id).await.unwrap();
    opened(key.unseal(TABLE, id.as_bytes(), &row.ciphertext))
}

#[tokio::test]
async fn after_a_rotation_the_old_key_is_gone_and_every_secret_opens() {
    let test = testing::sqlite().await;
    let path = path_of(&test);
    let old = master_key_open(&test.store, &path).await.ok().unwrap();
    let mut ids = Vec::new();
    for number in 0..250 {
        ids.push(set(&test.store, &old, &format!("s/{number}"), "v").await);
    }
    let (new, count) = master_key_rotate(&test.store, &path, &old).await.unwrap();
    assert_eq!(count, 250);
    assert_eq!(new.active_id(), 2);
    for id in ids {
        assert_eq!(get(&test.store, &new, id).await, Ok("v".to_owned()));
        assert_eq!(
            get(&test.store, &old, id).await,
            Err(SealError::UnknownKey { id: 2 })
        );
    }
    let reopened = master_key_open(&test.store, &path).await.ok().unwrap();
    assert_eq!(reopened.check(), new.check());
    // A68: the file from before the rotation is an old key now.
    files::replace(&path, &old.text()).unwrap();
    let error = master_key_open(&test.store, &path).await.err().unwrap();
    assert!(matches!(error, MasterKeyError::Wrong { .. }), "{error}");
}

#[tokio::test]
async fn a_rotation_killed_at_any_step_starts_and_finishes() {
    // What is done when the server dies: the steps of a rotation, one more each time.
    for steps in 0..=5 {
        let test = testing::sqlite().await;
        let path = path_of(&test);
        let old = master_key_open(&test.store, &path).await.ok().unwrap();
        let one = set(&test.store, &old, "one", "1").await;
        let two = set(&test.store, &old, "two", "2").await;
        let both = old.with_new_key();
        let new = both.without_old_keys();
        let check = async |key: &MasterKey| {
            let mut tx = test.store.begin().await.unwrap();
            server_meta_replace(&mut tx, META_MASTER_KEY_CHECK, &key.check())
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        let reseal = async |id: SecretVersionId, value: &str| {
            let sealed = both.seal(TABLE, id.as_bytes(), &secret(value)).unwrap();
            test.store
                .write(async |tx| secret_version_reseal(tx, id, 1, 2, &sealed).await)
                .await
                .unwrap();
        };
        if steps >= 1 {
            files::replace(&path, &both.text()).unwrap();
        }
        if steps >= 2 {
            check(&both).await;
        }
        if steps >= 3 {
            reseal(one, "1").await;
        }
        if steps >= 4 {
            reseal(two, "2").await;
        }
        if steps >= 5 {
            check(&new).await;
        }
        let key = master_key_open(&test.store, &path).await;
        let key = key.unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
        assert_eq!(get(&test.store, &key, one).await, Ok("1".to_owned()));
        assert_eq!(get(&test.store, &key, two).await, Ok("2".to_owned()));
        let (key, _) = master_key_rotate(&test.store, &path, &key).await.unwrap();
        assert!(!key.has_old_keys());
        assert_eq!(get(&test.store, &key, one).await, Ok("1".to_owned()));
        assert_eq!(get(&test.store, &key, two).await, Ok("2".to_owned()));
        let mut tx = test.store.read().await.unwrap();
        let known = server_meta_find(&mut tx, META_MASTER_KEY_CHECK)
            .await
            .unwrap();
        assert_eq!(known, Some(key.check()));
    }
}
