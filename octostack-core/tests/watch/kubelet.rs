//! What kubelet does to a mounted config map or secret, one step at a time.
//!
//! The steps are those of its atomic writer (`pkg/volume/util/atomic_writer.go`): a new directory
//! with a timestamp in its name, its files, `..data_tmp`, the rename onto `..data`, the links that
//! users see, and the removal of what is not needed any more.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A mounted volume.
pub(crate) struct Volume {
    dir: PathBuf,
    count: u32,
}

/// What stands in it, by path.
pub(crate) type Payload = BTreeMap<String, String>;

/// The step that makes the new content visible.
pub(crate) const RENAME: &str = "rename ..data_tmp to ..data";

type Step = (&'static str, Box<dyn FnOnce()>);

impl Volume {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, count: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// All steps of an update to `payload`, to be taken in their order.
    pub(crate) fn update(&mut self, payload: &Payload) -> Vec<Step> {
        self.count += 1;
        let dir = self.dir.clone();
        let old = fs::read_link(dir.join("..data")).ok();
        let name = format!("..2026_11_25_00_00_{:02}.{:09}", self.count % 60, self.count);
        let fresh = dir.join(&name);
        let mut steps: Vec<Step> = Vec::new();
        let made = fresh.clone();
        steps.push(("make the new directory", Box::new(move || fs::create_dir(made).unwrap())));
        for (file, text) in payload.clone() {
            let path = fresh.join(&file);
            let (parent, written) = (path.parent().unwrap().to_owned(), path.clone());
            let write = move || {
                fs::create_dir_all(parent).unwrap();
                fs::write(written, text).unwrap();
            };
            steps.push(("write a file", Box::new(write)));
            let change =
                move || fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            steps.push(("set its mode", Box::new(change)));
        }
        let link = dir.clone();
        steps.push((
            "link ..data_tmp",
            Box::new(move || symlink(name, link.join("..data_tmp")).unwrap()),
        ));
        let at = dir.clone();
        let rename = move || fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
        steps.push((RENAME, Box::new(rename)));
        let shown: Vec<_> = payload.keys().map(|path| first(path)).collect();
        for name in shown.clone() {
            let link = dir.join(&name);
            let show = move || {
                if fs::symlink_metadata(&link).is_err() {
                    symlink(Path::new("..data").join(name), link).unwrap();
                }
            };
            steps.push(("link what users see", Box::new(show)));
        }
        let at = dir.clone();
        let remove = move || {
            for entry in fs::read_dir(at).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if !name.starts_with("..") && !shown.contains(&name) {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        };
        steps.push(("remove links of what is gone", Box::new(remove)));
        if let Some(old) = old {
            let old = dir.join(old);
            let clear = move || fs::remove_dir_all(old).unwrap();
            steps.push(("remove the old directory", Box::new(clear)));
        }
        steps
    }

    /// The whole update at once.
    pub(crate) fn set(&mut self, payload: &Payload) {
        for (_, step) in self.update(payload) {
            step();
        }
    }
}

fn first(path: &str) -> String {
    path.split('/').next().unwrap_or_default().to_owned()
}
