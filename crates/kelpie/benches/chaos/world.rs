//! All that runs, and what is done to it: one fault in each round.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join, join_all};
use kelpie_core::limits::LEASE_TERM;
use rustix::process::Signal;

use crate::NODES;
use crate::database::Database;
use crate::fault::Fault;
use crate::load::{Door, KEYS, Load};
use crate::nodes::Node;
use crate::place::Place;
use crate::round::Facts;

/// Load before and after each fault.
const CALM: Duration = Duration::from_secs(2);
/// How long a way is cut: more than it takes to declare a node dead and to claim over one.
const CUT: Duration = Duration::from_secs(10);
/// How long a process stands still.
const STANDSTILL: Duration = Duration::from_secs(20);
/// How long after a fault all nodes serve again.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// By how many hours a wall clock is wrong, one after the other.
const SHIFTS: [i64; 4] = [5, -7, 400 * 24, 0];
/// By how much what an actor read may differ from that.
const SHIFT_TOLERANCE: Duration = Duration::from_secs(5);
/// From SIGKILL until each key has to answer.
const FAIL_OVER_MAX: Duration = LEASE_TERM.saturating_add(Duration::from_secs(1));

/// All that runs. Nodes end before the database, and their networks go last.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) doors: Arc<Vec<Door>>,
    pub(crate) database: Database,
    pub(crate) place: Place,
    /// The library that shifts wall clocks, if there is one.
    pub(crate) faketime: Option<PathBuf>,
    /// Where it reads by how much.
    pub(crate) shift: PathBuf,
}

impl World {
    /// Carries a fault out while clients call.
    pub(crate) async fn suffer(&mut self, fault: Fault, load: &Arc<Load>) -> Result<Facts> {
        tokio::time::sleep(CALM).await;
        let mut facts = Facts::default();
        self.carry_out(fault, load, &mut facts).await?;
        if let Err(error) = self.settled().await {
            facts.problems.push(format!("{error:#}"));
        }
        tokio::time::sleep(CALM).await;
        Ok(facts)
    }

    async fn carry_out(&mut self, fault: Fault, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        match fault {
            Fault::Kill => self.kill(load, facts).await,
            Fault::Zombie => self.zombie(load, facts).await,
            Fault::OneWay => self.one_way(load).await,
            Fault::Partition | Fault::StoreCut => self.cut_for_a_while(fault, load, facts).await,
            Fault::DatabaseRestart => {
                self.database.stop().await?;
                self.database.resume().await?;
                facts.answered = answered(load, None, Instant::now()).await;
                Ok(())
            }
            Fault::DatabaseAway => self.database_away(load, facts).await,
            Fault::Rolling => self.rolling(facts).await,
            Fault::Drain => self.drain(load, facts).await,
            Fault::Clock => self.clock(load, facts).await,
        }
    }

    async fn kill(&mut self, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let node = self.busiest(load).await?;
        let begun = Instant::now();
        self.nodes[node].kill().await?;
        facts.answered = answered(load, Some(node), begun).await;
        facts.answered_max = Some(FAIL_OVER_MAX);
        tokio::time::sleep(CALM).await;
        self.nodes[node].start().await
    }

    async fn zombie(&mut self, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let node = self.busiest(load).await?;
        let begun = Instant::now();
        self.nodes[node].signal(Signal::STOP)?;
        facts.answered = answered(load, Some(node), begun).await;
        tokio::time::sleep(STANDSTILL.saturating_sub(begun.elapsed())).await;
        self.nodes[node].signal(Signal::CONT)
    }

    async fn one_way(&mut self, load: &Arc<Load>) -> Result<()> {
        let node = self.busiest(load).await?;
        let other = (node + 1) % NODES;
        for (from, to) in [(other, node), (node, other)] {
            self.place.cut(from, to)?;
            tokio::time::sleep(CUT).await;
            self.place.heal()?;
            tokio::time::sleep(CALM).await;
        }
        Ok(())
    }

    async fn cut_for_a_while(&self, fault: Fault, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let node = self.busiest(load).await?;
        let begun = Instant::now();
        if fault == Fault::StoreCut { self.place.cut_database(node) } else { self.place.isolate(node) }?;
        facts.answered = answered(load, Some(node), begun).await;
        tokio::time::sleep(CUT.saturating_sub(begun.elapsed())).await;
        self.place.heal()
    }

    async fn database_away(&mut self, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let before = self.lives().await?;
        self.database.stop().await?;
        tokio::time::sleep(3 * LEASE_TERM).await;
        self.database.resume().await?;
        facts.answered = answered(load, None, Instant::now()).await;
        // Long enough to declare somebody dead, if anybody is about to.
        tokio::time::sleep(2 * LEASE_TERM).await;
        let after = self.lives().await?;
        if before != after {
            facts.problems.push(format!("nodes before the outage: {before:?}, after it: {after:?}"));
        }
        Ok(())
    }

    async fn rolling(&mut self, facts: &mut Facts) -> Result<()> {
        for node in 0..NODES {
            let drained = self.restart(node, facts).await?;
            facts.drained.push(drained);
            tokio::time::sleep(CALM / 2).await;
        }
        Ok(())
    }

