use proptest::prelude::*;

use super::*;
use crate::ownership::Why;

fn me() -> Myself {
    Myself { node: NodeId::new("a").unwrap(), incarnation: Incarnation(1), boot: Boot(1) }
}

fn own(node: &str, epoch: u64) -> Own {
    let boot = Boot(u128::from(node.as_bytes()[0] - b'a' + 1));
    Own { node: NodeId::new(node).unwrap(), incarnation: Incarnation(1), boot, epoch: Epoch(epoch) }
}

fn reason() -> Why {
    Why::Near { actor: crate::id::ActorId::new("t", "agent", "x").unwrap() }
}

fn vacant(node: &str) -> Input {
    Input::Found(Found::Vacant(Placement { node: NodeId::new(node).unwrap(), why: reason() }))
}

fn full(node: &str) -> Input {
    Input::Full { node: NodeId::new(node).unwrap() }
}

/// What comes out of a script, in words.
fn routed(origin: Origin, script: Vec<Input>) -> Vec<String> {
    let mut route = Route::new(me(), origin);
    let mut words = |input| match route.step(input) {
        Effect::Ask(Ask { node, owner: Some(owner), .. }) => format!("ask {node} {}", owner.epoch.0),
        Effect::Ask(Ask { node, owner: None, .. }) => format!("ask {node} to claim"),
        Effect::Reread { full } if full.is_empty() => "reread".to_owned(),
        Effect::Reread { full } => format!("reread without {}", full.len()),
        Effect::ClaimOver(own) => format!("claim over {} {}", own.node, own.epoch.0),
        Effect::Refuse(why) => format!("{:?}: {why}", why.advice()),
        Effect::Local { .. } => "Local".to_owned(),
        wait @ Effect::Wait(_) => format!("{wait:?}"),
    };
    script.into_iter().map(&mut words).collect()
}

fn from_here(script: Vec<Input>) -> Vec<String> {
    routed(Origin::Here, script)
}

#[test]
fn a_known_owner_is_asked_and_an_unknown_one_read() {
    assert_eq!(from_here(vec![Input::Called { cached: Some(own("b", 4)) }]), ["ask b 4"]);
    assert_eq!(from_here(vec![Input::Called { cached: Some(own("a", 4)) }]), ["Local"]);
    let unknown = |found| from_here(vec![Input::Called { cached: None }, found]);
    assert_eq!(unknown(Input::Found(Found::Owned(own("b", 4)))), ["reread", "ask b 4"]);
    assert_eq!(unknown(Input::Found(Found::Owned(own("a", 4)))), ["reread", "Local"]);
    assert_eq!(unknown(vacant("b")), ["reread", "ask b to claim"]);
    assert_eq!(unknown(vacant("a")), ["reread", "Local"]);
}

#[test]
fn the_reason_of_a_placement_goes_with_the_claim_and_with_nothing_else() {
    for node in ["a", "b"] {
        let mut route = Route::new(me(), Origin::Here);
        route.step(Input::Called { cached: None });
        let (Effect::Local { why: placed } | Effect::Ask(Ask { owner: None, why: placed, .. })) =
            route.step(vacant(node))
        else {
            panic!("it is placed on {node}")
        };
        assert_eq!(placed, reason());
        let Effect::Ask(Ask { owner: Some(_), why: followed, .. }) =
            route.step(Input::Elsewhere(own("c", 4)))
        else {
            panic!("another one was quicker")
        };
        assert_eq!(followed, Why::Called, "nobody has placed it there");
    }
}

#[test]
fn a_record_of_a_former_life_of_this_node_is_not_its_own() {
    let former = Own { boot: Boot(9), ..own("a", 4) };
    assert_eq!(from_here(vec![Input::Called { cached: Some(former) }]), ["ask a 4"]);
}

#[test]
fn only_a_later_hint_is_followed() {
    let hint = |epoch| Input::NotOwner { hint: Some(own("c", epoch)) };
    let asked = |input| from_here(vec![Input::Called { cached: Some(own("b", 4)) }, input]);
    assert_eq!(asked(hint(5)), ["ask b 4", "ask c 5"]);
    assert_eq!(asked(hint(4)), ["ask b 4", "reread"]);
    assert_eq!(asked(hint(3)), ["ask b 4", "reread"]);
    assert_eq!(asked(Input::NotOwner { hint: None }), ["ask b 4", "reread"]);
}

