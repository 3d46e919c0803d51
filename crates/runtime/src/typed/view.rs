//! What handlers that read work with.

use std::sync::Arc;

use kelpie_core::id::ActorId;

use super::kv::KvView;
use super::turn::{Given, given};
use crate::actor::TurnError;

/// A read turn: the last committed state, and no way to change it.
pub struct View {
    view: crate::View,
    given: Arc<Given>,
}

impl View {
    pub(super) fn new(view: crate::View, given: Arc<Given>) -> Self {
        Self { view, given }
    }

    /// Whose state it is.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<String> {
    ///     Ok(view.actor().to_string())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").look().await?.contains("corner"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn actor(&self) -> &ActorId {
        self.view.actor()
    }

    /// The actor's key.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<String> {
    ///     Ok(view.key().to_owned())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").look().await?, "corner");
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(&self) -> &str {
        self.actor().key()
    }

    /// Wall time in milliseconds when the read began.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<u64> {
    ///     Ok(view.now_ms())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").look().await? > 1_600_000_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn now_ms(&self) -> u64 {
        self.view.now_ms()
    }

    /// What the node was given of this type (`with`).
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<String> {
    ///     Ok(view.given::<String>()?.to_uppercase())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().with("welcome".to_owned()).start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").look().await?, "WELCOME");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It was given none.
    pub fn given<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, TurnError> {
        given(&self.given)
    }

    /// Values beside the state.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<Option<u64>> {
    ///     Ok(view.kv().get("kites").await?)
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert_eq!(cluster.actor::<Shop>("corner").look().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn kv(&self) -> KvView<'_> {
        KvView { view: &self.view }
    }

    /// The untyped view underneath.
    ///
    /// ```
    /// # use kelpie::{Result, View, actor, handlers};
    /// # use serde::{Deserialize, Serialize};
    /// # #[actor(name = "shop", version = 1)]
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # pub struct Shop { sold: u64 }
    /// # #[handlers]
    /// # impl Shop {
    /// pub async fn look(&self, view: &View) -> Result<bool> {
    ///     Ok(view.untyped().reminders().await?.is_empty())
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = kelpie::open("memory:").actor::<Shop>().start().await?;
    /// assert!(cluster.actor::<Shop>("corner").look().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn untyped(&self) -> &crate::View {
        &self.view
    }
}
