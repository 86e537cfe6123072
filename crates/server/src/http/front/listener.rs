//! The places to listen at, and the accept loop.

use super::caps::{Caps, Ticket};
use super::connection::Connection;
use super::http2;
use super::timing::{Deadlines, Stop};
use super::{Front, Service};
use crate::config::Place;
use crate::metrics::Late;
use std::fs::{DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A place that is listened at. Belongs to the runtime it was bound on.
pub struct Listener {
    socket: Socket,
    // After the socket: what is dropped first ends first.
    _file: Option<SocketFile>,
    address: String,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Begins to listen.
    pub async fn bind(place: &Place) -> Result<Self> {
        match place {
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?.to_string();
                Ok(Self { socket: Socket::Tcp(listener), _file: None, address })
            }
            Place::Unix(path) => {
                let (listener, file) = bind_unix(path)?;
                Ok(Self { socket: Socket::Unix(listener), _file: Some(file), address: place.to_string() })
            }
        }
    }

    /// Where it listens: `127.0.0.1:8080`, or `unix:` and the path.
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn accept(&self) -> Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Without it, small answers wait for the acknowledgement of the packet before.
                let _: Result<()> = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, peer.ip().to_canonical()))
            }
            Socket::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }

    /// Serves until `stop` is done, then lets the requests under way end.
    pub async fn serve(self, front: Front, stop: impl Future<Output = ()>) {
        let Front { service, tls, deadlines, connections } = front;
        let caps = Caps::new(connections, service.app.metrics.connections(service.door).clone());
        let service = Arc::new(service);
        let (tell, told) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // A slot before the accept: who has to wait waits in the kernel's queue, where it costs no descriptor.
            let next = async { (caps.slot().await, self.accept().await) };
            let (slot, accepted) = tokio::select! {
                next = next => next,
                () = &mut stop => break,
            };
            while tasks.try_join_next().is_some() {}
            let (stream, peer) = match accepted {
                Ok(accepted @ Accepted::Unix(_)) => (accepted, None),
                Ok(Accepted::Tcp(stream, ip)) => (Accepted::Tcp(stream, ip), Some(ip)),
                Err(error) => {
                    // Out of file descriptors, mostly: connections that end free some.
                    tracing::warn!("no connection could be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(ticket) = slot.and_then(|slot| caps.admit(slot, peer)) else {
                tracing::debug!("an address has its share of the connections");
                continue;
            };
            let (service, stop) = (service.clone(), Stop::new(&told));
            let client = Client { service, peer, deadlines, stop, ticket };
            match stream {
                Accepted::Tcp(stream, _) if tls.is_some() => tasks.spawn(client.serve_tls(stream, tls.clone())),
                Accepted::Tcp(stream, _) => tasks.spawn(client.serve(stream, true)),
                Accepted::Unix(stream) => tasks.spawn(client.serve(stream, true)),
            };
        }
        drop(self);
        tell.send_replace(true);
        if tokio::time::timeout(deadlines.drain, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("requests under way were cut off after {:?}", deadlines.drain);
        }
    }
}

/// What it takes to serve one connection.
struct Client {
    service: Arc<Service>,
    peer: Option<IpAddr>,
    deadlines: Deadlines,
    stop: Stop,
    /// Held to the connection's end.
    ticket: Ticket,
}

impl Client {
    async fn serve_tls(mut self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else { return };
        let stream = tokio::select! {
            shaken = tokio::time::timeout(self.deadlines.handshake, tls.accept(stream)) => shaken,
            () = self.stop.told() => return,
        };
        let Ok(shaken) = stream else { return self.service.late(Late::Handshake) };
        let Ok(stream) = shaken else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let Self { service, peer, deadlines, stop, ticket } = self;
            http2::serve(stream, Vec::new(), service, peer, deadlines, stop).await;
            drop(ticket);
        } else {
            // Who wants HTTP/2 over TLS says so in the handshake.
            self.serve(stream, false).await;
        }
    }

    async fn serve<S>(self, stream: S, may_switch: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { service, peer, deadlines, stop, ticket } = self;
        let connection = Connection::new(stream, service, peer, deadlines, stop);
        if let Some((connection, read)) = connection.run(may_switch).await {
            let Connection { stream, service, peer, deadlines, stop, .. } = connection;
            // In a box, so that HTTP/1 connections don't keep room for it.
            Box::pin(http2::serve(stream, read, service, peer, deadlines, stop)).await;
        }
        drop(ticket);
    }
}

/// A socket's file. It goes with the listener, unless another one has its place by then.
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _: Result<()> = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Listens at a path where nothing is, or the socket of a server that has died.
fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile)> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::new(ErrorKind::AlreadyExists, "something else than a socket is there"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Ok(_) => return Err(Error::new(ErrorKind::AddrInUse, "another server listens there")),
            Err(error) => return Err(error),
        },
    }
    // Made where nobody else can get at it, and moved when its mode is right: until then the umask would decide.
    let mut private = path.as_os_str().to_owned();
    private.push(format!(".{}", std::process::id()));
    let private = PathBuf::from(private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        std::fs::set_permissions(&made, Permissions::from_mode(0o660))?;
        std::fs::rename(&made, path)?;
        Ok((listener, SocketFile { path: path.to_owned(), inode: inode(path)? }))
    });
    let _: Result<()> = std::fs::remove_dir_all(&private);
    bound
}
