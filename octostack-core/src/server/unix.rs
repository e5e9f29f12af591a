use super::BindError;
use super::open::BACKLOG;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Who has connected to a Unix socket, in the extensions of each request of a server
/// [with peer addresses](super::Server::with_peer_addr): the process as it was when it connected.
///
/// There is no address: a [`Peer`](super::Peer) is only there for TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixPeer {
    /// The user that it runs as.
    pub uid: u32,
    /// The group that it runs as.
    pub gid: u32,
    /// Its id, where the system tells it.
    pub pid: Option<i32>,
}

impl UnixPeer {
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        Some(Self { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() })
    }
}

/// The file of a socket, which is removed with it, unless somebody has put another one there.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| id(&now) == self.id) {
            let _ = fs::remove_file(&self.path); // it would be found to be stale
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Listens at `path`, which only those may connect to whom `mode` permits to write.
pub(super) async fn bind(
    path: &Path,
    mode: u32,
    setting: &str,
) -> Result<(UnixListener, Place), BindError> {
    let error = |source| BindError::unix(path, setting, source);
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let _turn = turn(directory.unwrap_or(Path::new("."))).await;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(error(ErrorKind::AlreadyExists.into()));
        }
        Ok(_) => match UnixStream::connect(path).await {
            // Nobody listens: what is left of a process that did not get to remove it.
            Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(error)?;
            }
            Err(gone) if gone.kind() == ErrorKind::NotFound => {}
            // Somebody, whose backlog may be full, or who does not let us.
            _ => return Err(error(ErrorKind::AddrInUse.into())),
        },
        Err(_) => {}
    }
    let socket = UnixSocket::new_stream().map_err(error)?;
    socket.bind(path).map_err(error)?;
    let id = fs::symlink_metadata(path).map(|file| id(&file)).map_err(error)?;
    let place = Place { path: path.to_owned(), id };
    // Before it listens: until then nobody gets in, whatever the umask permits.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(error)?;
    let listener = socket.listen(BACKLOG).map_err(error)?;
    Ok((listener, place))
}

/// Keeps two processes that start at once from taking each other's socket for a stale one. Who
/// else locks the directory, and for long, is not waited for.
async fn turn(directory: &Path) -> Option<File> {
    const PATIENCE: u32 = 50;
    let lock = File::open(directory).ok()?;
    for _ in 0..PATIENCE {
        match lock.try_lock() {
            Ok(()) => return Some(lock),
            Err(fs::TryLockError::WouldBlock) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Mode bits as `chmod` takes them: `0660`, `660`, `0o660`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o777 && !digits.starts_with('+'))
        .ok_or_else(|| format!("`{text}` is no mode; write it as chmod takes it, such as `0660`"))
}

#[cfg(test)]
mod tests {
    use super::parse_mode;

    #[test]
    fn a_mode_is_written_as_chmod_takes_it() {
        assert_eq!(parse_mode("0660"), Ok(0o660));
        assert_eq!(parse_mode("600"), Ok(0o600));
        assert_eq!(parse_mode("0o666"), Ok(0o666));
        for wrong in ["", "rw", "0680", "1777", "+660", "-1"] {
            assert!(parse_mode(wrong).unwrap_err().contains("such as `0660`"), "{wrong}");
        }
    }
}