#[test]
fn the_ninth_redirect_is_refused_and_nothing_happened() {
    let mut script = vec![Input::Called { cached: Some(own("b", 1)) }];
    script.extend((2..=10).map(|epoch| Input::NotOwner { hint: Some(own("c", epoch)) }));
    let got = from_here(script);
    assert_eq!(got[8], "ask c 9");
    assert_eq!(got[9], "NotRun: the actor kept moving: 8 nodes were asked");
}

#[test]
fn a_call_from_another_node_goes_no_further() {
    let routed = |script| routed(Origin::OtherNode, script);
    let called = || Input::Called { cached: Some(own("c", 9)) };
    assert_eq!(routed(vec![called()]), ["Local"]);
    let elsewhere = routed(vec![called(), Input::Elsewhere(own("b", 4))]);
    assert_eq!(elsewhere[1], "NotRun: another node owns the actor");
    assert_eq!(routed(vec![called(), Input::NotActive])[1], "NotRun: another node owns the actor");
    let here = from_here(vec![Input::Called { cached: None }, vacant("a"), Input::Elsewhere(own("b", 4))]);
    assert_eq!(here, ["reread", "Local", "ask b 4"], "the loser of a race follows the winner");
}

#[test]
fn an_owner_out_of_reach_is_asked_again_and_claimed_over_when_it_may_be() {
    let got = from_here(vec![
        Input::Called { cached: Some(own("b", 4)) },
        Input::Unreachable { claim_over: false },
        Input::Waited,
        Input::Found(Found::Owned(own("b", 4))),
        Input::Unreachable { claim_over: true },
        Input::ClaimedOver,
    ]);
    assert_eq!(got, ["ask b 4", "Wait(100ms)", "reread", "ask b 4", "claim over b 4", "Local"]);
    // Nobody owns it: there is nothing to claim over.
    let placed =
        from_here(vec![Input::Called { cached: None }, vacant("b"), Input::Unreachable { claim_over: true }]);
    assert_eq!(placed[2], "Wait(100ms)");
}

#[test]
fn an_owner_that_is_not_ready_is_waited_for_until_the_deadline() {
    let mut script = vec![Input::Called { cached: Some(own("b", 4)) }];
    let again = || [Input::NotReady, Input::Waited, Input::Found(Found::Owned(own("b", 4)))];
    script.extend((0..3 * REDIRECTS_MAX).flat_map(|_| again()));
    let mut answered = script.clone();
    // It is dead by now, and somebody else has the actor.
    answered.extend([Input::NotReady, Input::Waited, Input::Found(Found::Owned(own("c", 5)))]);
    assert_eq!(from_here(answered).last().unwrap(), "ask c 5");
    script.extend([Input::NotReady, Input::DeadlinePassed]);
    let got = from_here(script);
    assert_eq!(got[1..4], ["Wait(100ms)", "reread", "ask b 4"]);
    assert_eq!(got.last().unwrap(), "NotRun: its deadline passed before an answer was there");
}

#[test]
fn what_may_have_begun_is_never_denied() {
    let begins = [Input::Lost { claim_over: false }, Input::Moved];
    for begin in begins {
        let got = from_here(vec![
            Input::Called { cached: Some(own("b", 4)) },
            begin,
            Input::Waited,
            Input::Found(Found::Owned(own("c", 5))),
            Input::DeadlinePassed,
        ]);
        assert!(got[4].starts_with("Unknown"), "{got:?}");
    }
    let not_out = from_here(vec![
        Input::Called { cached: Some(own("b", 4)) },
        Input::Unreachable { claim_over: false },
        Input::Moved,
        Input::DeadlinePassed,
    ]);
    assert!(not_out[3].starts_with("NotRun"), "{not_out:?}");
}

