//! Each judge takes a history that is right, and refuses it once somebody has broken it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelpie_agent::message::{Message, MessageBody, ToolStatus};
use kelpie_agent::outcome::RunStatus;

use super::judge;
use crate::agents::{HUMAN, Look, word_of};
use crate::history::{Call, Ended, History};
use crate::run::{self, Watch};
use crate::schedule::Schedule;
use crate::workload::{self, Outside};

/// What a run without faults has left.
struct Clean {
    history: History,
    outside: Arc<Outside>,
}

fn clean(scenario: &str, seed: u64) -> Clean {
    let workload = workload::by_name(scenario).unwrap();
    let schedule = Schedule { faults: Vec::new(), ..run::draw(workload, seed) };
    let (ran, outside) = run::unjudged(&schedule, &Watch::default()).unwrap();
    let clean = Clean { history: ran.verdict.history, outside };
    assert_eq!(clean.complaints(), BTreeSet::new(), "{scenario} {seed}");
    clean
}

impl Clean {
    /// The judges that find something.
    fn complaints(&self) -> BTreeSet<&'static str> {
        judge(&self.history, &self.outside).into_iter().map(|violation| violation.invariant).collect()
    }

    /// Changes the first reply that `change` finds something to change in.
    fn change(&mut self, operation: &str, change: impl FnMut(&mut String) -> bool) -> bool {
        let calls = self.history.calls.iter_mut().filter(|call| call.operation == operation);
        calls.into_iter().filter_map(reply_of).any(change)
    }

    /// Changes what is seen of an agent in the end.
    fn look(&mut self, mut change: impl FnMut(&mut Look) -> bool) -> bool {
        self.change("look", |reply| {
            let mut look: Look = serde_json::from_str(reply).unwrap();
            let changed = change(&mut look);
            *reply = serde_json::to_string(&look).unwrap();
            changed
        })
    }
}

/// Breaks clean histories in one way, until one has what there is to break, and has them judged.
fn broken(scenario: &str, mut breaks: impl FnMut(&mut Clean) -> bool) -> BTreeSet<&'static str> {
    let mut run = (0..20).map(|seed| clean(scenario, seed));
    let broken = run.find_map(|mut run| breaks(&mut run).then_some(run));
    broken.expect("something to break in twenty runs").complaints()
}

/// What a client was told.
fn reply_of(call: &mut Call) -> Option<&mut String> {
    match &mut call.ended {
        Some(Ended::Reply(reply)) => Some(reply),
        None | Some(Ended::App(_) | Ended::NotRun(_) | Ended::Unknown | Ended::Fix(_)) => None,
    }
}

fn first(messages: &[Message], is: impl Fn(&MessageBody) -> bool) -> Option<usize> {
    messages.iter().position(|message| is(&message.body))
}

/// An agent's message of that kind, taken out of what is seen in the end.
fn without(look: &mut Look, is: impl Fn(&MessageBody) -> bool) -> bool {
    let place = first(&look.messages, is);
    place.is_some_and(|place| {
        look.messages.remove(place);
        true
    })
}

#[test]
fn sim_a_message_that_is_gone_or_there_twice_is_found() {
    let gone =
        broken("agents", |run| run.look(|look| without(look, |b| matches!(b, MessageBody::User { .. }))));
    assert!(gone.contains("Conversation"), "{gone:?}");
    let twice = broken("agents", |run| {
        run.look(|look| {
            let place = first(&look.messages, |body| matches!(body, MessageBody::User { .. }));
            let again = place.map(|place| Message { id: "other".to_owned(), ..look.messages[place].clone() });
            look.messages.extend(again);
            place.is_some()
        })
    });
    assert_eq!(twice, BTreeSet::from(["Conversation"]));
}

#[test]
fn sim_a_run_that_does_not_end_is_found() {
    let open = broken("agents", |run| {
        run.look(|look| look.runs.last_mut().map(|run| run.status = RunStatus::Running).is_some())
    });
    assert_eq!(open, BTreeSet::from(["Conversation"]));
}

