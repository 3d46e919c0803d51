//! Which node an actor goes to that nobody has.
//!
//! Loads are what nodes last said about themselves, so they are advice: a node that has no room
//! after all refuses, and another one is asked. Wishes are advice as well: an actor whose wish
//! cannot be had goes where it would go without.

mod balance;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, NodeId};
use crate::membership::{Member, Members};
use crate::ownership::{Unmet, Why};
use crate::session::SessionState;
pub use balance::{Balance, Gift};

/// Loads up to so much more than the least count as equal: they are as old as a beat, and all
/// who place in between would choose the same node.
const SLACK: u64 = 8;
/// Nodes that a reason names at most: it is kept with each actor.
const NAMED_MAX: usize = 8;

/// How a node is chosen among those that are fit and have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// One of those that hold the least.
    #[default]
    LeastLoaded,
    /// Any.
    Random,
    /// One after the other, by name; each node that places has its own turn.
    RoundRobin,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LeastLoaded, Self::Random, Self::RoundRobin];

    /// Its name for programs.
    ///
    /// ```
    /// use kelpie_core::placement::Strategy;
    ///
    /// assert_eq!(Strategy::default().name(), "least_loaded");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastLoaded => "least_loaded",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
        }
    }

    /// What it does, as the reason of a placement.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::LeastLoaded => "among the least loaded",
            Self::Random => "at random",
            Self::RoundRobin => "in turn",
        }
    }
}

/// No strategy has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no placement strategy is named `{name}`: there are least_loaded, random and round_robin")]
pub struct NoSuchStrategy {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Strategy {
    type Err = NoSuchStrategy;

    fn from_str(name: &str) -> Result<Self, NoSuchStrategy> {
        let named = Self::ALL.into_iter().find(|strategy| strategy.name() == name);
        named.ok_or_else(|| NoSuchStrategy { name: name.to_owned() })
    }
}

/// What an actor wants of its node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// With this actor, whose owner this is.
    pub near: Option<(ActorId, NodeId)>,
    /// On a node with this label. It goes before company.
    pub label: Option<String>,
}

/// Where an actor is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which node.
    pub node: NodeId,
    /// Why.
    pub why: Why,
}

/// No node may take the actor: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplaceable {
    /// All are draining or gone.
    #[error("no node is active")]
    NoNode,
    /// All that are active hold as much as they may.
    #[error("all nodes hold as many actors as they may")]
    Full,
}

/// Chooses a node. `full` are nodes that have just refused, or are out of reach; `draw` decides between equals: a
/// random number, or for [`Strategy::RoundRobin`] one more each time.
pub fn place(
    members: &Members,
    strategy: Strategy,
    wish: &Wish,
    full: &BTreeSet<NodeId>,
    draw: u64,
) -> Result<Placement, Unplaceable> {
    let active: Vec<&Member> =
        members.iter().filter(|member| member.session.state == SessionState::Active).collect();
    if active.is_empty() {
        return Err(Unplaceable::NoNode);
    }
    let (mut with_room, mut without): (Vec<&Member>, Vec<&Member>) =
        active.into_iter().partition(|member| !full.contains(&member.node) && has_room(member));
    if with_room.is_empty() {
        // Of those that a node holds some may be idle, and leave for others: only it can say.
        (with_room, without) = without.into_iter().partition(|member| !full.contains(&member.node));
    }
    if with_room.is_empty() {
        return Err(Unplaceable::Full);
    }
    let has = |member: &&Member, label: &String| member.session.labels.contains(label);
    let label = wish.label.clone().filter(|label| with_room.iter().any(|member| has(member, label)));
    let mut unmet = Unmet { label: wish.label.clone().filter(|_| label.is_none()), near: None };
    if let Some(label) = &label {
        with_room.retain(|member| has(member, label));
    }
    if let Some((actor, node)) = &wish.near {
        if with_room.iter().any(|member| member.node == *node) {
            return Ok(Placement { node: node.clone(), why: Why::Near { actor: actor.clone() } });
        }
        unmet.near = Some(actor.clone());
    }
    let chosen = chosen(strategy, &with_room, draw);
    let named =
        std::iter::once(chosen).chain(with_room.iter().copied().filter(|member| member.node != chosen.node));
    let loads: BTreeMap<NodeId, u64> =
        named.take(NAMED_MAX).map(|member| (member.node.clone(), load(member))).collect();
    let full = without.into_iter().filter(|member| label.as_ref().is_none_or(|label| has(member, label)));
    let full = full.take(NAMED_MAX).map(|member| member.node.clone()).collect();
    Ok(Placement { node: chosen.node.clone(), why: Why::Chosen { strategy, label, loads, full, unmet } })
}

