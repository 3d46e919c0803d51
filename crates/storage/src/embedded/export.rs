//! All rows at one version, while commits go on.
//!
//! ```text
//!   checkpoint ─▶ a read transaction of the base ─▶ rows, batch by batch
//!                 (later checkpoints write elsewhere in the file while it is open)
//! ```
//!
//! Nothing is held that a commit waits for. The price is room: what checkpoints replace
//! meanwhile stays in the file until the export ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::inner::Inner;
use super::redb_base::Frozen;
use crate::contract::{Export, ExportError, Outage, RowBatch};
use crate::keys::successor;

/// A fold stops below the oldest open transaction; those live for seconds at most.
const FOLD_PAUSE: Duration = Duration::from_millis(50);

impl Inner {
    pub(super) async fn export(self: Arc<Self>) -> Result<Export, ExportError> {
        let acknowledged = self.engine.readers.published();
        loop {
            let inner = self.clone();
            let folded = self.env.blocking(move || inner.checkpoint()).await;
            folded.map_err(ExportError::Unavailable)?;
            if self.engine.memtable.base() >= acknowledged {
                break;
            }
            self.env.sleep(FOLD_PAUSE).await;
        }
        let inner = self.clone();
        let frozen = self.env.blocking(move || inner.base.freeze()).await;
        let frozen = Arc::new(frozen.map_err(ExportError::Unavailable)?);
        let version = frozen.position;
        let batches = stream::try_unfold((self, frozen, Bytes::new()), |(inner, frozen, from)| async move {
            let Some((rows, next)) = page(&inner, &frozen, from).await.map_err(ExportError::Unavailable)?
            else {
                return Ok(None);
            };
            Ok(Some((rows, (inner, frozen, next))))
        });
        Ok(Export { version, batches: batches.boxed() })
    }
}

async fn page(
    inner: &Arc<Inner>,
    frozen: &Arc<Frozen>,
    from: Bytes,
) -> Result<Option<(RowBatch, Bytes)>, Outage> {
    let (reader, frozen) = (inner.clone(), frozen.clone());
    let rows = inner.env.blocking(move || reader.base.read_frozen(&frozen, &from)).await?.rows;
    let next = rows.last().map(|(key, _)| successor(key));
    Ok(next.map(|next| (rows.into_iter().collect(), next)))
}
