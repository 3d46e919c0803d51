//! Whether a node gives actors away because it holds more than others.
//!
//! ```text
//!   Resting ──looks, and holds too much──▶ gives some away ──▶ Cooling ──cooldown──▶ Resting
//! ```
//!
//! Each node gives away what it has itself, so no two move the same actor. Nodes that look at
//! the same time see much the same: the fullest gives to the emptiest, the next to the next,
//! and what one gets in all is at most what it is below the mean. So they do not swing.
//!
//! Invariant: between two gifts of a node there is the cooldown, in which loads become known
//! that have changed by the first.

use std::time::Duration;

use crate::id::NodeId;
use crate::membership::{Member, Members};
use crate::session::SessionState;

/// A node gives nothing away while it holds less than so many more than the mean: moving has a
/// price, and so small a difference none.
const ABOVE_MIN: u64 = 32;
/// And less than this part more, in percent of the mean.
const ABOVE_PERCENT: u64 = 20;
/// Actors of one gift at most: each is a commit of its own.
const GIFT_MAX: u64 = 64;

/// When one node gives actors away. Owned by whoever looks.
#[derive(Debug, Clone)]
pub struct Balance {
    cooldown: Duration,
    /// Until when it gives nothing.
    cool: Duration,
}

/// How many actors are to go, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gift {
    /// To this node, which holds less than the mean.
    pub to: NodeId,
    /// At most so many.
    pub actors: u64,
}

impl Balance {
    /// Gives at most once in so much time.
    pub fn new(cooldown: Duration) -> Self {
        Self { cooldown, cool: Duration::ZERO }
    }

