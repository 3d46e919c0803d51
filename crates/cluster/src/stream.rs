//! A stream that remembers when bytes last went through, each way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kelpie_env::{Env, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// When bytes last went through, on the node's monotonic clock.
#[derive(Debug)]
pub(crate) struct Progress {
    env: Env,
    read_us: AtomicU64,
    written_us: AtomicU64,
    /// Something came after what was written last.
    heard: AtomicBool,
}

/// One way of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

impl Progress {
    pub(crate) fn new(env: Env) -> Arc<Self> {
        let progress = Self {
            env,
            read_us: AtomicU64::default(),
            written_us: AtomicU64::default(),
            heard: AtomicBool::default(),
        };
        progress.note(Way::Read);
        progress.note(Way::Write);
        Arc::new(progress)
    }

    fn at(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Read => &self.read_us,
            Way::Write => &self.written_us,
        }
    }

    /// How long nothing has come.
    pub(crate) fn unheard_for(&self) -> Duration {
        self.env.now().saturating_sub(Duration::from_micros(self.read_us.load(Ordering::Relaxed)))
    }

    /// Whether something has come since something was written last.
    pub(crate) fn heard_since_written(&self) -> bool {
        self.heard.load(Ordering::Relaxed) || kelpie_core::mutant!("pings_into_the_void")
    }

    fn note(&self, way: Way) {
        let now = u64::try_from(self.env.now().as_micros()).unwrap_or(u64::MAX);
        self.at(way).store(now, Ordering::Relaxed);
        self.heard.store(way == Way::Read, Ordering::Relaxed);
    }

    /// Does `work` for as long as bytes go through that way at least once in `silent_max`.
    /// Nothing, if they do not.
    pub(crate) async fn during<T>(
        &self,
        way: Way,
        silent_max: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let began = self.env.now();
        loop {
            let last = Duration::from_micros(self.at(way).load(Ordering::Relaxed));
            // What has to be written was not there before the work began; what can be read may
            // have been late since the last time.
            let last = if way == Way::Write { last.max(began) } else { last };
            let left = last.saturating_add(silent_max).saturating_sub(self.env.now());
            if left.is_zero() && !kelpie_core::mutant!("silence_is_no_end") {
                return None;
            }
            if let Ok(done) = self.env.timeout(left.max(Duration::from_millis(1)), work.as_mut()).await {
                return Some(done);
            }
        }
    }
}

/// A stream under watch.
pub(crate) struct Watched {
    pub(crate) inner: Box<dyn Stream>,
    pub(crate) progress: Arc<Progress>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.progress.note(Way::Read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.progress.note(Way::Write);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