#[test]
fn sim_a_message_that_is_answered_otherwise_the_second_time_is_found() {
    let other = broken("agents", |run| {
        let words: Vec<String> =
            run.history.calls.iter().filter(|c| c.operation == "leave").map(|c| c.payload.clone()).collect();
        let left = words.iter().find(|payload| {
            run.history.calls.iter().any(|call| {
                call.operation == "say"
                    && call.reply().is_some()
                    && word_of(&call.payload) == word_of(payload)
            })
        });
        left.cloned().is_some_and(|left| {
            let calls = run.history.calls.iter_mut();
            let mut calls = calls.filter(|call| call.operation == "leave" && call.payload == left);
            calls.find_map(reply_of).map(|run| run.push('0')).is_some()
        })
    });
    assert_eq!(other, BTreeSet::from(["Conversation"]));
}

#[test]
fn sim_a_call_without_its_result_is_found() {
    let orphan = broken("agents", |run| {
        run.look(|look| without(look, |body| matches!(body, MessageBody::ToolReturn { .. })))
    });
    assert!(orphan.contains("NoOrphanCall"), "{orphan:?}");
    let result = broken("agents", |run| {
        run.look(|look| without(look, |body| matches!(body, MessageBody::ToolCall { .. })))
    });
    assert!(result.contains("NoOrphanCall"), "{result:?}");
}

#[test]
fn sim_memory_that_is_not_what_was_said_is_found() {
    let forgotten = broken("agents", |run| run.look(|look| look.passages.pop().is_some()));
    assert_eq!(forgotten, BTreeSet::from(["MemoryEdits"]));
    let not_found = broken("agents", |run| run.look(|look| look.found.pop().is_some()));
    assert_eq!(not_found, BTreeSet::from(["MemoryEdits"]));
    let doubled = broken("agents", |run| {
        run.look(|look| {
            let block = look.blocks.iter_mut().find(|block| block.label == HUMAN && !block.value.is_empty());
            block.map(|block| block.value = format!("{0}\n{0}", block.value)).is_some()
        })
    });
    assert_eq!(doubled, BTreeSet::from(["MemoryEdits"]));
}

#[test]
fn sim_an_effect_that_is_doubled_missing_or_nobodys_is_found() {
    let doubled = broken("agents", |run| {
        let arrival = run.outside.world.arrivals().into_iter().find(|arrival| arrival.effect);
        arrival.map(|arrival| run.outside.world.arrives(arrival.invocation, false)).is_some()
    });
    assert_eq!(doubled, BTreeSet::from(["ToolEffects"]));
    let missing = broken("agents", |run| {
        let arrived = run.outside.world.arrivals();
        run.look(|look| {
            let effect = arrived.iter().map(|arrival| arrival.invocation.call_id.as_str());
            let effects: BTreeSet<&str> = effect.collect();
            // The result of a call that never went out says that it succeeded.
            let returns = look.messages.iter_mut().find_map(|message| match &mut message.body {
                MessageBody::ToolReturn { call_id, status, .. } if effects.contains(call_id.as_str()) => {
                    Some((call_id, status))
                }
                MessageBody::ToolReturn { .. }
                | MessageBody::ToolCall { .. }
                | MessageBody::System { .. }
                | MessageBody::User { .. }
                | MessageBody::Reasoning { .. }
                | MessageBody::Assistant { .. }
                | MessageBody::ApprovalRequest { .. }
                | MessageBody::ApprovalResponse { .. }
                | MessageBody::Summary { .. } => None,
            });
            returns
                .map(|(call_id, status)| {
                    call_id.push('0');
                    *status = ToolStatus::Success;
                })
                .is_some()
        })
    });
    assert!(missing.contains("ToolEffects"), "{missing:?}");
}

#[test]
fn sim_a_word_of_another_agent_is_found() {
    let leaked = broken("agents", |run| {
        let said = run.history.calls.iter().find(|call| call.operation == "say").cloned();
        said.is_some_and(|Call { actor_key, payload, .. }| {
            let others = run.history.calls.iter_mut().filter(|call| call.actor_key != actor_key);
            let mut looks = others.filter(|call| call.operation == "look").filter_map(reply_of);
            looks.next().map(|reply| reply.push_str(&format!(" {}", word_of(&payload)))).is_some()
        })
    });
    assert!(leaked.contains("MemoryIsolation"), "{leaked:?}");
    let listed = broken("agents", |run| {
        run.change("list", |reply| {
            let other = reply.contains("@t0\"").then(|| reply.replace("@t0\"", "@t1\""));
            other.map(|other| *reply = other).is_some()
        })
    });
    assert_eq!(listed, BTreeSet::from(["MemoryIsolation"]));
}

#[test]
fn sim_a_block_that_shows_what_nobody_wrote_is_found() {
    let board = broken("agents", |run| {
        run.change("read", |reply| {
            reply.push_str(" and more");
            true
        })
    });
    assert!(board.contains("Linearizability"), "{board:?}");
}

