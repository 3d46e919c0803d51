//! The search in depth.
//!
//! ```text
//!   head ⇄ call a ⇄ call b ⇄ return a ⇄ call c ⇄ return b …      placed: both its events are taken out
//! ```
//!
//! From the head on, each call can be placed next, until a return is met: its operation had
//! to be placed before. Then the last placed one is put back, and another tried.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::super::spec::Specification;

/// Without keys drawn from the operating system: a judge inside a simulation would change its
/// trace by asking for them.
pub(super) type FixedHash = BuildHasherDefault<DefaultHasher>;

/// An operation as the search sees it. Items are sorted by their invocation.
pub(super) struct Item<'a, I, O> {
    /// Its position in the history.
    pub(super) position: usize,
    pub(super) input: &'a I,
    pub(super) invoked: u64,
    pub(super) demand: Demand<'a, O>,
}

impl<I, O> Clone for Item<'_, I, O> {
    fn clone(&self) -> Self {
        Self { position: self.position, input: self.input, invoked: self.invoked, demand: self.demand }
    }
}

/// What an order has to show of an operation.
pub(super) enum Demand<'a, O> {
    /// It takes effect before `at` and answers this.
    Answer { output: &'a O, at: u64 },
    /// It takes effect before `at`.
    Any { at: u64 },
    /// If it takes effect, it answers this.
    IfPlaced { output: &'a O },
    /// It may take effect at any time, or never.
    Nothing,
}

impl<O> Clone for Demand<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Demand<'_, O> {}

impl<O> Demand<'_, O> {
    /// When it has to have taken effect.
    pub(super) fn at(&self) -> Option<u64> {
        match self {
            Self::Answer { at, .. } | Self::Any { at } => Some(*at),
            Self::IfPlaced { .. } | Self::Nothing => None,
        }
    }

    /// Whether an operation may be placed where it answers `answer`. One that need not be
    /// placed is only worth it where it changes something.
    pub(super) fn is_met<S>(&self, specification: &S, answer: &O, changes: bool) -> bool
    where
        S: Specification<Output = O>,
    {
        match self {
            Self::Answer { output, .. } => specification.accepts(answer, output),
            Self::Any { .. } => true,
            Self::IfPlaced { output } => changes && specification.accepts(answer, output),
            Self::Nothing => changes,
        }
    }
}

/// How a search ended.
pub(super) enum Searched<State> {
    /// Positions among the items.
    Order(Vec<usize>),
    /// There is none.
    Stuck(Stuck<State>),
    /// More configurations than may be kept.
    Undecided,
}

/// How far a search came that found nothing.
pub(super) struct Stuck<State> {
    /// The item that could not be placed before it ended; every order fails there or before.
    pub(super) item: usize,
    /// Some of the orders that came so far, with the state after them.
    pub(super) reached: Vec<(Vec<usize>, State)>,
}

/// Ends of a search that are kept for the explanation.
pub(super) const REACHED_MAX: usize = 4;

/// An event in the list of those not placed. The head is number 0.
#[derive(Clone, Copy)]
struct Event {
    item: usize,
    is_call: bool,
    next: usize,
    before: usize,
    /// A call's return, if it has one.
    returns: Option<usize>,
}

const HEAD: usize = 0;

struct Search<'a, 's, S: Specification> {
    specification: &'s S,
    items: &'s [Item<'a, S::Input, S::Output>],
    events: Vec<Event>,
    placed: Placed,
    /// For an operation without demand: the one before it that asks the same.
    twins: Vec<Option<usize>>,
    state: S::State,
    /// Calls that were placed, with the state before each.
    order: Vec<(usize, S::State)>,
    seen: HashSet<(Box<[u32]>, S::State), FixedHash>,
    /// The last return that could not be passed.
    furthest: usize,
    /// The return at which orders are written down.
    noted: Option<usize>,
    reached: Vec<(Vec<usize>, S::State)>,
}

