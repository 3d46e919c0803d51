//! Random operations of several open transactions, beside a model of a hundred lines.
//!
//! Whatever the store answers the model must have said; a sequence that fails is shrunk to a
//! short one before it is told.

mod rules;

use bytes::Bytes;
use kelpie_env::Env;
use kelpie_storage::keys::end_of_keys;
use kelpie_storage::{AtomicOp, CommitError, KeyRange, RangeQuery, ReadError, Store, Transaction, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::shorthand::{found, gave_way};
use super::world::{World, is_full};
use rules::{Model, Slot, Write};

/// Transactions that are open at the same time.
const SLOTS: usize = 3;
/// Tries to find a shorter sequence.
const SHRINKS_MAX: usize = 2000;

#[derive(Debug, Clone)]
enum Step {
    Within(Act),
    Commit,
    Drop,
    Reopen,
}

/// A step of an open transaction.
#[derive(Debug, Clone)]
enum Act {
    Get { key: Bytes, snapshot: bool },
    GetMany(Vec<Bytes>),
    Range(RangeQuery),
    Write(Write),
    Stamp(Bytes),
    ReadConflict(KeyRange),
    WriteConflict(KeyRange),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (0..10u8).prop_map(|n| Bytes::from(vec![b'm', n])),
        1 => Just(Bytes::new()),
        1 => (0..3u8).prop_map(|n| Bytes::from(vec![b'm', 4, n])),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..5).prop_map(Bytes::from),
        // Large, so that a few of them are folded below the recent ones.
        1 => (any::<u8>(), 2000usize..4000).prop_map(|(byte, len)| vec![byte; len].into()),
    ]
}

/// Also empty and inverted ones.
fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        5 => (key(), key()).prop_map(|(a, b)| KeyRange::new(a.clone().min(b.clone()), a.max(b))),
        1 => (key(), key()).prop_map(|(a, b)| KeyRange::new(a, b)),
        1 => Just(KeyRange::new(Bytes::new(), end_of_keys())),
    ]
}

fn op() -> impl Strategy<Value = AtomicOp> {
    use AtomicOp::{Add, And, ByteMax, ByteMin, Max, Min, Or, Xor};
    proptest::sample::select(vec![Add, And, Or, Xor, Max, Min, ByteMax, ByteMin])
}

fn query() -> impl Strategy<Value = RangeQuery> {
    (range(), prop_oneof![1usize..4, Just(100)], any::<bool>(), any::<bool>()).prop_map(
        |(KeyRange { begin, end }, limit, reverse, snapshot)| RangeQuery {
            begin,
            end,
            limit,
            reverse,
            snapshot,
        },
    )
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Write::Set(key, value)),
        2 => key().prop_map(Write::Clear),
        1 => range().prop_map(Write::ClearRange),
        3 => (op(), key(), vec(any::<u8>(), 0..5))
            .prop_map(|(op, key, operand)| Write::Atomic(op, key, operand.into())),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|(key, snapshot)| Act::Get { key, snapshot }),
        1 => vec(key(), 0..4).prop_map(Act::GetMany),
        4 => query().prop_map(Act::Range),
        9 => write().prop_map(Act::Write),
        1 => value().prop_map(Act::Stamp),
        1 => range().prop_map(Act::ReadConflict),
        1 => range().prop_map(Act::WriteConflict),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => act().prop_map(Step::Within),
        5 => Just(Step::Commit),
        1 => Just(Step::Drop),
        1 => Just(Step::Reopen),
    ]
}

