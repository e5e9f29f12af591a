use std::fmt;
use std::io::{self, ErrorKind};

/// A listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    address: String,
    setting: String,
    source: io::Error,
}

impl BindError {
    pub(super) fn new(address: &str, setting: &str, source: io::Error) -> Self {
        Self { address: address.to_owned(), setting: setting.to_owned(), source }
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
        let Self { address, setting, source } = self;
        write!(f, "cannot listen on {address}: ")?;
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
}