/// Looks for an order of `items`, keeping at most so many configurations.
pub(super) fn search<S: Specification>(
    specification: &S,
    items: &[Item<'_, S::Input, S::Output>],
    configurations_max: usize,
) -> Searched<S::State> {
    let mut first = Search::new(specification, items, None);
    match first.run(configurations_max) {
        Ended::Placed => Searched::Order(first.order_so_far()),
        Ended::Undecided => Searched::Undecided,
        Ended::Stuck => {
            // What leads there is worth writing down only once it is known where that is.
            let furthest = first.furthest;
            drop(first);
            let mut again = Search::new(specification, items, Some(furthest));
            again.run(configurations_max);
            Searched::Stuck(Stuck { item: again.events[furthest].item, reached: again.reached })
        }
    }
}

enum Ended {
    Placed,
    Stuck,
    Undecided,
}

impl<'a, 's, S: Specification> Search<'a, 's, S> {
    fn new(specification: &'s S, items: &'s [Item<'a, S::Input, S::Output>], noted: Option<usize>) -> Self {
        Self {
            specification,
            items,
            events: events(items),
            placed: Placed::new(items),
            twins: twins(items),
            state: specification.initial(),
            order: Vec::new(),
            seen: HashSet::default(),
            furthest: HEAD,
            noted,
            reached: Vec::new(),
        }
    }

    fn run(&mut self, configurations_max: usize) -> Ended {
        let mut at = self.events[HEAD].next;
        while self.placed.demanded < self.placed.demands {
            let event = self.events[at];
            if event.is_call {
                at = if self.place(at) { self.events[HEAD].next } else { event.next };
                if self.seen.len() > configurations_max {
                    return Ended::Undecided;
                }
                continue;
            }
            self.furthest = self.furthest.max(at);
            self.note(at);
            let Some(other) = self.put_back() else { return Ended::Stuck };
            at = self.events[other].next;
        }
        Ended::Placed
    }

    /// Places the call `at` next, if it answers as demanded and leads to something unseen.
    fn place(&mut self, at: usize) -> bool {
        let index = self.events[at].item;
        let item = &self.items[index];
        if self.twins[index].is_some_and(|twin| !self.placed.contains(twin)) {
            return false;
        }
        let mut state = self.state.clone();
        let answer = self.specification.apply(&mut state, item.input);
        let fits = item.demand.is_met(self.specification, &answer, state != self.state);
        if !fits {
            return false;
        }
        self.placed.insert(index);
        if !self.seen.insert((self.placed.key(), state.clone())) {
            self.placed.remove(index);
            return false;
        }
        self.order.push((at, std::mem::replace(&mut self.state, state)));
        self.take_out(at);
        true
    }

    /// Takes back the last call that was placed, and says which it was.
    fn put_back(&mut self) -> Option<usize> {
        let (at, state) = self.order.pop()?;
        self.state = state;
        self.placed.remove(self.events[at].item);
        self.put_in(at);
        Some(at)
    }

    fn take_out(&mut self, call: usize) {
        for at in [Some(call), self.events[call].returns].into_iter().flatten() {
            let Event { next, before, .. } = self.events[at];
            self.events[before].next = next;
            self.events[next].before = before;
        }
    }

    /// The reverse of the last [`Search::take_out`], in the reverse order.
    fn put_in(&mut self, call: usize) {
        for at in [self.events[call].returns, Some(call)].into_iter().flatten() {
            let Event { next, before, .. } = self.events[at];
            self.events[before].next = at;
            self.events[next].before = at;
        }
    }

    /// Writes down how it came to the return `at`, if that is wanted.
    fn note(&mut self, at: usize) {
        let wanted = self.noted == Some(at) && self.reached.len() < REACHED_MAX;
        if wanted && self.reached.iter().all(|(_, state)| *state != self.state) {
            self.reached.push((self.order_so_far(), self.state.clone()));
        }
    }

    fn order_so_far(&self) -> Vec<usize> {
        self.order.iter().map(|(at, _)| self.events[*at].item).collect()
    }
}

/// The list of all events behind its head; in a ring, so that the last one has a next.
fn events<I, O>(items: &[Item<'_, I, O>]) -> Vec<Event> {
    let calls = items.iter().enumerate().map(|(index, item)| (item.invoked, false, index));
    let returns = items.iter().enumerate().filter_map(|(index, item)| Some((item.demand.at()?, true, index)));
    let mut order: Vec<(u64, bool, usize)> = calls.chain(returns).collect();
    order.sort_unstable();
    let last = order.len();
    let mut events = Vec::with_capacity(last + 1);
    events.push(Event {
        item: usize::MAX,
        is_call: false,
        next: 1 % (last + 1),
        before: last,
        returns: None,
    });
    let mut call_of = vec![HEAD; items.len()];
    for (before, (_, is_return, item)) in order.into_iter().enumerate() {
        let at = before + 1;
        events.push(Event { item, is_call: !is_return, next: (at + 1) % (last + 1), before, returns: None });
        if is_return {
            events[call_of[item]].returns = Some(at);
        } else {
            call_of[item] = at;
        }
    }
    events
}

/// Of each item without demand the one before it that asks the same. Of two that ask the same
/// and end never, the first may as well be the first.
pub(super) fn twins<I: PartialEq, O>(items: &[Item<'_, I, O>]) -> Vec<Option<usize>> {
    let mut twins = vec![None; items.len()];
    let undemanded = |item: &Item<'_, I, O>| matches!(item.demand, Demand::Nothing);
    for (index, item) in items.iter().enumerate().filter(|(_, item)| undemanded(item)) {
        twins[index] = items[..index].iter().rposition(|twin| undemanded(twin) && twin.input == item.input);
    }
    twins
}

/// Which operations are placed, in a form whose key is short: operations with a demand are
/// placed almost in the order of their invocation.
struct Placed {
    is_placed: Vec<bool>,
    /// Of each item its number among those with a demand, or among those without.
    rank: Vec<u32>,
    is_demanded: Vec<bool>,
    /// Items with a demand.
    demands: usize,
    /// How many of them are placed.
    demanded: usize,
    /// Items with a demand by rank.
    by_rank: Vec<usize>,
    /// All with a demand and a lower rank are placed.
    base: usize,
    /// Bits of placed items without a demand.
    free: Vec<u32>,
    /// Ranks of placed items at or above `base`, ascending.
    ahead: Vec<u32>,
}

impl Placed {
    fn new<I, O>(items: &[Item<'_, I, O>]) -> Self {
        let is_demanded: Vec<bool> = items.iter().map(|item| item.demand.at().is_some()).collect();
        let (mut rank, mut by_rank, mut free) = (Vec::with_capacity(items.len()), Vec::new(), 0);
        for (index, demanded) in is_demanded.iter().enumerate() {
            if *demanded {
                rank.push(short(by_rank.len()));
                by_rank.push(index);
            } else {
                rank.push(free);
                free += 1;
            }
        }
        Self {
            is_placed: vec![false; items.len()],
            rank,
            is_demanded,
            demands: by_rank.len(),
            demanded: 0,
            by_rank,
            base: 0,
            free: vec![0; free.div_ceil(32) as usize],
            ahead: Vec::new(),
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.is_placed[index]
    }

    fn insert(&mut self, index: usize) {
        self.is_placed[index] = true;
        let rank = self.rank[index];
        if !self.is_demanded[index] {
            self.free[(rank / 32) as usize] |= 1 << (rank % 32);
            return;
        }
        self.demanded += 1;
        let at = self.ahead.partition_point(|other| *other < rank);
        self.ahead.insert(at, rank);
        let whole = self.by_rank[self.base..].iter().take_while(|index| self.is_placed[**index]).count();
        self.base += whole;
        self.ahead.drain(..whole);
    }

    fn remove(&mut self, index: usize) {
        self.is_placed[index] = false;
        let rank = self.rank[index];
        if !self.is_demanded[index] {
            self.free[(rank / 32) as usize] &= !(1 << (rank % 32));
            return;
        }
        self.demanded -= 1;
        let place = rank as usize;
        if place >= self.base {
            self.ahead.retain(|other| *other != rank);
            return;
        }
        // What follows it is placed, and ahead again.
        let behind = (place + 1..self.base).map(short);
        self.ahead.splice(..0, behind);
        self.base = place;
    }

    /// Equal for equal sets.
    fn key(&self) -> Box<[u32]> {
        let head = [short(self.base)];
        head.iter().chain(&self.free).chain(&self.ahead).copied().collect()
    }
}

fn short(rank: usize) -> u32 {
    u32::try_from(rank).expect("a history of fewer than four thousand million operations")
}
