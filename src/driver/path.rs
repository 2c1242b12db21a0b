//! Listening on a path of the file system (unix(7)), for programs of this machine alone.
//!
//! ```text
//!  bind --the file is there, and no process listens on it--> removed, bind again
//!    '--> mode 0660 --> listen        SocketFile, dropped: the file is removed, if it is still this socket's
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::ListeningSocket;
use crate::limits;

/// The owner of the process and its group may connect.
const MODE: u32 = 0o660;

/// The file of a listening socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put a file of its own there.
    identity: (u64, u64),
}

/// Listens on a path. EADDRINUSE if a process listens there, or if the file is no socket.
pub fn claim_path(path: &Path) -> io::Result<(ListeningSocket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path, &address)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    let facts = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), identity: (facts.dev(), facts.ino()) };
    // Until it listens, no program can connect.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(limits::LISTEN_QUEUE)?;
    Ok((ListeningSocket::of_path(socket), file))
}

/// Whether the file is that of a socket on which no process listens any more.
fn is_abandoned(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    caller.set_nonblocking(true)?;
    Ok(caller.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|facts| (facts.dev(), facts.ino()) == self.identity);
        if is_own {
            // If it cannot be removed, the next process removes it.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_path_has_one_listener_and_is_free_after_it() {
        let folder = folder("path");
        let path = folder.join("admin.sock");
        let (first, file) = claim_path(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(claim_path(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok(), "it goes on");
        drop((first, file));
        assert!(!path.exists());
        // A process that was killed leaves its file.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_second, file) = claim_path(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // A file of another process is not this one's to remove.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_stays_as_it_is() {
        let folder = folder("no-socket");
        let path = folder.join("notes");
        fs::write(&path, "dear diary").unwrap();
        assert_eq!(claim_path(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"dear diary");
        assert!(claim_path(&folder.join("nowhere/admin.sock")).is_err());
        assert!(claim_path(&folder.join("x".repeat(200))).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
