//! Which node an actor goes to that nobody has.
//!
//! Loads are what nodes last said about themselves, so they are advice: a node that has no room
//! after all refuses, and another one is asked.

use std::collections::BTreeSet;

use crate::id::{ActorId, NodeId};
use crate::membership::{Member, Members};
use crate::ownership::Why;
use crate::session::SessionState;

/// Loads up to so much more than the least count as equal: they are as old as a beat, and all
/// who place in between would choose the same node.
const SLACK: u64 = 8;

/// What an actor wants of its node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// With this actor, whose owner this is, while there is room for it.
    pub near: Option<(ActorId, NodeId)>,
    /// On a node with this label, and on no other.
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
    /// None of those that are active has the label.
    #[error("no active node has the label `{label}`")]
    NoLabel {
        /// Which one was wanted.
        label: String,
    },
    /// All that are fit hold as much as they may.
    #[error("all nodes hold as many actors as they may")]
    Full,
}

/// Chooses a node. `full` are nodes that have just refused; `draw` decides between equals.
pub fn place(
    members: &Members,
    wish: &Wish,
    full: &BTreeSet<NodeId>,
    draw: u64,
) -> Result<Placement, Unplaceable> {
    let active: Vec<&Member> =
        members.iter().filter(|member| member.session.state == SessionState::Active).collect();
    if active.is_empty() {
        return Err(Unplaceable::NoNode);
    }
    let fit: Vec<&Member> = match &wish.label {
        Some(label) => {
            let fit: Vec<_> =
                active.into_iter().filter(|member| member.session.labels.contains(label)).collect();
            if fit.is_empty() {
                return Err(Unplaceable::NoLabel { label: label.clone() });
            }
            fit
        }
        None => active,
    };
    let with_room: Vec<(&Member, u64)> = fit
        .into_iter()
        .map(|member| (member, member.load().unwrap_or(0)))
        .filter(|(member, load)| {
            !full.contains(&member.node) && member.session.capacity.is_none_or(|max| *load < max)
        })
        .collect();
    if let Some((actor, node)) = &wish.near
        && with_room.iter().any(|(member, _)| member.node == *node)
    {
        return Ok(Placement { node: node.clone(), why: Why::Near { actor: actor.clone() } });
    }
    let least = with_room.iter().map(|(_, load)| *load).min().ok_or(Unplaceable::Full)?;
    let equals: Vec<(&Member, u64)> =
        with_room.into_iter().filter(|(_, load)| *load <= least.saturating_add(SLACK)).collect();
    let (member, load) = equals[drawn(draw, equals.len())];
    let why = match &wish.label {
        Some(label) => Why::Labelled { label: label.clone() },
        None => Why::LeastLoaded { load },
    };
    Ok(Placement { node: member.node.clone(), why })
}

/// One of so many, by a random number.
fn drawn(draw: u64, among: usize) -> usize {
    usize::try_from(draw % among as u64).expect("it is less than a length")
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
        match place(members, wish, &BTreeSet::new(), draw) {
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
        let just_refused = BTreeSet::from([node("b")]);
        assert_eq!(place(&some, &Wish::default(), &just_refused, 0), Err(Unplaceable::Full));
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

    #[test]
    fn a_label_is_a_must_and_company_a_wish() {
        let mut with_gpu = member("b", 1, 0, SessionState::Active);
        with_gpu.session.labels.insert("gpu".to_owned());
        with_gpu.session.capacity = Some(1);
        let nodes = Members::new(vec![member("a", 1, 0, SessionState::Active), with_gpu.clone()]);
        let label = |label: &str| Wish { label: Some(label.to_owned()), ..Wish::default() };
        assert_eq!(placed(&nodes, &label("gpu"), 0), "b");
        assert!(placed(&nodes, &label("tpu"), 0).contains("`tpu`"));
        let other = ActorId::new("t", "agent", "x").unwrap();
        let near = |name| Wish { near: Some((other.clone(), node(name))), ..Wish::default() };
        assert_eq!(
            place(&nodes, &near("b"), &BTreeSet::new(), 0).unwrap().why,
            Why::Near { actor: other.clone() }
        );
        with_gpu.lease.as_mut().unwrap().load = 1;
        let full = Members::new(vec![member("a", 1, 0, SessionState::Active), with_gpu]);
        assert_eq!(placed(&full, &near("b"), 0), "a", "there is no room with it");
        assert_eq!(placed(&full, &near("gone"), 0), "a");
    }
}
