//! The names of the library, each with an example of its use. One example stands for names that
//! are used together.

/// ```
/// use kelpie::{ActorId, Bytes, untyped::Call};
///
/// let call = Call::new(ActorId::new("default", "note", "a")?, "write", Bytes::from_static(b"milk"));
/// assert_eq!(call.payload().as_ref(), b"milk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub use bytes::Bytes;
pub use kelpie_macros::{actor, handlers};

/// ```
/// use kelpie::{ActorId, Advice, Caller, Error, Reason};
///
/// let ann = ActorId::new("default", "account", "ann")?;
/// assert_eq!((ann.tenant(), ann.actor_type(), ann.key()), ("default", "account", "ann"));
/// let caller = Caller::Actor(ann);
/// assert!(matches!(caller, Caller::Actor(_)));
///
/// let reason = Reason { code: "call.mailbox_full".to_owned(), message: "try again later".to_owned() };
/// assert_eq!(Error::<kelpie::Refusal>::NotRun(reason).advice(), Advice::NotRun);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub use kelpie_core::{advice::Advice, call::Caller, id::ActorId};

/// ```
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Time and chance for outside work: in a simulation they are the simulation's.
/// let cluster = kelpie::open("memory:").start().await?;
/// let env: &kelpie::Env = cluster.runtime().env();
/// env.sleep(Duration::from_millis(1)).await;
/// assert_ne!(env.random_u128(), env.random_u128());
/// # Ok(())
/// # }
/// ```
pub use kelpie_env::Env;

/// ```
/// use kelpie::{Kv, KvView, Result, Turn, TurnError, View, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "diary", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Diary {
///     pages: u64,
/// }
///
/// fn write(mut kv: Kv<'_>, page: u64, text: &str) -> std::result::Result<(), TurnError> {
///     kv.set(&format!("page/{page:04}"), &text)
/// }
///
/// async fn all(kv: KvView<'_>) -> std::result::Result<Vec<(String, String)>, TurnError> {
///     kv.scan("page/", 100).await
/// }
///
/// #[handlers]
/// impl Diary {
///     // A turn changes the state and the values beside it, all in one commit.
///     pub async fn add(&mut self, cx: &mut Turn, text: String) -> Result<u64> {
///         self.pages += 1;
///         write(cx.kv(), self.pages, &text)?;
///         Ok(self.pages)
///     }
///
///     // A view reads the last committed ones.
///     pub async fn read(&self, view: &View) -> Result<Vec<(String, String)>> {
///         Ok(all(view.kv()).await?)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Diary>().start().await?;
/// let diary = cluster.actor::<Diary>("ann");
/// diary.add("rain".to_owned()).await?;
/// assert_eq!(diary.read().await?, [("page/0001".to_owned(), "rain".to_owned())]);
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{
    TurnError,
    typed::{Kv, KvView, Turn, View},
};

/// ```
/// use kelpie::{AppError, Error, Reason, Refusal, Result, Stop, Turn, actor, handlers, refuse};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "gate", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Gate {}
///
/// #[handlers]
/// impl Gate {
///     pub async fn pass(&mut self, _: &mut Turn, name: String) -> Result<String> {
///         check(&name)?;
///         Ok(format!("welcome, {name}"))
///     }
/// }
///
/// // A refusal is an answer: it is recorded under the call's key. `?` passes a `Stop` on.
/// fn check(name: &str) -> std::result::Result<(), Stop> {
///     if name.is_empty() { Err(refuse("gate.nameless", "say who you are")) } else { Ok(()) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Gate>().start().await?;
/// match cluster.actor::<Gate>("north").pass(String::new()).await {
///     Err(Error::App(refused @ Refusal { .. })) => assert_eq!(refused.code(), "gate.nameless"),
///     Err(Error::NotRun(Reason { code, .. })) => println!("{code}: nothing happened, ask again"),
///     Err(Error::Unknown(_)) => println!("ask again with the same key"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::typed::{AppError, Error, Reason, Refusal, Result, Stop, refuse};

