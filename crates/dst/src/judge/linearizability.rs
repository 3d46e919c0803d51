//! Each actor on its own: its calls have an order that explains all answers.

use crate::check::spec::{
    Counter, CounterInput, Register, RegisterInput, RegisterOutput, SetInput, SetOf, SetOutput,
};
use crate::check::{Linearizability, Operation, Outcome, Specification};
use crate::cluster::PEEK;
use crate::history::{Call, Ended, History};
use crate::workload::{Outside, UNWRITTEN};

pub(super) fn judge(history: &History, _: &Outside, found: &mut Vec<String>) {
    counters(history, found);
    logs(history, found);
    boards(history, found);
    registers(history, found);
    sets(history, found);
}

fn counters(history: &History, found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("counter") {
        let operations = operations(
            &calls,
            |call| match call.operation.as_str() {
                "add" => call.payload.parse().ok().map(CounterInput::Add),
                "get" | PEEK => Some(CounterInput::Get),
                _ => None,
            },
            |_, reply| match reply {
                // A record that nobody has written yet.
                "" => Ok(0),
                reply => reply.parse::<i64>().map_err(|_| format!("{reply:?} is not a number")),
            },
            found,
        );
        if let Err(error) = Linearizability::new(Counter::default()).check(&operations) {
            found.push(format!("counter/{key}: {error}"));
        }
    }
}

fn logs(history: &History, found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("log") {
        let operations = operations(
            &calls,
            |call| match call.operation.as_str() {
                "append" => Some(LogInput::Append(call.payload.clone())),
                "read" => Some(LogInput::Read),
                _ => None,
            },
            |_, reply| Ok(reply.to_owned()),
            found,
        );
        if let Err(error) = Linearizability::new(Words).check(&operations) {
            found.push(format!("log/{key}: {error}"));
        }
    }
}

/// What people write into memory of an agent: a block, and an entry of working memory.
fn boards(history: &History, found: &mut Vec<String>) {
    for (what, write, read) in [("board", "write", "read"), ("working memory", "set", "get")] {
        board(history, what, (write, read), found);
    }
}

fn board(history: &History, what: &str, (write, read): (&str, &str), found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("agent") {
        let operations = operations(
            &calls,
            |call| match call.operation.as_str() {
                operation if operation == write => Some(RegisterInput::Write(call.payload.clone())),
                operation if operation == read => Some(RegisterInput::Read),
                _ => None,
            },
            |input, reply| {
                Ok(match input {
                    RegisterInput::Write(_) => RegisterOutput::Written,
                    RegisterInput::Read | RegisterInput::CompareAndSet { .. } => {
                        RegisterOutput::Value(Some(reply.to_owned()))
                    }
                })
            },
            found,
        );
        let board = Register::holding(String::new());
        if let Err(error) = Linearizability::new(board).check(&operations) {
            found.push(format!("the {what} of agent/{key}: {error}"));
        }
    }
}

fn registers(history: &History, found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("register") {
        let operations = operations(
            &calls,
            |call| match call.operation.as_str() {
                "write" => Some(RegisterInput::Write(call.payload.clone())),
                "read" => Some(RegisterInput::Read),
                "compare-and-set" => {
                    let (old, new) = call.payload.split_once(' ')?;
                    Some(RegisterInput::CompareAndSet { old: Some(old.to_owned()), new: new.to_owned() })
                }
                _ => None,
            },
            |input, reply| {
                Ok(match input {
                    RegisterInput::Write(_) => RegisterOutput::Written,
                    RegisterInput::Read => RegisterOutput::Value(Some(reply.to_owned())),
                    RegisterInput::CompareAndSet { .. } => RegisterOutput::Set(is_so(reply)?),
                })
            },
            found,
        );
        if let Err(error) = Linearizability::new(Register::holding(UNWRITTEN.to_owned())).check(&operations) {
            found.push(format!("register/{key}: {error}"));
        }
    }
}

fn sets(history: &History, found: &mut Vec<String>) {
    for (key, calls) in history.by_actor("set") {
        let operations = operations(
            &calls,
            |call| match call.operation.as_str() {
                "insert" => Some(SetInput::Insert(call.payload.clone())),
                "remove" => Some(SetInput::Remove(call.payload.clone())),
                "contains" => Some(SetInput::Contains(call.payload.clone())),
                "all" => Some(SetInput::All),
                _ => None,
            },
            |input, reply| {
                Ok(match input {
                    SetInput::All => SetOutput::All(reply.split_whitespace().map(str::to_owned).collect()),
                    SetInput::Insert(_) | SetInput::Remove(_) | SetInput::Contains(_) => {
                        SetOutput::Was(is_so(reply)?)
                    }
                })
            },
            found,
        );
        if let Err(error) = Linearizability::new(SetOf::default()).check(&operations) {
            found.push(format!("set/{key}: {error}"));
        }
    }
}

fn is_so(reply: &str) -> Result<bool, String> {
    match reply {
        "yes" => Ok(true),
        "no" => Ok(false),
        reply => Err(format!("{reply:?} is neither yes nor no")),
    }
}

/// What the checker is to explain. Calls that had no effect have no place in it.
fn operations<I, O>(
    calls: &[&Call],
    input: impl Fn(&Call) -> Option<I>,
    output: impl Fn(&I, &str) -> Result<O, String>,
    found: &mut Vec<String>,
) -> Vec<Operation<I, O>> {
    let mut operations = Vec::new();
    for call in calls.iter().filter(|call| call.may_have_happened()) {
        let Some(input) = input(call) else { continue };
        let outcome = match &call.ended {
            Some(Ended::Reply(reply)) => match output(&input, reply) {
                Ok(output) => Outcome::Answered { output, at: instant(call.ended_at) },
                Err(error) => {
                    found.push(format!("{}: {error}", call.key));
                    continue;
                }
            },
            None | Some(Ended::Unknown | Ended::App(_) | Ended::NotRun(_) | Ended::Fix(_)) => {
                Outcome::Unknown
            }
        };
        operations.push(Operation {
            client: u64::from(call.client),
            input,
            invoked: instant(call.asked_at),
            outcome,
        });
    }
    operations
}

fn instant(at: std::time::Duration) -> u64 {
    u64::try_from(at.as_nanos()).expect("no run takes five hundred years")
}

/// A list of words: an append answers the place of its word, a read all words.
struct Words;

#[derive(Debug, PartialEq)]
enum LogInput {
    Append(String),
    Read,
}

impl Specification for Words {
    type State = Vec<String>;
    type Input = LogInput;
    type Output = String;

    fn initial(&self) -> Vec<String> {
        Vec::new()
    }

    fn apply(&self, words: &mut Vec<String>, input: &LogInput) -> String {
        match input {
            LogInput::Append(word) => {
                words.push(word.clone());
                (words.len() - 1).to_string()
            }
            LogInput::Read => words.join(" "),
        }
    }
}