#[test]
fn a_node_without_room_is_left_out_unless_it_owns_the_actor() {
    let got = from_here(vec![
        Input::Called { cached: None },
        vacant("b"),
        full("b"),
        vacant("a"),
        full("a"),
        Input::Unplaceable(Unplaceable::Full),
    ]);
    assert_eq!(
        got,
        [
            "reread",
            "ask b to claim",
            "reread without 1",
            "Local",
            "reread without 2",
            "NotRun: all nodes hold as many actors as they may"
        ]
    );
    let owner = from_here(vec![Input::Called { cached: Some(own("b", 4)) }, full("b")]);
    assert!(owner[1].starts_with("NotRun: the node that owns"), "{owner:?}");
    let owner = from_here(vec![Input::Called { cached: Some(own("a", 4)) }, full("a")]);
    assert!(owner[1].starts_with("NotRun: the node that owns"), "{owner:?}");
}

fn inputs() -> impl Strategy<Value = Input> {
    let own = || (0..3_usize, 1..12_u64).prop_map(|(node, epoch)| own(["a", "b", "c"][node], epoch));
    prop_oneof![
        own().prop_map(|own| Input::Found(Found::Owned(own))),
        (0..3_usize).prop_map(|node| vacant(["a", "b", "c"][node])),
        own().prop_map(Input::Elsewhere),
        proptest::option::of(own()).prop_map(|hint| Input::NotOwner { hint }),
        (0..3_usize).prop_map(|node| full(["a", "b", "c"][node])),
        Just(Input::NotReady),
        any::<bool>().prop_map(|claim_over| Input::Unreachable { claim_over }),
        any::<bool>().prop_map(|claim_over| Input::Lost { claim_over }),
        Just(Input::Moved),
        Just(Input::Waited),
    ]
}

/// Whatever happens: hints lead to later epochs only, redirects end, and once a request was out
/// without an answer no refusal denies it.
fn follows_the_rules(script: Vec<Input>) -> Result<(), TestCaseError> {
    let mut route = Route::new(me(), Origin::Here);
    let (mut asked, mut redirects, mut may_have_begun): (Option<Own>, usize, bool) = (None, 0, false);
    let mut out = false;
    for input in script {
        may_have_begun |= matches!(input, Input::Lost { .. }) || out && input == Input::Moved;
        redirects += usize::from(matches!(input, Input::NotOwner { .. } | Input::Elsewhere(_)));
        let hinted = matches!(input, Input::NotOwner { .. });
        if let Input::Found(Found::Vacant(_)) = &input {
            asked = None;
        }
        // It may be this node's own.
        if let Input::Found(Found::Owned(own)) | Input::Elsewhere(own) = &input {
            asked = Some(own.clone());
        }
        let effect = route.step(input);
        out = matches!(effect, Effect::Ask(_));
        match effect {
            Effect::Ask(Ask { node, owner: Some(Owner { incarnation, boot, epoch }), .. }) => {
                let own = Own { node, incarnation, boot, epoch };
                if hinted && let Some(asked) = &asked {
                    prop_assert!(own.epoch > asked.epoch);
                }
                asked = Some(own);
            }
            Effect::Refuse(why) => {
                prop_assert_eq!(why.advice() == Advice::Unknown, may_have_begun);
                return Ok(());
            }
            Effect::Ask(Ask { owner: None, .. })
            | Effect::Local { .. }
            | Effect::Reread { .. }
            | Effect::ClaimOver(_)
            | Effect::Wait(_) => {}
        }
        prop_assert!(redirects <= REDIRECTS_MAX);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_way_follows_the_rules(script in proptest::collection::vec(inputs(), 0..60)) {
        follows_the_rules(script)?;
    }
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_routing_are_caught() {
    let tests: [(&'static str, fn()); 3] = [
        ("hint_of_any_epoch", only_a_later_hint_is_followed),
        ("redirects_without_end", the_ninth_redirect_is_refused_and_nothing_happened),
        ("routing_forgets_begun", what_may_have_begun_is_never_denied),
    ];
    for (mutant, test) in tests {
        let _armed = crate::mutant::arm(mutant);
        std::panic::catch_unwind(test).expect_err(mutant);
    }
}