#[test]
fn sim_what_other_actors_must_not_do_is_found() {
    let miscounted = broken("counters", |run| {
        run.change("get", |sum| {
            sum.push('0');
            sum != "00"
        })
    });
    assert_eq!(miscounted, BTreeSet::from(["Linearizability"]));
    let reordered = broken("logs", |run| {
        run.change("read", |words| {
            let last = words.rsplit_once(' ').map(|(rest, last)| format!("{last} {rest}"));
            last.filter(|changed| changed != words).map(|changed| *words = changed).is_some()
        })
    });
    assert_eq!(reordered, BTreeSet::from(["Linearizability"]));
    let held_otherwise = broken("values", |run| {
        run.change("read", |value| {
            *value = "never written".to_owned();
            true
        })
    });
    assert_eq!(held_otherwise, BTreeSet::from(["Linearizability"]));
    let in_and_not_in = broken("values", |run| {
        run.change("all", |words| {
            let fewer = words.split_once(' ').map(|(_, rest)| rest.to_owned());
            fewer.map(|fewer| *words = fewer).is_some()
        })
    });
    assert_eq!(in_and_not_in, BTreeSet::from(["Linearizability"]));
    let minted = broken("bank", |run| {
        run.change("balance", |balance| {
            balance.insert(0, '9');
            true
        })
    });
    assert_eq!(minted, BTreeSet::from(["Conservation"]));
    let uncounted = broken("orders", |run| {
        let probes = run.history.calls.iter_mut().filter(|call| call.probe && call.operation == "orders");
        probes.into_iter().any(|call| {
            let some = call.reply().is_some_and(|count| count != "0");
            if some {
                call.ended = Some(Ended::Reply("0".to_owned()));
            }
            some
        })
    });
    assert_eq!(uncounted, BTreeSet::from(["ExactlyOnce"]));
    let repriced = broken("orders", |run| {
        let effect = run.outside.effects().into_iter().next();
        effect.map(|(key, effect)| run.outside.ask(&key, &effect.what, "another price")).is_some()
    });
    assert_eq!(repriced, BTreeSet::from(["ExactlyOnce"]));
    let again = broken("reminders", |run| {
        let probes = run.history.calls.iter_mut().filter(|call| call.probe && call.operation == "reminded");
        let set = probes.into_iter().filter_map(reply_of).find(|reply| reply.contains(":1"));
        set.map(|reply| *reply = reply.replacen(":1", ":2", 1)).is_some()
    });
    assert_eq!(again, BTreeSet::from(["RemindersOnce"]));
    let unanswered = broken("counters", |run| {
        run.history.calls.iter_mut().find(|call| call.owed).map(|call| call.ended = None).is_some()
    });
    assert_eq!(unanswered, BTreeSet::from(["Liveness"]));
}

#[test]
fn sim_what_couriers_must_not_do_is_found() {
    let carried_twice = broken("couriers", |run| {
        run.change("contents", |words| {
            let first = words.split(' ').next().filter(|word| !word.is_empty()).map(str::to_owned);
            first.map(|word| words.push_str(&format!(" {word}"))).is_some()
        })
    });
    assert_eq!(carried_twice, BTreeSet::from(["NestedOnce"]));
    let lost_on_the_way = broken("couriers", |run| {
        run.change("contents", |words| {
            let lost = words.contains("w").then(|| words.split(' ').skip(1).collect::<Vec<_>>().join(" "));
            lost.map(|rest| *words = rest).is_some()
        })
    });
    assert_eq!(lost_on_the_way, BTreeSet::from(["NestedOnce"]));
    let from_nowhere = broken("couriers", |run| {
        let probes = run.history.calls.iter_mut().filter(|call| call.probe && call.operation == "carried");
        probes.into_iter().find_map(reply_of).map(|words| words.push_str(" w9.9")).is_some()
    });
    assert_eq!(from_nowhere, BTreeSet::from(["NestedOnce"]));
}

#[test]
fn sim_a_drain_that_fails_a_call_is_found() {
    let failed = broken("counters", |run| {
        run.history.orderly = true;
        let lost = run.history.calls.iter_mut().find(|call| call.operation == "add");
        lost.map(|call| call.lost = 1).is_some()
    });
    assert_eq!(failed, BTreeSet::from(["DrainsFailNothing"]));
}