/// What a node has last said that it holds; nothing yet counts as none.
fn load(member: &Member) -> u64 {
    member.load().unwrap_or(0)
}

fn has_room(member: &&Member) -> bool {
    member.session.capacity.is_none_or(|max| load(member) < max)
}

/// One of those that are fit: there is one.
fn chosen<'a>(strategy: Strategy, fit: &[&'a Member], draw: u64) -> &'a Member {
    let among: Vec<&Member> = match strategy {
        Strategy::LeastLoaded => {
            let least = fit.iter().map(|member| load(member)).min().unwrap_or(0);
            fit.iter().copied().filter(|member| load(member) <= least.saturating_add(SLACK)).collect()
        }
        Strategy::Random | Strategy::RoundRobin => fit.to_vec(),
    };
    among[usize::try_from(draw % among.len() as u64).expect("it is less than a length")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::{member, node};

    /// Active nodes with these loads and capacities.
    fn members(nodes: &[(&str, u64, Option<u64>)]) -> Members {
        let member = |&(name, load, capacity): &(&str, u64, Option<u64>)| {
            let mut member = member(name, 1, 0, SessionState::Active);
            member.session.capacity = capacity;
            member.lease.as_mut().unwrap().load = load;
            member
        };
        Members::new(nodes.iter().map(member).collect())
    }

    fn placed(members: &Members, wish: &Wish, draw: u64) -> String {
        match place(members, Strategy::LeastLoaded, wish, &BTreeSet::new(), draw) {
            Ok(Placement { node, .. }) => node.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_least_loaded_takes_it_and_a_draw_decides_between_equals() {
        let uneven = members(&[("a", 100, None), ("b", 10, None), ("c", 50, None)]);
        assert!((0..10).all(|draw| placed(&uneven, &Wish::default(), draw) == "b"));
        let even = members(&[("a", 3, None), ("b", 3 + SLACK, None), ("c", 4 + SLACK, None)]);
        let drawn: Vec<String> = (0..4).map(|draw| placed(&even, &Wish::default(), draw)).collect();
        assert_eq!(drawn, ["a", "b", "a", "b"]);
    }

    #[test]
    fn who_is_full_is_left_out() {
        let some = members(&[("a", 5, Some(5)), ("b", 90, Some(91))]);
        assert_eq!(placed(&some, &Wish::default(), 0), "b");
        // Nobody else says that it has room: the one that is full is asked whether some of its are idle.
        let mut refused = BTreeSet::from([node("b")]);
        let asked = place(&some, Strategy::LeastLoaded, &Wish::default(), &refused, 0);
        assert_eq!(asked.unwrap().node, node("a"));
        refused.insert(node("a"));
        let nobody = place(&some, Strategy::LeastLoaded, &Wish::default(), &refused, 0);
        assert_eq!(nobody, Err(Unplaceable::Full));
    }

    #[test]
    fn a_draining_node_takes_nothing_and_a_load_of_another_life_counts_for_nothing() {
        let mut old = member("a", 2, 0, SessionState::Active);
        old.lease.as_mut().unwrap().incarnation = crate::id::Incarnation(1);
        old.lease.as_mut().unwrap().load = 1_000;
        let draining = member("b", 1, 0, SessionState::Draining);
        let both = Members::new(vec![old, draining.clone()]);
        assert_eq!(placed(&both, &Wish::default(), 1), "a");
        assert_eq!(placed(&Members::new(vec![draining]), &Wish::default(), 1), "no node is active");
    }

    fn why(members: &Members, wish: &Wish) -> Why {
        place(members, Strategy::LeastLoaded, wish, &BTreeSet::new(), 0).unwrap().why
    }

    #[test]
    fn wishes_are_followed_while_there_is_room_and_told_when_they_are_not() {
        let mut with_gpu = member("b", 1, 0, SessionState::Active);
        with_gpu.session.labels.insert("gpu".to_owned());
        with_gpu.session.capacity = Some(1);
        let other = ActorId::new("t", "agent", "x").unwrap();
        let gpu = Wish { label: Some("gpu".to_owned()), near: None };
        let tpu = Wish { label: Some("tpu".to_owned()), near: None };
        let near = |name| Wish { near: Some((other.clone(), node(name))), label: None };
        let nodes = Members::new(vec![member("a", 1, 0, SessionState::Active), with_gpu.clone()]);
        assert_eq!(placed(&nodes, &gpu, 0), "b");
        assert_eq!(why(&nodes, &gpu).reason(), "label");
        assert_eq!(placed(&nodes, &tpu, 0), "a");
        assert!(why(&nodes, &tpu).to_string().contains("no node with the label tpu had room"));
        assert_eq!(why(&nodes, &near("b")), Why::Near { actor: other.clone() });
        // The label goes before the company.
        assert_eq!(placed(&nodes, &Wish { label: gpu.label.clone(), ..near("a") }, 0), "b");
        with_gpu.lease.as_mut().unwrap().load = 1;
        let full = Members::new(vec![member("a", 1, 0, SessionState::Active), with_gpu]);
        for wish in [near("b"), gpu, near("gone")] {
            assert_eq!(placed(&full, &wish, 0), "a", "{wish:?}");
            let Why::Chosen { full, unmet, label, .. } = why(&full, &wish) else { panic!("chosen") };
            assert_eq!((full, label), (BTreeSet::from([node("b")]), None));
            assert_ne!(unmet, Unmet::default());
        }
    }

    #[test]
    fn a_reason_shows_the_loads_that_were_seen_and_names_few_nodes() {
        let some = members(&[("a", 30, None), ("b", 10, None), ("c", 5, Some(5))]);
        let Why::Chosen { loads, full, unmet, .. } = why(&some, &Wish::default()) else { panic!("chosen") };
        assert_eq!(loads, BTreeMap::from([(node("a"), 30), (node("b"), 10)]));
        assert_eq!((full, unmet), (BTreeSet::from([node("c")]), Unmet::default()));
        let names: Vec<String> = (10..60).map(|number| format!("n{number}")).collect();
        let many: Vec<_> = names
            .iter()
            .rev()
            .map(|name| (name.as_str(), 60 - name[1..].parse::<u64>().unwrap(), None))
            .collect();
        let many = members(&many.iter().map(|&(name, load, max)| (name, load * 10, max)).collect::<Vec<_>>());
        let Why::Chosen { loads, .. } = why(&many, &Wish::default()) else { panic!("chosen") };
        assert_eq!((loads.len(), loads.get(&node("n59"))), (NAMED_MAX, Some(&10)));
    }

    #[test]
    fn other_strategies_ask_for_room_and_not_for_loads() {
        let some = members(&[("a", 100, None), ("b", 0, None), ("c", 9, Some(9))]);
        for strategy in [Strategy::Random, Strategy::RoundRobin] {
            let placed = |draw| place(&some, strategy, &Wish::default(), &BTreeSet::new(), draw).unwrap();
            let nodes: Vec<String> = (0..4).map(|draw| placed(draw).node.to_string()).collect();
            assert_eq!(nodes, ["a", "b", "a", "b"]);
            assert_eq!(placed(0).why.reason(), strategy.name());
        }
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse(), Ok(strategy));
        }
        assert!("least".parse::<Strategy>().unwrap_err().to_string().contains("round_robin"));
    }
}