/// ```
/// use std::time::Duration;
///
/// use futures::future::BoxFuture;
/// use kelpie::untyped::Call;
/// use kelpie::{AppAnswer, Bytes, Changes, Cluster, Error, Invocation, Reads, Result, Turn, Via, View, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "lamp", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Lamp {
///     on: bool,
/// }
///
/// #[handlers]
/// impl Lamp {
///     pub async fn switch(&mut self, _: &mut Turn) -> Result<bool> {
///         self.on = !self.on;
///         Ok(self.on)
///     }
///     pub async fn is_on(&self, _: &View) -> Result<bool> {
///         Ok(self.on)
///     }
/// }
///
/// /// A way to actors that says where it goes. Clients of it are `kelpie::Handlers::client`s.
/// #[derive(Clone)]
/// struct Told(Cluster);
///
/// impl Via for Told {
///     fn invoke(&self, call: Call) -> BoxFuture<'static, std::result::Result<Bytes, Error<AppAnswer>>> {
///         println!("{} of {}", call.operation(), call.actor());
///         self.0.invoke(call)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Lamp>().start().await?;
/// let lamp = cluster.actor::<Lamp>("desk");
/// // A call is a value: nothing happens before it is awaited.
/// let switch: Invocation<Cluster, bool, kelpie::Refusal, Changes> = lamp.switch();
/// assert!(switch.idempotent("evening").deadline(Duration::from_secs(2)).await?);
/// let look: Invocation<Cluster, bool, kelpie::Refusal, Reads> = lamp.is_on();
/// assert!(look.stale_ok().await?);
/// let call = Call::new(kelpie::ActorId::new("default", "lamp", "desk")?, "is_on", "");
/// assert_eq!(Told(cluster).invoke(call).await?, "true");
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::typed::{AppAnswer, Changes, Invocation, Reads, Via};

/// ```
/// use std::time::Duration;
///
/// use kelpie::{Failed, Result, Schedule, StepError, StepKey, Turn, View, actor, handlers, me, to};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "courier", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Courier {
///     delivered: u32,
/// }
///
/// #[handlers]
/// impl Courier {
///     pub async fn carry(&mut self, cx: &mut Turn, parcels: usize) -> Result<()> {
///         for parcel in 0..parcels {
///             // Outside work that is recorded once. What fails is not recorded.
///             let step: StepKey = ("ring", parcel).into();
///             let rung = cx.step(step, || async { if parcel < 9 { Ok(()) } else { Err(Failed::new("no bell")) } });
///             match rung.await {
///                 Ok(()) => {}
///                 Err(StepError::Failed { step, message }) => println!("{step}: {message}"),
///                 Err(error) => return Err(error.into()),
///             }
///         }
///         cx.send(to::<Self>("night shift").count())?; // to another actor, with this commit
///         cx.remind("later", Schedule::After(Duration::from_millis(5)), me::<Self>().count()).await?; // to itself
///         Ok(())
///     }
///
///     pub async fn count(&mut self, _: &mut Turn) -> Result<()> {
///         self.delivered += 1;
///         Ok(())
///     }
///
///     pub async fn delivered(&self, _: &View) -> Result<u32> {
///         Ok(self.delivered)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Courier>().start().await?;
/// cluster.actor::<Courier>("day shift").carry(2).await?;
/// for shift in ["day shift", "night shift"] {
///     while cluster.actor::<Courier>(shift).delivered().await? == 0 {
///         cluster.runtime().env().sleep(Duration::from_millis(1)).await;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{
    StepKey,
    typed::{Detached, Failed, Me, StepError, me, to},
};

/// ```
/// use std::time::Duration;
///
/// use kelpie::{Firing, Reminder, Repeat, Result, Schedule, ScheduleError, Turn, actor, handlers, me};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "clock", version = 1)]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Clock {}
///
/// #[handlers]
/// impl Clock {
///     pub async fn wind(&mut self, cx: &mut Turn) -> Result<u64> {
///         let first_ms = cx.remind("tick", Schedule::Every(Duration::from_secs(60)), me::<Self>().tick()).await?;
///         let set: Option<Reminder> = cx.reminder("tick").await?;
///         assert_eq!(set.map(|tick| tick.repeat), Some(Repeat::Every { period_ms: 60_000 }));
///         Ok(first_ms - cx.now_ms())
///     }
///
///     pub async fn tick(&mut self, cx: &mut Turn) -> Result<()> {
///         let firing: Option<&Firing> = cx.firing();
///         println!("{:?}", firing.map(|firing| firing.occurrence));
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").actor::<Clock>().start().await?;
/// assert_eq!(cluster.actor::<Clock>("tower").wind().await?, 60_000);
/// let too_often = Schedule::Every(Duration::from_millis(1)).begin(0);
/// assert!(matches!(too_often, Err(ScheduleError::TooOften { .. })));
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{Firing, Reminder, Repeat, Schedule, ScheduleError};

