//! A directory for one test.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory that is gone when its test is over.
pub struct Directory(PathBuf);

impl Directory {
    /// A directory with these files in it.
    pub fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        let directory = Self(path);
        for (file, text) in files {
            directory.write(file, text);
        }
        directory
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// Writes a file that is for its owner alone, and replaces what was there in one step.
    pub fn write_secret(&self, name: &str, text: &str) {
        let next = self.0.join(format!(".{name}.next"));
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(next, self.0.join(name)).unwrap();
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// All files in it, with their content as far as it is text.
    pub fn files(&self) -> Vec<(String, String)> {
        let files = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
        };
        files.filter(|path| path.is_file()).map(text).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