pub(crate) async fn random_operations_do_what_the_model_does(world: &World) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&world.env.random_u64().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = vec((0..SLOTS, step()), 1..100);
    let mut store = Some(world.open().await);
    for _ in 0..world.times(40, 30) * if is_full() { 4 } else { 1 } {
        let mut tree = steps.new_tree(&mut runner).unwrap();
        let Err(mut why) = play(world, &mut store, tree.current()).await else { continue };
        let mut shortest = tree.current();
        let mut simpler = tree.simplify();
        for _ in 0..SHRINKS_MAX {
            if !simpler {
                break;
            }
            simpler = match play(world, &mut store, tree.current()).await {
                Err(other) => {
                    (why, shortest) = (other, tree.current());
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        let told: Vec<_> = shortest.iter().map(|(slot, step)| format!("{slot}: {step:?}")).collect();
        panic!("{why}, after\n{}", told.join("\n"));
    }
}

/// Carries out the steps in the store and in the model.
async fn play(world: &World, store: &mut Option<Store>, steps: Vec<(usize, Step)>) -> Result<(), String> {
    let mut tx = store.as_ref().expect("open").begin();
    tx.clear_range(Bytes::new(), end_of_keys());
    tx.commit().await.map_err(|error| format!("emptying: {error}"))?;
    let mut player = Player { world, store, open: Default::default(), model: Model::default() };
    for (at, (slot, step)) in steps.into_iter().enumerate() {
        let told = format!("step {at}, {step:?} of {slot}");
        player.step(slot, step).await.map_err(|why| format!("{told}: {why}"))?;
    }
    player.open = Default::default();
    player.compare_all().await
}

struct Player<'a> {
    world: &'a World,
    store: &'a mut Option<Store>,
    open: [Option<(Transaction, Slot)>; SLOTS],
    model: Model,
}

/// Whether the store says what the model says.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, store: T, model: T) -> Result<(), String> {
    if store == model {
        Ok(())
    } else {
        Err(format!("{what}: the store says {store:?}, the model {model:?}"))
    }
}

