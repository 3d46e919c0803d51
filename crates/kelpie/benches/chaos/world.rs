//! What is done to the nodes, one fault in each round, and what it has to come to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use futures::future::join_all;
use kelpie_core::limits::LEASE_TERM;
use rustix::process::Signal;

use crate::NODES;
use crate::database::Database;
use crate::load::{Door, KEYS, Load};
use crate::nodes::Node;
use crate::place::Place;

/// Load before and after each fault.
const CALM: Duration = Duration::from_secs(2);
/// How long a way is cut: more than it takes to declare a node dead and to claim over one.
const CUT: Duration = Duration::from_secs(10);
/// How long a process stands still.
const STANDSTILL: Duration = Duration::from_secs(20);
/// How long after a fault all nodes serve again.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// From SIGKILL until each key has to answer.
const FAIL_OVER_MAX: Duration = LEASE_TERM.saturating_add(Duration::from_secs(1));

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL to the node that owns the most, and its restart
    Kill,
    /// SIGSTOP for 20 s, then SIGCONT
    Zombie,
    /// The way from one node to another is cut, then the way back
    OneWay,
    /// One node is cut from the others, in both directions; all keep the database
    Partition,
    /// One node's way to the database is cut
    StoreCut,
    /// The database is restarted
    DatabaseRestart,
    /// The database is stopped for three lease terms
    DatabaseAway,
    /// One node after the other is ended by SIGTERM and started again
    Rolling,
    /// A node is drained through another one
    Drain,
    /// The wall clock of one node jumps by hours
    Clock,
}

impl Fault {
    /// About how long its round takes.
    pub(crate) fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Kill | Self::DatabaseRestart | Self::Drain => 14,
            Self::Zombie | Self::OneWay | Self::Clock => 32,
            Self::Partition | Self::StoreCut | Self::DatabaseAway | Self::Rolling => 22,
        })
    }

    /// Whether no node that stays may turn a call away meanwhile.
    pub(crate) fn is_planned(self) -> bool {
        matches!(self, Self::Rolling | Self::Drain)
    }
}

/// What a fault has shown, beside what the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// From the fault until each key answered through the other nodes.
    pub(crate) answered: Vec<Duration>,
    /// How long that may take at most, if that is promised.
    pub(crate) answered_max: Option<Duration>,
    /// From the order to the end of each process that was drained.
    pub(crate) drained: Vec<Duration>,
    /// What was not as it has to be.
    pub(crate) problems: Vec<String>,
    /// Why it was not carried out.
    pub(crate) not_run: Option<String>,
}

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
            Fault::Clock => self.clock(facts).await,
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
            facts.drained.push(self.restart(node).await?);
            tokio::time::sleep(CALM / 2).await;
        }
        Ok(())
    }

    async fn drain(&mut self, load: &Arc<Load>, facts: &mut Facts) -> Result<()> {
        let node = self.busiest(load).await?;
        let begun = Instant::now();
        self.doors[node].leaving.store(true, Ordering::Relaxed);
        self.nodes[(node + 1) % NODES].tell_to_drain(&self.nodes[node].seat.name).await?;
        self.nodes[node].ended().await?;
        facts.drained.push(begun.elapsed());
        self.nodes[node].start().await?;
        self.doors[node].leaving.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn clock(&mut self, facts: &mut Facts) -> Result<()> {
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
        self.restart(node).await?;
        let before = self.lives().await?;
        for shift in ["+5h", "-7h", "+400d", "+0"] {
            std::fs::write(&self.shift, format!("{shift}\n"))?;
            tokio::time::sleep(LEASE_TERM + CALM).await;
        }
        let after = self.lives().await?;
        if before != after {
            facts.problems.push(format!("nodes before the jumps: {before:?}, after them: {after:?}"));
        }
        self.nodes[node].plain();
        self.restart(node).await?;
        Ok(())
    }

    /// SIGTERM, its end and a new process. How long the end took.
    async fn restart(&mut self, node: usize) -> Result<Duration> {
        let begun = Instant::now();
        self.doors[node].leaving.store(true, Ordering::Relaxed);
        self.nodes[node].signal(Signal::TERM)?;
        self.nodes[node].ended().await?;
        let drained = begun.elapsed();
        self.nodes[node].start().await?;
        self.doors[node].leaving.store(false, Ordering::Relaxed);
        Ok(drained)
    }

    /// The node that owns the most counters of this round.
    async fn busiest(&self, load: &Load) -> Result<usize> {
        let owners = self.nodes[0].owners("counter").await?;
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

/// From `begun` until each counter has answered a call that went in through other nodes.
async fn answered(load: &Arc<Load>, past: Option<usize>, begun: Instant) -> Vec<Duration> {
    let calls = (0..KEYS).map(|n| {
        let load = load.clone();
        async move {
            load.add(100 + n, &load.key(n), past).await;
            begun.elapsed()
        }
    });
    join_all(calls).await
}
