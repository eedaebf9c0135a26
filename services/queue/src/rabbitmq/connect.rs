//! One connection to the broker: bounded in time, and leaving nothing behind when it fails.

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    Connection, ConnectionProperties, Error,
    tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig},
};
use tokio::time::timeout;

use crate::rabbitmq::{address::Address, connect_error};

/// From the name look-up to the end of the handshake. `connection_timeout` in the URL has no effect in
/// lapin's asynchronous path.
const CONNECT: Duration = Duration::from_secs(10);

/// Connects, or says why not, in words. `purpose` is shown in the broker's list of connections.
///
/// lapin gives every connection a thread, which waits for as long as the socket is open: where a proxy
/// accepts and nobody answers behind it, each try would leave one. So we keep the socket in hand until the
/// handshake is through, and shut it down where it fails, or is no longer wanted.
pub(super) async fn connect(address: &Address, purpose: &str) -> Result<Connection, String> {
    let runtime = lapin::runtime::default_runtime().map_err(|error| address.reason(error))?;
    let socket = Socket::default();
    let (opened, reactor) = (socket.0.clone(), runtime.clone());
    let connector = async move |uri: lapin::uri::AMQPUri, _| {
        let connecting = uri.connect_with_config_async(TLSConfig::default(), &reactor);
        let stream = timeout(CONNECT, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let handle = match &stream {
            AsyncTcpStream::Plain(stream) => stream.get_ref().as_fd().try_clone_to_owned()?,
            AsyncTcpStream::Rustls(stream) => stream.get_ref().0.get_ref().as_fd().try_clone_to_owned()?,
            _ => return Ok(stream),
        };
        *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(TcpStream::from(handle));
        Ok::<_, Error>(stream)
    };
    let name = format!("waybill {} {purpose}", env!("CARGO_PKG_VERSION"));
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connected = timeout(CONNECT, Connection::connector(address.uri(), runtime, connector, properties)).await;
    match connected {
        Ok(Ok(connection)) => {
            socket.keep_open();
            Ok(connection)
        }
        Ok(Err(error)) => {
            Err(address.reason(connect_error::advice(&error, address).unwrap_or_else(|| error.to_string())))
        }
        Err(_) => Err(format!("no answer within {} seconds", CONNECT.as_secs())),
    }
}

/// Another handle to a connection's socket, which shuts it down when dropped.
#[derive(Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep_open(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may be shut already, which is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