    async fn drain(&mut self, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let node = self.busiest(load).await?;
        let begun = Instant::now();
        self.doors[node].leaving.store(true, Ordering::Relaxed);
        self.nodes[(node + 1) % NODES].tell_to_drain(&self.nodes[node].seat.name).await?;
        self.left(node, facts).await?;
        facts.drained.push(begun.elapsed());
        self.back(node).await
    }

    async fn clock(&mut self, load: &Load, facts: &mut Facts) -> Result<()> {
        let Some(library) = self.faketime.clone() else {
            facts.not_run = Some("libfaketime is not here: apt-get install -y faketime".to_owned());
            return Ok(());
        };
        let node = NODES - 1;
        std::fs::write(&self.shift, "+0\n")?;
        for (name, value) in [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.shift.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            self.nodes[node].var(name, value);
        }
        self.restart(node, facts).await?;
        let key = load.key(0);
        let at = &self.nodes[node];
        at.ask::<u64>("clock", &key, "read").await?;
        at.migrate("clock", &key, &at.seat.name).await?;
        let before = self.lives().await?;
        for hours in SHIFTS {
            std::fs::write(&self.shift, format!("{:+}\n", hours * 3_600))?;
            facts.problems.extend(self.not_shifted(node, &key, hours).await?);
            tokio::time::sleep(LEASE_TERM + CALM).await;
        }
        let after = self.lives().await?;
        if before != after {
            facts.problems.push(format!("nodes before the jumps: {before:?}, after them: {after:?}"));
        }
        self.nodes[node].plain();
        self.restart(node, facts).await?;
        Ok(())
    }

    /// What is wrong with a node's wall clock, unless it is so many hours off ours. An actor on it
    /// says what it shows.
    async fn not_shifted(&self, node: usize, key: &str, hours: i64) -> Result<Option<String>> {
        let at = &self.nodes[node];
        let shown_ms = at.ask::<u64>("clock", key, "read").await?;
        let (owners, name) = (at.owners("clock").await?, &at.seat.name);
        let owner = owners.into_iter().find(|(of, _)| of == key).map(|(_, owner)| owner);
        if owner.as_ref() != Some(name) {
            return Ok(Some(format!("the clock of {name} was not seen: its actor is at {owner:?}")));
        }
        let ours_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let off_ms = i128::from(shown_ms) - i128::try_from(ours_ms)?;
        let asked_ms = i128::from(hours) * 3_600_000;
        let exact = off_ms.abs_diff(asked_ms) <= SHIFT_TOLERANCE.as_millis();
        Ok((!exact).then(|| format!("the clock of {name} is {off_ms} ms off where {asked_ms} ms were asked")))
    }

    /// SIGTERM, its end and a new process. How long the end took.
    async fn restart(&mut self, node: usize, facts: &mut Facts) -> Result<Duration> {
        let begun = Instant::now();
        self.doors[node].leaving.store(true, Ordering::Relaxed);
        self.nodes[node].signal(Signal::TERM)?;
        self.left(node, facts).await?;
        let drained = begun.elapsed();
        self.back(node).await?;
        Ok(drained)
    }

    /// Waits for the end of a node that was told to leave. It says with its exit status whether all
    /// that it had taken was answered.
    async fn left(&mut self, node: usize, facts: &mut Facts) -> Result<()> {
        let status = self.nodes[node].ended().await?;
        if !status.success() {
            facts.problems.push(format!("{} ended with {status}", self.nodes[node].seat.name));
        }
        Ok(())
    }

    /// Starts a node that has left.
    async fn back(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start().await?;
        self.doors[node].leaving.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The node that owns the most actors of this round.
    async fn busiest(&self, load: &Load) -> Result<usize> {
        let mut owners = self.nodes[0].owners("counter").await?;
        owners.extend(self.nodes[0].owners("register").await?);
        let keys = load.keys();
        let owned = |node: &Node| {
            owners.iter().filter(|(key, owner)| keys.contains(key) && *owner == node.seat.name).count()
        };
        (0..NODES).max_by_key(|node| owned(&self.nodes[*node])).context("there are nodes")
    }

    /// State and life of each node.
    async fn lives(&self) -> Result<Vec<(String, String, u64)>> {
        let listed = self.nodes[0].listed().await?;
        Ok(listed.into_iter().map(|node| (node.node, node.state, node.incarnation)).collect())
    }

    /// Waits until all nodes admit calls and all are active.
    async fn settled(&self) -> Result<()> {
        let until = Instant::now() + SETTLED_MAX;
        loop {
            let ready = join_all(self.nodes.iter().map(Node::is_ready)).await.into_iter().all(|ready| ready);
            let lives = if ready { self.lives().await.unwrap_or_default() } else { Vec::new() };
            if lives.len() == NODES && lives.iter().all(|(_, state, _)| state == "active") {
                return Ok(());
            }
            ensure!(Instant::now() < until, "not all nodes serve again: {lives:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// From `begun` until each counter and each register has answered a call that went in through other
/// nodes.
async fn answered(load: &Arc<Load>, past: Option<usize>, begun: Instant) -> Vec<Duration> {
    let counters = (0..KEYS).map(|n| async move {
        load.add(100 + n, &load.key(n), past).await;
        begun.elapsed()
    });
    let registers = (0..KEYS).map(|n| async move {
        load.write(200 + n, &load.key(n), past).await;
        begun.elapsed()
    });
    let (mut counters, registers) = join(join_all(counters), join_all(registers)).await;
    counters.extend(registers);
    counters
}
