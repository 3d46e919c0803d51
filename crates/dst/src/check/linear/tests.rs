use super::super::spec::{AppendList, Counter, CounterInput, ListInput, ListOutput, Register};
use super::super::spec::{RegisterInput, RegisterOutput};
use super::*;

/// Numbers from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Operations that overlap at random and are answered at random, mostly as they should be.
fn history<I: Clone, O>(
    draw: &mut Draw,
    mut input: impl FnMut(&mut Draw) -> I,
    mut answer: impl FnMut(&mut Draw, &I) -> O,
) -> Vec<Operation<I, O>> {
    let (mut operations, mut busy, mut now) = (Vec::<Operation<I, O>>::new(), Vec::new(), 0);
    while operations.len() < 10 || !busy.is_empty() {
        now += 1;
        if operations.len() < 10 && busy.len() < 4 && draw.below(2) == 0 {
            busy.push(operations.len());
            let client = busy.len() as u64;
            operations.push(Operation {
                client,
                input: input(draw),
                invoked: now,
                outcome: Outcome::Unknown,
            });
        } else if !busy.is_empty() {
            let chosen = usize::try_from(draw.below(busy.len() as u64)).expect("small");
            let operation = &mut operations[busy.swap_remove(chosen)];
            operation.outcome = match draw.below(6) {
                0 | 1 => Outcome::Unknown,
                2 => Outcome::Done { at: now },
                _ => Outcome::Answered { output: answer(draw, &operation.input), at: now },
            };
        }
    }
    operations
}

/// Whether both searches come to the same verdict; and to which.
fn agree<S: Specification>(specification: &S, history: &[Operation<S::Input, S::Output>]) -> bool {
    let items: Vec<_> =
        history.iter().enumerate().map(|(position, operation)| item(position, operation)).collect();
    let [deep, broad] = [
        search(specification, &items, 1_000_000),
        frontier::search(specification, &items, Limits { configurations: 1_000_000, free: usize::MAX }),
    ]
    .map(|searched| match searched {
        Searched::Order(order) => {
            let mut state = specification.initial();
            for index in &order {
                let answer = specification.apply(&mut state, items[*index].input);
                let matters = matches!(items[*index].demand, Demand::Answer { .. });
                assert!(!matters || items[*index].demand.is_met(specification, &answer, true));
            }
            let owed = |index: &usize| items[*index].demand.at().is_some();
            assert!((0..items.len()).filter(owed).all(|index| order.contains(&index)));
            None
        }
        Searched::Stuck(stuck) => Some(stuck.item),
        Searched::Undecided => panic!("undecided"),
    });
    assert_eq!(deep, broad, "one is stuck where the other is not: {}", items.len());
    deep.is_none()
}

#[test]
fn the_search_in_breadth_agrees_with_the_one_in_depth() {
    let mut good = [0; 3];
    for seed in 0..6_000 {
        let mut draw = Draw(seed);
        let register = history(
            &mut draw,
            |draw| match draw.below(2) {
                0 => RegisterInput::Read,
                _ => RegisterInput::Write(draw.below(3)),
            },
            |draw, input| match input {
                RegisterInput::Read => RegisterOutput::Value(Some(draw.below(3))),
                RegisterInput::Write(_) | RegisterInput::CompareAndSet { .. } => RegisterOutput::Written,
            },
        );
        good[0] += u32::from(agree(&Register::holding(0), &register));
        let counter = history(
            &mut draw,
            |draw| match draw.below(3) {
                0 => CounterInput::Get,
                _ => CounterInput::Add(i64::try_from(draw.below(3)).expect("small") - 1),
            },
            |draw, _| i64::try_from(draw.below(5)).expect("small") - 2,
        );
        good[1] += u32::from(agree(&Counter::default(), &counter));
        let list = history(
            &mut draw,
            |draw| match draw.below(3) {
                0 => ListInput::Read,
                _ => ListInput::Append(draw.below(2)),
            },
            |draw, input| match input {
                ListInput::Read => ListOutput::Items((0..draw.below(3)).collect()),
                ListInput::Append(_) => {
                    ListOutput::Length(usize::try_from(1 + draw.below(4)).expect("small"))
                }
            },
        );
        good[2] += u32::from(agree(&AppendList::default(), &list));
    }
    assert!(good.iter().all(|good| (150..5_850).contains(good)), "one-sided: {good:?}");
}
