//! TCP through tokio, without Nagle's delay: every frame here is an answer somebody awaits.
#![expect(clippy::disallowed_methods, reason = "this is where Env opens sockets")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::BoxFuture;
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

use crate::{Listener, Net, Stream};

pub(super) struct RealNet;

impl Net for RealNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(addr).await?;
            Ok(Box::new(RealListener { listener }) as Box<dyn Listener>)
        })
    }

    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

struct RealListener {
    listener: TcpListener,
}

impl Listener for RealListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Vec<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            if refuse_beginnings(&self.listener) {
                // Whoever has begun to connect has connected, and is in the queue.
                tokio::time::sleep(HANDSHAKE_TIME).await;
            }
            let Ok(listener) = self.listener.into_std() else { return Vec::new() };
            let mut waiting = Vec::new();
            // It does not block. Without the filter, who connects between the last look and the end is reset.
            while let Ok(connection) = listener.accept() {
                waiting.push(connection);
            }
            drop(listener);
            waiting.into_iter().filter_map(|(stream, peer)| Some((nonblocking(stream).ok()?, peer))).collect()
        })
    }
}

/// What a handshake under way gets to end once no new one begins.
const HANDSHAKE_TIME: Duration = Duration::from_millis(20);

/// Lets a listening socket drop what opens a connection and nothing else: a client asks again a
/// second later, and then nobody listens. Whether it does.
#[cfg(target_os = "linux")]
fn refuse_beginnings(listener: &TcpListener) -> bool {
    // The system runs it over each TCP segment that comes for the socket, from its header on.
    const FLAGS_AT: u32 = 13;
    const SYN_AND_ACK: u32 = 0x12;
    const SYN: u32 = 0x02;
    const ALL: u32 = u32::MAX;
    let (load_byte, and, jump_if_equal, pass) = (0x30, 0x54, 0x15, 0x06);
    let filter = [
        SockFilter::new(load_byte, 0, 0, FLAGS_AT),
        SockFilter::new(and, 0, 0, SYN_AND_ACK),
        SockFilter::new(jump_if_equal, 0, 1, SYN),
        SockFilter::new(pass, 0, 0, 0),
        SockFilter::new(pass, 0, 0, ALL),
    ];
    let attached = SockRef::from(listener).attach_filter(&filter);
    if let Err(error) = &attached {
        tracing::debug!(%error, "clients that connect while this listener closes may be reset");
    }
    attached.is_ok()
}

#[cfg(not(target_os = "linux"))]
fn refuse_beginnings(_: &TcpListener) -> bool {
    false
}

fn nonblocking(stream: std::net::TcpStream) -> io::Result<Box<dyn Stream>> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(Box::new(TcpStream::from_std(stream)?))
}
