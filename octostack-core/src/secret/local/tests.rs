use super::{Machine, Payload, Place, SecretRef, place, read, readable_by_all};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The disk as it is, and these variables.
struct Here(BTreeMap<&'static str, String>);

impl Machine for Here {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

fn text(payload: &Payload, field: Option<&str>) -> String {
    payload.select(field).unwrap().expose().clone()
}

#[test]
fn one_newline_at_the_end_is_not_part_of_it() {
    let dir = Dir::new("newline");
    let here = Here(BTreeMap::new());
    for (written, meant) in
        [("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("a\n\n", "a\n"), (" a ", " a ")]
    {
        let path = dir.write("secret", written, 0o600);
        let payload = read(&reference(&format!("file://{}", path.display())), &here).unwrap();
        assert_eq!(text(&payload, None), meant);
    }
    let path = dir.write("empty", "\n", 0o600);
    let error = read(&reference(&format!("file://{}", path.display())), &here).unwrap_err();
    assert!(error.ends_with("empty: it is empty"), "{error}");
}

#[test]
fn a_directory_has_a_field_for_each_file() {
    let dir = Dir::new("directory");
    dir.write("username", "app\n", 0o600);
    dir.write("password", "hunter2\n", 0o600);
    dir.write(".hidden", "x", 0o600);
    let here = Here(BTreeMap::new());
    let whole = reference(&format!("file://{}", dir.0.display()));
    let Payload::Fields(fields) = read(&whole, &here).unwrap() else { panic!("it is a directory") };
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["password", "username"]);
    let one = reference(&format!("{whole}#password"));
    assert_eq!(text(&read(&one, &here).unwrap(), one.field()), "hunter2");
    for outside in ["../x", ".hidden", "a/b"] {
        let outside = reference(&format!("{whole}#{outside}"));
        assert!(read(&outside, &here).unwrap_err().contains("no name of a file"));
    }
}

#[test]
fn variables_and_credentials_are_found_or_told_what_is_missing() {
    let dir = Dir::new("credentials");
    dir.write("db", r#"{"password": "hunter2"}"#, 0o400);
    let here = Here(BTreeMap::from([
        ("DB_PASSWORD", "hunter3".to_owned()),
        ("CREDENTIALS_DIRECTORY", dir.0.display().to_string()),
    ]));
    assert_eq!(text(&read(&reference("env://DB_PASSWORD"), &here).unwrap(), None), "hunter3");
    let credential = reference("cred://db#password");
    assert_eq!(text(&read(&credential, &here).unwrap(), credential.field()), "hunter2");
    assert_eq!(place(&credential, &here).unwrap(), Place::Path(dir.0.join("db")));

    let nothing = Here(BTreeMap::new());
    for (text, wrong) in [
        ("env://DB_PASSWORD", "the variable DB_PASSWORD is not set"),
        ("cred://db", "CREDENTIALS_DIRECTORY is not set"),
        ("cred://../db", "a credential has a name"),
        ("file://run/secrets/db", "begins with a third `/`"),
        ("file:///nowhere/at/all", "/nowhere/at/all: "),
        ("env://A?b=c", "has no option `b`"),
    ] {
        let error = read(&reference(text), &nothing).unwrap_err();
        assert!(error.contains(wrong), "{text}: {error}");
    }
}

#[test]
fn files_that_others_may_write_are_refused_and_those_that_they_may_read_told_of() {
    let dir = Dir::new("modes");
    let here = Here(BTreeMap::new());
    let open = dir.write("open", "hunter2", 0o666);
    let error = read(&reference(&format!("file://{}", open.display())), &here).unwrap_err();
    assert!(error.contains("everybody may write it") && !error.contains("hunter2"), "{error}");

    let shown = dir.write("shown", "hunter2", 0o644);
    assert!(read(&reference(&format!("file://{}", shown.display())), &here).is_ok());
    let told = readable_by_all(&shown);
    assert_eq!(told.is_some(), !super::in_memory(&shown), "{told:?}");
    assert_eq!(readable_by_all(&dir.write("kept", "hunter2", 0o640)), None);
    if Path::new("/dev/shm").is_dir() && super::in_memory(Path::new("/dev/shm")) {
        assert_eq!(readable_by_all(Path::new("/dev/shm")), None);
    }
}

#[cfg(feature = "secrets-live")]
#[tokio::test]
async fn a_file_that_was_closed_to_others_is_told_of_no_more() {
    use super::FileProvider;
    use crate::secret::provider::SecretProvider;
    let dir = Dir::new("closed");
    let path = dir.write("shown", "hunter2", 0o644);
    if super::in_memory(&path) {
        return;
    }
    let (files, reference) =
        (FileProvider::new(), reference(&format!("file://{}", path.display())));
    files.fetch(&reference).await.unwrap();
    assert!(files.status().to_string().contains("everybody on this machine"));
    dir.write("shown", "hunter2", 0o600);
    files.fetch(&reference).await.unwrap();
    assert!(!files.status().to_string().contains("everybody on this machine"));
}

#[cfg(feature = "secrets-live")]
#[tokio::test]
async fn a_volume_is_read_as_of_one_update_and_without_what_is_no_secret() {
    use super::FileProvider;
    use crate::secret::provider::SecretProvider;
    let dir = Dir::new("local-volume");
    for (update, user) in [("..1", "anna"), ("..2", "berta")] {
        std::fs::create_dir(dir.0.join(update)).unwrap();
        dir.write(&format!("{update}/user"), user, 0o600);
        dir.write(&format!("{update}/word"), &format!("of {user}"), 0o600);
        std::fs::write(dir.0.join(update).join("keystore"), [0xff, 0xfe]).unwrap();
        dir.write(&format!("{update}/empty"), "", 0o600);
    }
    std::os::unix::fs::symlink("..1", dir.0.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/user", dir.0.join("user")).unwrap();
    // The other links lead nowhere: what is read is what `..data` has.
    std::os::unix::fs::symlink("gone", dir.0.join("word")).unwrap();
    let reference = reference(&format!("file://{}#user", dir.0.display()));
    let provider = FileProvider::new();
    let both = async || {
        let payload = provider.fetch(&reference).await.unwrap().payload;
        let Payload::Fields(fields) = &payload else { panic!("{payload:?}") };
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["user", "word"]);
        format!("{} {}", text(&payload, Some("user")), text(&payload, Some("word")))
    };
    assert_eq!(both().await, "anna of anna");
    std::os::unix::fs::symlink("..2", dir.0.join("..next")).unwrap();
    std::fs::rename(dir.0.join("..next"), dir.0.join("..data")).unwrap();
    assert_eq!(both().await, "berta of berta");
}
