//! Histories at random: of clients of one object that does what it should, or almost.

use kelpie_dst::check::{Operation, Outcome, Specification};
use kelpie_env::Env;
use kelpie_env::sim::Sim;

/// Draws numbers from a seed.
pub(super) struct Draw {
    _sim: Sim,
    env: Env,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        let env = sim.node("clients").env();
        Self { _sim: sim, env }
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.env.random_u64() % limit
    }

    pub(super) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How histories are made.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) clients: u64,
    pub(super) operations: usize,
    /// One in so many has an unknown outcome.
    pub(super) unknown: u64,
    /// One in so many of the answers is wrong.
    pub(super) wrong: Option<u64>,
}

struct Client {
    /// The operation under way, and its answer once it has taken effect.
    busy: Option<(usize, Option<usize>)>,
    id: u64,
}

/// Lets clients work at random on an object that follows `specification`.
pub(super) fn history<S: Specification>(
    draw: &Draw,
    specification: &S,
    shape: Shape,
    input: impl Fn(&Draw) -> S::Input,
) -> Vec<Operation<S::Input, S::Output>>
where
    S::Output: Clone,
{
    let mut past = vec![specification.initial()];
    let mut history: Vec<Operation<S::Input, S::Output>> = Vec::new();
    let mut answers: Vec<S::Output> = Vec::new();
    let mut clients: Vec<_> = (0..shape.clients).map(|id| Client { busy: None, id }).collect();
    let mut lost = Vec::new();
    let mut now = 0;
    while history.len() < shape.operations || clients.iter().any(|client| client.busy.is_some()) {
        now += 1;
        if !lost.is_empty() && draw.one_in(6) {
            // What was lost lands.
            let late: usize = lost.swap_remove(0);
            apply(specification, &mut past, &history[late].input);
        }
        let chosen = usize::try_from(draw.below(shape.clients)).unwrap();
        let client = &mut clients[chosen];
        match client.busy {
            None if history.len() < shape.operations => {
                client.busy = Some((history.len(), None));
                let (client, input) = (client.id, input(draw));
                history.push(Operation { client, input, invoked: now, outcome: Outcome::Unknown });
            }
            None => {}
            Some((operation, _)) if draw.one_in(shape.unknown) => {
                if client.busy.is_some_and(|(_, answer)| answer.is_none()) && draw.one_in(2) {
                    lost.push(operation);
                }
                client.busy = None;
            }
            Some((operation, None)) => {
                let wrong = shape.wrong.is_some_and(|n| draw.one_in(n));
                let answer =
                    answered(draw, specification, &mut past, &history[operation].input, wrong, &answers);
                answers.push(answer);
                client.busy = Some((operation, Some(answers.len() - 1)));
            }
            Some((operation, Some(answer))) => {
                let output = answers[answer].clone();
                history[operation].outcome = Outcome::Answered { output, at: now };
                client.busy = None;
            }
        }
    }
    history
}

fn apply<S: Specification>(specification: &S, past: &mut Vec<S::State>, input: &S::Input) -> S::Output {
    let mut state = past.last().unwrap().clone();
    let output = specification.apply(&mut state, input);
    past.push(state);
    output
}

/// What the object answers; a wrong one as broken objects do: out of an old state, without
/// taking effect, or what somebody else was told.
fn answered<S: Specification>(
    draw: &Draw,
    specification: &S,
    past: &mut Vec<S::State>,
    input: &S::Input,
    wrong: bool,
    answers: &[S::Output],
) -> S::Output
where
    S::Output: Clone,
{
    if !wrong {
        return apply(specification, past, input);
    }
    match draw.below(3) {
        0 => {
            let mut old = past[usize::try_from(draw.below(past.len() as u64)).unwrap()].clone();
            specification.apply(&mut old, input)
        }
        1 => specification.apply(&mut past.last().unwrap().clone(), input),
        _ => {
            let own = apply(specification, past, input);
            match answers.len() {
                0 => own,
                length => answers[usize::try_from(draw.below(length as u64)).unwrap()].clone(),
            }
        }
    }
}
