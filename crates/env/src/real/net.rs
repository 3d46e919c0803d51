//! TCP through tokio, without Nagle's delay: every frame here is an answer somebody awaits.
#![expect(clippy::disallowed_methods, reason = "this is where Env opens sockets")]

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
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

    fn close(self: Box<Self>) -> Vec<(Box<dyn Stream>, SocketAddr)> {
        let Ok(listener) = self.listener.into_std() else { return Vec::new() };
        let mut waiting = Vec::new();
        // It does not block. Its last look comes right before its end: who connects between the two is reset.
        while let Ok(connection) = listener.accept() {
            waiting.push(connection);
        }
        drop(listener);
        waiting.into_iter().filter_map(|(stream, peer)| Some((nonblocking(stream).ok()?, peer))).collect()
    }
}

fn nonblocking(stream: std::net::TcpStream) -> io::Result<Box<dyn Stream>> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(Box::new(TcpStream::from_std(stream)?))
}
