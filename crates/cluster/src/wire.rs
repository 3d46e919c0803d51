//! Messages over a stream: those of the handshake, then frames.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use kelpie_env::{Env, Stream};
use tokio::io::AsyncWriteExt;
use tokio_util::codec::Framed;

use crate::codec::Codec;
use crate::frame::{FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use crate::handshake::{self, Ended};
use crate::stream::{Progress, Watched};

/// A stream cut into messages.
pub(crate) struct Wire {
    pub(crate) framed: Framed<Watched, Codec>,
}

/// Why a handshake came to nothing.
pub(crate) enum Problem {
    Refused(Ended),
    Broken(String),
}

impl From<Ended> for Problem {
    fn from(ended: Ended) -> Self {
        Self::Refused(ended)
    }
}

impl Wire {
    /// For a handshake, whose messages are small.
    pub(crate) fn new(env: &Env, inner: Box<dyn Stream>) -> Self {
        let progress = Progress::new(env.clone());
        Self { framed: Framed::new(Watched { inner, progress }, Codec::new(HANDSHAKE_BYTES_MAX)) }
    }

    /// From now on frames go through.
    pub(crate) fn shaken(mut self) -> Self {
        self.framed.codec_mut().allow(FRAME_BYTES_MAX);
        self
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Result<Bytes, Problem> {
        match self.framed.next().await {
            Some(Ok(bytes)) => Ok(bytes.freeze()),
            Some(Err(error)) => Err(Problem::Broken(error.to_string())),
            None => Err(Problem::Broken("the peer has closed the connection".to_owned())),
        }
    }

    /// Sends a message. A peer that has closed may have said why before.
    pub(crate) async fn say(&mut self, bytes: Bytes) -> Result<(), Problem> {
        let Err(error) = self.framed.send(bytes).await else { return Ok(()) };
        let refused = match self.hear().await {
            Ok(bytes) => handshake::refusal(&bytes),
            Err(_) => None,
        };
        Err(match refused {
            Some(why) => Problem::Refused(Ended::ByPeer(why)),
            None => Problem::Broken(error.to_string()),
        })
    }

    /// Tells the peer why it is refused, and closes. Who has gone does not learn it.
    pub(crate) async fn refuse(mut self, why: &handshake::Refusal) {
        if self.framed.send(handshake::refused(why)).await.is_ok()
            && let Err(error) = self.framed.get_mut().shutdown().await
        {
            tracing::debug!(error = %error, "a refused peer has gone already");
        }
    }
}