/// ```
/// use kelpie::{Behaviours, Handlers, Result, State, Turn, actor, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[actor(name = "lock", version = 3, upgrades(1 => from_v1, 2 => from_v1))]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Lock {
///     closed: bool,
/// }
///
/// fn from_v1(closed: bool) -> Lock {
///     Lock { closed }
/// }
///
/// #[handlers]
/// impl Lock {
///     pub async fn close(&mut self, _: &mut Turn) -> Result<()> {
///         self.closed = true;
///         Ok(())
///     }
/// }
///
/// // What the attributes have written.
/// fn described<A: State + Handlers>() -> (&'static str, u32, usize) {
///     (A::TYPE, A::VERSION, A::READS.len())
/// }
/// assert_eq!(described::<Lock>(), ("lock", 3, 0));
/// // Types as a set, as a simulation takes them.
/// assert_eq!(Behaviours::new().actor::<Lock>().with("given").untyped().len(), 1);
/// ```
pub use kelpie_runtime::typed::{Behaviours, Handlers, State};

/// ```
/// use kelpie::{Cluster, Misfit, Result, State, Stored, Target, View, handlers};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Sign {
///     text: String,
/// }
///
/// // What `#[actor(name = "sign", version = 2, upgrades(1 => from_v1))]` writes.
/// impl State for Sign {
///     const TYPE: &'static str = "sign";
///     const VERSION: u32 = 2;
///
///     fn upgrade(stored: Stored<'_>) -> std::result::Result<Self, Misfit> {
///         match stored.version() {
///             1 => stored.with(|text: String| Sign { text }),
///             _ => Err(stored.no_upgrade()),
///         }
///     }
/// }
///
/// #[handlers]
/// impl Sign {
///     pub async fn text(&self, _: &View) -> Result<String> {
///         Ok(self.text.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let cluster: Cluster = kelpie::open("memory:").actor::<Sign>().start().await?;
/// // One actor and the way to it, as a client holds it.
/// let door = <Sign as kelpie::Handlers>::client(Target::new::<Sign>(cluster, "default", "door"));
/// assert_eq!(door.text().await?, "");
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::typed::{Misfit, Stored, Target};

/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
///
/// use kelpie::{ActorId, CallLimits, Cancelled, InspectedTurn, Inspection, Rate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ten = NonZeroU32::new(10).ok_or("not zero")?;
/// let limits = CallLimits { caller_rate: Some(Rate { per_second: ten, burst: ten }), ..CallLimits::default() };
/// let cluster = kelpie::open("memory:").call_limits(limits).start().await?;
/// let actor = ActorId::new("default", "anything", "a")?;
/// let seen: Inspection = cluster.runtime().inspect(&actor).await?;
/// assert_eq!((seen.owner, seen.turns), (None, None)); // it was never called
/// let running: Option<InspectedTurn> = seen.unfinished.map(|(turn, _steps)| turn);
/// if let Some(turn) = running {
///     let ended = cluster.runtime().cancel(&actor, turn.turn, Duration::from_secs(5)).await?;
///     assert_eq!(ended, Cancelled::Stopped);
/// }
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{CallLimits, Cancelled, InspectedTurn, Inspection, Rate};

/// ```
/// use kelpie::{
///     ActorId, DeadLetter, History, Kept, KeptInbox, KeptMessage, KeptRecord, KeptReply, KeptTurn,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = kelpie::open("memory:").start().await?;
/// let history = cluster.runtime().history(&ActorId::new("default", "anything", "a")?, 10).await?;
/// let History { records, replies, running, messages, dead_letters, inbox, .. } = history;
/// // Of an actor that was never called nothing is kept.
/// fn nothing<T>(kept: &Kept<T>) -> bool {
///     kept.first.is_empty() && !kept.more
/// }
/// assert!(nothing::<KeptRecord>(&records) && nothing::<KeptReply>(&replies));
/// assert!(nothing::<KeptMessage>(&messages) && nothing::<DeadLetter>(&dead_letters));
/// assert!(nothing::<KeptInbox>(&inbox) && running == None::<KeptTurn>);
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{
    DeadLetter, History, Kept, KeptInbox, KeptMessage, KeptRecord, KeptReply, KeptTurn,
};

