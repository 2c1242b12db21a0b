//! Another program as the measured process: nginx with nchan, nginx or HAProxy as a proxy. It has a configuration of its own, in a
//! folder of its own, and listens on ports that were free a moment ago.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::options::Target;
use crate::process::Setup;
use crate::{nchan, proxies};

const START_WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Foreign {
    target: Target,
    folder: PathBuf,
    addresses: Vec<(String, SocketAddr)>,
}

/// Where it listens.
pub(crate) struct Places {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
}

/// Whether a program of this name says its version.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("-v").output().is_ok_and(|output| output.status.success())
}

/// Directives of nginx for all of HTTP: no log, its files in this folder, connections that stay open.
pub(crate) fn nginx_http(folder: &Path) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let path = |kind: &str| format!("    {kind}_temp_path \"{}\";\n", folder.join(kind).display());
    let paths = kinds.map(path).concat();
    format!("    access_log off;\n{paths}    keepalive_requests 1000000000;\n    tcp_nodelay on;")
}

impl Foreign {
    /// `None`: the target is no other program.
    pub(crate) fn new(setup: &Setup<'_>) -> Result<Option<Foreign>, String> {
        let name = setup.target.name();
        let folder = std::env::temp_dir().join(format!("tidegate-bench-{name}-{}", std::process::id()));
        let tls = setup.certificate.map(|_| free_port()).transpose()?;
        let places = Places { plain: free_port()?, tls };
        let text = match setup.target {
            Target::Nchan => nchan::configuration(&folder, setup, &places)?,
            Target::Nginx => proxies::nginx(&folder, setup, &places),
            Target::HaProxy => proxies::haproxy(&folder, setup, &places)?,
            Target::Floor | Target::FloorUring | Target::Epoll | Target::Uring => return Ok(None),
        };
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("conf"), text));
        written.map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut addresses = vec![("front".to_owned(), places.plain), ("publish".to_owned(), places.plain)];
        addresses.extend(places.tls.map(|address| ("tls".to_owned(), address)));
        Ok(Some(Foreign { target: setup.target, folder, addresses }))
    }

    /// It is told to end when its parent does.
    pub(crate) fn command(&self) -> Vec<String> {
        let folder = self.folder.to_string_lossy().into_owned();
        let file = self.folder.join("conf").to_string_lossy().into_owned();
        let words: &[&str] = match self.target {
            Target::HaProxy => &["haproxy", "-db", "-q", "-f", &file],
            _ => &["nginx", "-e", "stderr", "-p", &folder, "-c", &file],
        };
        ["setpriv", "--pdeathsig", "TERM"].iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    pub(crate) fn await_listening(&self) -> Result<Vec<(String, SocketAddr)>, String> {
        let deadline = Instant::now() + START_WAIT;
        for (_, address) in &self.addresses {
            while TcpStream::connect(address).is_err() {
                if Instant::now() >= deadline {
                    return Err(format!("{} does not listen", self.target.name()));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(self.addresses.clone())
    }

    /// A master ends its workers; killed, it would leave them.
    pub(crate) fn stop(&self, master: u32) {
        // SAFETY: kill takes two integers; the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(master as libc::pid_t, libc::SIGTERM) };
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}