    /// Looks at what the nodes hold; `held` is what this one, `me`, holds now.
    pub fn look(&mut self, now: Duration, me: &NodeId, held: u64, members: &Members) -> Option<Gift> {
        if now < self.cool && !crate::mutant!("balance_without_cooldown") {
            return None;
        }
        let others: Vec<(&Member, u64)> = members
            .iter()
            .filter(|member| member.node != *me && member.session.state == SessionState::Active)
            .filter_map(|member| Some((member, member.load()?)))
            .collect();
        let nodes = 1 + others.len() as u64;
        let mean = others.iter().map(|(_, load)| load).sum::<u64>().saturating_add(held) / nodes;
        let above = held.checked_sub(mean)?;
        if above < ABOVE_MIN || above.saturating_mul(100) < mean.saturating_mul(ABOVE_PERCENT) {
            return None;
        }
        let room = |member: &Member, load: u64| {
            let max = member.session.capacity.map_or(u64::MAX, |max| max.saturating_sub(load));
            max.min(mean.saturating_sub(load))
        };
        let mut takers: Vec<(u64, &Member)> = others
            .iter()
            .filter(|(member, load)| room(member, *load) > 0)
            .map(|(member, load)| (*load, *member))
            .collect();
        takers.sort_by_key(|(load, member)| (*load, &member.node));
        let fuller = |(member, load): &&(&Member, u64)| (*load, &member.node) > (held, me);
        let (before_me, givers) = (
            others.iter().filter(fuller).count(),
            1 + others.iter().filter(|(_, load)| *load > mean).count(),
        );
        let swings = crate::mutant!("balance_swings");
        let (load, taker) = *takers.get(if swings { 0 } else { before_me % takers.len().max(1) })?;
        let share = if swings { 1 } else { givers.div_ceil(takers.len()) as u64 };
        let actors = above.div_ceil(2).min(room(taker, load) / share).min(GIFT_MAX);
        if actors == 0 {
            return None;
        }
        self.cool = now.saturating_add(self.cooldown);
        Some(Gift { to: taker.node.clone(), actors })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::membership::tests::{member, node};

    const COOLDOWN: Duration = Duration::from_secs(30);

    fn members(loads: &BTreeMap<String, u64>) -> Members {
        let of = |(name, load): (&String, &u64)| {
            let mut member = member(name, 1, 0, SessionState::Active);
            member.lease.as_mut().unwrap().load = *load;
            member
        };
        Members::new(loads.iter().map(of).collect())
    }

    fn loads(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, load)| ((*name).to_owned(), *load)).collect()
    }

    fn gift(held: u64, of: &[(&str, u64)]) -> Option<(String, u64)> {
        let given = Balance::new(COOLDOWN).look(Duration::ZERO, &node("a"), held, &members(&loads(of)));
        given.map(|gift| (gift.to.to_string(), gift.actors))
    }

    #[test]
    fn who_holds_much_more_than_the_mean_gives_some_to_who_holds_the_least() {
        assert_eq!(gift(1_000, &[("a", 1_000), ("b", 400), ("c", 100)]), Some(("c".to_owned(), 64)));
        assert_eq!(gift(100, &[("a", 100), ("b", 20)]), Some(("b".to_owned(), 20)));
        // A fuller one gives to the emptiest.
        assert_eq!(gift(500, &[("b", 600), ("c", 100), ("d", 90)]), Some(("c".to_owned(), 64)));
        assert_eq!(gift(80, &[("b", 20)]), None, "30 above the mean is nothing");
        assert_eq!(gift(1_000, &[("b", 800)]), None, "nor is a tenth");
        assert_eq!(gift(1_000, &[("a", 1_000)]), None, "there is nobody");
        assert_eq!(gift(10, &[("b", 1_000)]), None);
        assert_eq!(gift(1_000, &[("b", 0), ("c", 0)]), Some(("b".to_owned(), 64)));
    }

    #[test]
    fn who_drains_or_has_no_room_is_given_nothing() {
        let mut draining = member("b", 1, 0, SessionState::Draining);
        draining.lease.as_mut().unwrap().load = 0;
        let mut full = member("c", 1, 0, SessionState::Active);
        full.session.capacity = Some(5);
        full.lease.as_mut().unwrap().load = 5;
        let mut roomy = full.clone();
        roomy.node = node("d");
        roomy.session.capacity = Some(9);
        roomy.lease.as_mut().unwrap().load = 6;
        let look = |members: Vec<Member>| {
            Balance::new(COOLDOWN).look(Duration::ZERO, &node("a"), 500, &Members::new(members))
        };
        assert_eq!(look(vec![draining.clone(), full.clone()]), None);
        assert_eq!(look(vec![draining, full, roomy]), Some(Gift { to: node("d"), actors: 3 }));
    }

    #[test]
    fn between_two_gifts_there_is_the_cooldown() {
        let uneven = members(&loads(&[("b", 0)]));
        let mut balance = Balance::new(COOLDOWN);
        let mut given = Vec::new();
        for second in 0..100 {
            if balance.look(Duration::from_secs(second), &node("a"), 1_000, &uneven).is_some() {
                given.push(second);
            }
        }
        assert_eq!(given, [0, 30, 60, 90]);
    }

    /// All nodes look at once, at loads as they were before any of them has given.
    #[test]
    fn nodes_that_look_at_the_same_time_come_to_rest_and_do_not_swing() {
        let starts = [
            vec![900, 0, 0],
            vec![500, 500, 0, 0],
            vec![300, 250, 10, 5],
            vec![0, 0, 0, 0, 2_000],
            vec![120, 120, 120, 120, 120, 0],
            vec![200, 200, 200, 200, 200, 0, 0, 0, 0, 0],
        ];
        for start in starts {
            let names: Vec<String> = (0..start.len()).map(|number| format!("n{number}")).collect();
            let mut held: BTreeMap<String, u64> = names.iter().cloned().zip(start).collect();
            let mean = held.values().sum::<u64>() / held.len() as u64;
            let mut spread = held.values().copied().max().unwrap();
            for round in 0..200 {
                let seen = members(&held);
                let mut gifts = Vec::new();
                for name in &names {
                    gifts.extend(
                        Balance::new(COOLDOWN)
                            .look(Duration::ZERO, &node(name), held[name], &seen)
                            .map(|gift| (name, gift)),
                    );
                }
                if gifts.is_empty() {
                    let highest = held.values().max().unwrap();
                    assert!(highest - mean <= ABOVE_MIN.max(mean * ABOVE_PERCENT / 100), "{held:?}");
                    break;
                }
                for (from, gift) in gifts {
                    *held.get_mut(from).unwrap() -= gift.actors;
                    *held.get_mut(gift.to.as_str()).unwrap() += gift.actors;
                }
                let highest = *held.values().max().unwrap();
                assert!(highest <= spread, "round {round}: the fullest node gets no fuller: {held:?}");
                spread = highest;
                assert!(round < 199, "it comes to rest: {held:?}");
            }
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutants_of_balance_are_caught() {
        let tests: [(&'static str, fn()); 2] = [
            ("balance_without_cooldown", between_two_gifts_there_is_the_cooldown),
            ("balance_swings", nodes_that_look_at_the_same_time_come_to_rest_and_do_not_swing),
        ];
        for (mutant, test) in tests {
            let _armed = crate::mutant::arm(mutant);
            std::panic::catch_unwind(test).expect_err(mutant);
        }
    }
}
