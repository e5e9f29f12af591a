use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    address: String,
    setting: String,
    source: io::Error,
    unix: bool,
}

impl BindError {
    pub(super) fn new(address: &str, setting: &str, source: io::Error) -> Self {
        Self { address: address.to_owned(), setting: setting.to_owned(), source, unix: false }
    }

    /// The same for a Unix socket at `path`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are none"))]
    pub(super) fn unix(path: &Path, setting: &str, source: io::Error) -> Self {
        let address = format!("unix:{}", path.display());
        Self { address, setting: setting.to_owned(), source, unix: true }
    }

    /// The address that was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What kind of error the system gave.
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, setting, source, unix } = self;
        write!(f, "cannot listen on {address}: ")?;
        if *unix {
            return self.fmt_unix(f);
        }
        match source.kind() {
            ErrorKind::AddrInUse => write!(
                f,
                "another process uses it; end that one, or choose another port with {setting}; 0 \
                 takes any free one"
            ),
            ErrorKind::PermissionDenied => write!(
                f,
                "the system does not permit it; ports below 1024 need a privilege, so choose \
                 another one with {setting}"
            ),
            ErrorKind::AddrNotAvailable => write!(
                f,
                "it is no address of this host; choose one with {setting}, such as 127.0.0.1, or \
                 0.0.0.0 for all"
            ),
            ErrorKind::InvalidInput => {
                write!(f, "it is no `host:port`; correct {setting} ({source})")
            }
            _ => write!(f, "{source}; the address comes from {setting}"),
        }
    }
}

impl BindError {
    fn fmt_unix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, source, .. } = self;
        match source.kind() {
            ErrorKind::AddrInUse => write!(
                f,
                "another process listens there; end that one, or choose another path with {setting}"
            ),
            ErrorKind::AlreadyExists => write!(
                f,
                "there is a file that is no socket; remove it if it is not needed, or choose \
                 another path with {setting}"
            ),
            ErrorKind::NotFound => write!(
                f,
                "its directory is not there; create it, or choose another path with {setting}"
            ),
            ErrorKind::PermissionDenied => write!(
                f,
                "the system does not permit it; the service must be able to write to the \
                 directory, so choose another path with {setting}"
            ),
            ErrorKind::InvalidInput => write!(
                f,
                "it is too long for the path of a socket ({source}); choose a shorter one with \
                 {setting}"
            ),
            _ => write!(f, "{source}; the path comes from {setting}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::BindError;
    use std::io::{Error, ErrorKind};

    #[test]
    fn says_what_to_do() {
        let say =
            |kind| BindError::new("10.0.0.1:80", "server.port", Error::from(kind)).to_string();
        assert_eq!(
            say(ErrorKind::AddrInUse),
            "cannot listen on 10.0.0.1:80: another process uses it; end that one, or choose \
             another port with server.port; 0 takes any free one"
        );
        assert!(say(ErrorKind::PermissionDenied).contains("below 1024"));
        assert!(say(ErrorKind::AddrNotAvailable).contains("no address of this host"));
        assert!(say(ErrorKind::Other).ends_with("the address comes from server.port"));
    }

    #[test]
    fn says_what_to_do_about_a_path() {
        let path = std::path::Path::new("/run/orders.sock");
        let say = |kind| BindError::unix(path, "the path", Error::from(kind)).to_string();
        assert_eq!(
            say(ErrorKind::AddrInUse),
            "cannot listen on unix:/run/orders.sock: another process listens there; end that one, \
             or choose another path with the path"
        );
        assert!(say(ErrorKind::AlreadyExists).contains("a file that is no socket"));
        assert!(say(ErrorKind::NotFound).contains("its directory is not there"));
        assert!(say(ErrorKind::PermissionDenied).contains("write to the directory"));
        assert!(say(ErrorKind::Other).ends_with("the path comes from the path"));
    }
}