/// ```
/// use kelpie::{Boot, CallKey, Entry, Epoch, Incarnation, Mover, NodeId, OutboxPosition, Own, Seq, TurnId, Unmet, Why};
///
/// // What an inspection and a history say of an actor, as a person would be told.
/// fn owner(own: &Own) -> String {
///     let Own { node, incarnation: Incarnation(life), boot: Boot(process), epoch: Epoch(epoch) } = own;
///     format!("{node} in its life {life}, process {process:x}, has it as its owner number {epoch}")
/// }
/// fn placed(Entry { why, .. }: &Entry) -> String {
///     match why {
///         Why::Chosen { unmet: Unmet { near: Some(near), .. }, .. } => format!("{near} had no room beside it"),
///         Why::Migrated { by: Mover::Operator, from } => format!("somebody has moved it from {from}"),
///         why => why.to_string(),
///     }
/// }
/// fn sent(position: OutboxPosition) -> String {
///     let OutboxPosition { seq: Seq(commit), index, .. } = position;
///     format!("message {index} of commit {commit}")
/// }
///
/// let (node, epoch) = (NodeId::new("shop-1")?, Epoch(3));
/// let own = Own { node: node.clone(), incarnation: Incarnation(1), boot: Boot(7), epoch };
/// assert_eq!(owner(&own), "shop-1 in its life 1, process 7, has it as its owner number 3");
/// let why = Why::Migrated { from: node, by: Mover::Operator };
/// assert_eq!(placed(&Entry { epoch, why }), "somebody has moved it from shop-1");
/// assert_eq!(sent(OutboxPosition { epoch, seq: Seq(9), index: 0 }), "message 0 of commit 9");
/// // Of a call there is a key, and a turn that it runs as on whichever node.
/// let actor = kelpie::ActorId::new("default", "note", "a")?;
/// let turn: TurnId = CallKey([7; 16]).turn(&actor);
/// assert_eq!(turn, CallKey([7; 16]).turn(&actor));
/// # Ok::<(), kelpie::NameError>(())
/// ```
pub use kelpie_core::{
    call::{CallKey, OutboxPosition, TurnId},
    id::{Boot, Epoch, Incarnation, NameError, NodeId, Seq},
    ownership::{Entry, Mover, Own, Unmet, Why},
};

/// ```
/// use kelpie::{CloseError, NotClosed, RegistryError};
///
/// // Whether it is worth the while to try once more.
/// fn is_over(error: &NotClosed) -> bool {
///     match error {
///         NotClosed::CutOff { .. } | NotClosed::NotLeft(RegistryError::Silent { .. }) => false,
///         NotClosed::NotLeft(_) | NotClosed::Store(CloseError(_)) => true,
///     }
/// }
/// assert!(is_over(&NotClosed::NotLeft(RegistryError::Generation)));
/// assert!(!is_over(&NotClosed::CutOff { calls: 1 }));
/// ```
pub use kelpie_runtime::RegistryError;
/// ```
/// use kelpie::{CloseError, NotClosed, NotStarted, StoreUrlError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let started = kelpie::open("embedded:").start().await;
/// assert!(matches!(started.err(), Some(NotStarted::Url(StoreUrlError::NoDirectory))));
/// // The other end; what was acknowledged is in the store all the same.
/// fn said(error: CloseError) -> String {
///     NotClosed::from(error).to_string()
/// }
/// # let _ = said;
/// # }
/// ```
pub use kelpie_storage::{CloseError, StoreUrlError};

/// ```
/// use kelpie::{ActorId, Strategy, TraceContext, untyped::Call};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A request of somebody else's, which a call is part of.
/// let context: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// let note = ActorId::new("default", "note", "a")?;
/// let call = Call::new(note.clone(), "write", "milk").trace(context);
/// assert_eq!(call.actor(), &note);
///
/// // How nodes of a cluster are chosen.
/// assert_eq!("round_robin".parse(), Ok(Strategy::RoundRobin));
/// # Ok(())
/// # }
/// ```
pub use kelpie_core::{placement::Strategy, trace::TraceContext};

/// ```
/// use std::time::Duration;
///
/// use kelpie::{ActorId, MigrateError, Moved};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // An actor's way to another node; this one has no others.
/// let (note, other) = (ActorId::new("default", "note", "a")?, "n2".to_owned().try_into()?);
/// let kelpie = kelpie::open("memory:").start().await?;
/// let moved: Result<Moved, MigrateError> =
///     kelpie.runtime().migrate(&note, &other, Duration::from_secs(5)).await;
/// assert_eq!(moved, Err(MigrateError::Alone));
/// # Ok(())
/// # }
/// ```
pub use kelpie_runtime::{MigrateError, Moved};