impl Player<'_> {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between steps")
    }

    async fn step(&mut self, slot: usize, step: Step) -> Result<(), String> {
        match step {
            Step::Commit => {
                let Some((tx, slot)) = self.open[slot].take() else { return Ok(()) };
                return self.commit(tx, slot).await;
            }
            Step::Drop => self.open[slot] = None,
            Step::Reopen => {
                self.open = Default::default();
                let store = self.store.take().expect("open between steps");
                *self.store = Some(self.world.reopen(store).await);
                return self.compare_all().await;
            }
            Step::Within(act) => {
                let begin = || (self.store.as_ref().expect("open").begin(), Slot::default());
                let (tx, mine) = self.open[slot].get_or_insert_with(begin);
                match act_of(tx, mine, &self.model, act).await {
                    Ok(()) => {}
                    Err(Other::Says(why)) => return Err(why),
                    Err(Other::Reads(error)) => {
                        let lost = gave_way(&error) && !self.world.target.conflicts_exactly();
                        lost.then(|| self.open[slot] = None).ok_or_else(|| format!("{error:?}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn commit(&mut self, tx: Transaction, slot: Slot) -> Result<(), String> {
        let refused = slot.conflict(&self.model);
        let stamped = slot.stamped.clone();
        match tx.commit().await {
            Ok(committed) => {
                if refused.must && self.world.target.conflicts_exactly() {
                    return Err("it committed although what it has read was written".to_owned());
                }
                self.model.commit(slot);
                if !self.world.target.conflicts_exactly() {
                    // It may order those that overlapped this commit before it or after it.
                    self.open = Default::default();
                }
                self.adopt_stamped(&stamped, committed.version).await
            }
            Err(CommitError::Conflict) if refused.may || !self.world.target.conflicts_exactly() => Ok(()),
            Err(error) => Err(format!("it did not commit: {error:?}")),
        }
    }

    /// What was written under versionstamps is there, behind all that was there before.
    async fn adopt_stamped(&mut self, values: &[Bytes], version: Option<Version>) -> Result<(), String> {
        if values.is_empty() {
            return Ok(());
        }
        let rows = found(self.store(), &RangeQuery::prefix(rules::STAMPED)).await;
        let (old, new) = rows.split_at(rows.len().saturating_sub(values.len()));
        let under: Vec<_> = new.iter().map(|(_, value)| value.clone()).collect();
        same("values under stamps", &under[..], values)?;
        let before = self.model.rows.range(Bytes::from_static(rules::STAMPED)..);
        let before: Vec<_> = before.map(|(key, value)| (key.clone(), value.clone())).collect();
        same("rows under earlier stamps", old, &before)?;
        let stamp = version.ok_or("no version for a versionstamp")?.to_be_bytes();
        for (key, value) in new {
            same("the stamp", &key[rules::STAMPED.len()..][..8], &stamp[..])?;
            self.model.adopt(key.clone(), value.clone());
        }
        Ok(())
    }

    async fn compare_all(&self) -> Result<(), String> {
        let all = RangeQuery::new(Bytes::new(), end_of_keys()).limit(7);
        let rows = found(self.store(), &all).await;
        same("all rows", rows, self.model.rows.clone().into_iter().collect())
    }
}

/// Why a step ended otherwise than in the model.
enum Other {
    Says(String),
    Reads(ReadError),
}

impl From<String> for Other {
    fn from(why: String) -> Self {
        Self::Says(why)
    }
}

impl From<ReadError> for Other {
    fn from(error: ReadError) -> Self {
        Self::Reads(error)
    }
}

async fn act_of(tx: &mut Transaction, slot: &mut Slot, model: &Model, act: Act) -> Result<(), Other> {
    match act {
        Act::Get { key, snapshot } => {
            let read = if snapshot { tx.get_snapshot(&key).await } else { tx.get(&key).await };
            same("value", read?, slot.get(model, &key, snapshot))?;
        }
        Act::GetMany(keys) => {
            let read = tx.get_many(&keys).await?;
            slot.fix(model);
            same("values", read, keys.iter().map(|key| slot.get(model, key, false)).collect())?;
        }
        Act::Range(query) => {
            let page = tx.get_range(query.clone()).await?;
            let (rows, rest) = slot.range(model, &query);
            same("rows", page.rows.into_iter().collect(), rows)?;
            if rest && page.more.is_none() {
                return Err("there are more rows, and no way to them".to_owned().into());
            }
        }
        Act::Write(write) => {
            match write.clone() {
                Write::Set(key, value) => tx.set(key, value),
                Write::Clear(key) => tx.clear(key),
                Write::ClearRange(range) => tx.clear_range(range.begin, range.end),
                Write::Atomic(op, key, operand) => tx.atomic(op, key, operand),
            }
            slot.write(write);
        }
        Act::Stamp(value) => {
            // A commit has one stamp: what follows it in the key tells its rows apart.
            let number = u8::try_from(slot.stamped.len()).expect("few");
            let key = [rules::STAMPED, &[0; 10], &[number]].concat();
            tx.set_versionstamped_key(key, rules::STAMPED.len(), value.clone());
            slot.stamped.push(value);
        }
        Act::ReadConflict(range) => {
            tx.add_read_conflict(range.clone());
            slot.read(&range, &range);
        }
        Act::WriteConflict(range) => {
            tx.add_write_conflict(range.clone());
            slot.mark(range);
        }
    }
    Ok(())
}

#[test]
fn a_difference_is_told() {
    let sim = kelpie_env::sim::Sim::new(1);
    let env: Env = sim.node("model").env();
    let mut model = Model::default();
    let mut slot = Slot::default();
    slot.write(Write::Set("a".into(), "1".into()));
    model.commit(slot);
    let store = Store::from_backend(std::sync::Arc::new(kelpie_storage::Memory::new(env.clone())), env);
    let told = sim.block_on(async {
        let (mut tx, mut slot) = (store.begin(), Slot::default());
        act_of(&mut tx, &mut slot, &model, Act::Get { key: "a".into(), snapshot: false }).await
    });
    let Err(Other::Says(why)) = told else { panic!("no difference") };
    assert_eq!(why, "value: the store says None, the model Some(b\"1\")");
}
