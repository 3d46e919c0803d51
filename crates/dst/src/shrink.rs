//! Finds a small schedule that still fails.

use crate::run::{UnknownScenario, Verdict, run};
use crate::schedule::{Fault, Placing, Schedule};

/// What a shrink came to.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest schedule found.
    pub schedule: Schedule,
    /// Its verdict.
    pub verdict: Verdict,
    /// How many runs it took.
    pub runs: u32,
}

/// Takes parts out of a failing schedule as long as the same invariant is violated: first
/// faults, then operations, then how actors are placed and of which builds machines are, then machines; then it shortens what is left. Delta debugging
/// (Zeller and Hildebrandt, IEEE TSE 2002) on each list. Nothing if the schedule does not
/// fail.
///
/// # Errors
/// When there is no workload of the schedule's name.
pub fn shrink(schedule: &Schedule, runs_max: u32) -> Result<Option<Shrunk>, UnknownScenario> {
    let verdict = run(schedule)?;
    let Some(violation) = verdict.violations.first() else { return Ok(None) };
    let mut shrinking = Shrinking {
        invariant: violation.invariant,
        best: Shrunk { schedule: schedule.clone(), verdict, runs: 1 },
        runs_max,
    };
    loop {
        let before = size(&shrinking.best.schedule);
        shrinking
            .fewer(|schedule| schedule.faults.len(), |schedule, keep| retain(&mut schedule.faults, keep));
        shrinking.fewer(
            |schedule| schedule.operations.len(),
            |schedule, keep| retain(&mut schedule.operations, keep),
        );
        shrinking.plainer();
        shrinking.fewer_nodes();
        shrinking.shorter();
        if size(&shrinking.best.schedule) == before || shrinking.best.runs >= runs_max {
            return Ok(Some(shrinking.best));
        }
    }
}

/// By what a schedule gets smaller.
fn size(schedule: &Schedule) -> (usize, usize, u32, u64) {
    let time = schedule.faults.iter().map(|fault| fault.at_ms + fault.for_ms).sum::<u64>()
        + schedule.operations.iter().map(|operation| operation.after_ms).sum::<u64>();
    (schedule.faults.len(), schedule.operations.len(), schedule.nodes, time)
}

fn retain<T>(items: &mut Vec<T>, keep: &dyn Fn(usize) -> bool) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        keep(index - 1)
    });
}

struct Shrinking {
    invariant: &'static str,
    best: Shrunk,
    runs_max: u32,
}

impl Shrinking {
    /// Keeps `candidate` if it fails in the same way.
    fn accept(&mut self, candidate: Schedule) -> bool {
        if self.best.runs >= self.runs_max {
            return false;
        }
        self.best.runs += 1;
        let Ok(verdict) = run(&candidate) else { return false };
        let fails = verdict.violations.iter().any(|violation| violation.invariant == self.invariant);
        if fails {
            self.best.schedule = candidate;
            self.best.verdict = verdict;
        }
        fails
    }

    /// Leaves out chunks of a list, large ones first.
    fn fewer(
        &mut self,
        length: impl Fn(&Schedule) -> usize,
        retain: impl Fn(&mut Schedule, &dyn Fn(usize) -> bool),
    ) {
        let mut chunk = length(&self.best.schedule).div_ceil(2);
        while chunk > 0 {
            let mut begin = 0;
            while begin < length(&self.best.schedule) {
                let mut candidate = self.best.schedule.clone();
                retain(&mut candidate, &|index| !(begin..begin + chunk).contains(&index));
                if !self.accept(candidate) {
                    begin += chunk;
                }
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
    }

    /// Without what machines and actors want for themselves.
    fn plainer(&mut self) {
        let parts: [fn(&mut Schedule); 2] =
            [|schedule| schedule.placing = Placing::default(), |schedule| schedule.old_builds.clear()];
        for part in parts {
            let mut candidate = self.best.schedule.clone();
            part(&mut candidate);
            if candidate != self.best.schedule {
                self.accept(candidate);
            }
        }
    }

    fn fewer_nodes(&mut self) {
        while self.best.schedule.nodes > 1 {
            let mut candidate = self.best.schedule.clone();
            candidate.nodes -= 1;
            if !self.accept(candidate) {
                return;
            }
        }
    }

    /// Halves times as long as that goes.
    fn shorter(&mut self) {
        for index in 0..self.best.schedule.faults.len() {
            let parts: [fn(&mut Fault) -> &mut u64; 2] =
                [|fault| &mut fault.at_ms, |fault| &mut fault.for_ms];
            for part in parts {
                loop {
                    let mut candidate = self.best.schedule.clone();
                    let time = part(&mut candidate.faults[index]);
                    *time = (*time / 2).max(1);
                    if candidate == self.best.schedule || !self.accept(candidate) {
                        break;
                    }
                }
            }
        }
        for index in 0..self.best.schedule.operations.len() {
            let mut candidate = self.best.schedule.clone();
            candidate.operations[index].after_ms /= 2;
            if candidate != self.best.schedule {
                self.accept(candidate);
            }
        }
    }
}
