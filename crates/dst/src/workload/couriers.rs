//! Actors that call others and wait for them, wherever they are.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use kelpie_core::id::{ActorId, NameError};
use kelpie_runtime::{Actor, CallError, HandlerError, RecordRange, Turn, TurnError, View};

use super::actors::{Answer, unknown};

/// All of them, for one process.
pub(super) fn all() -> [Arc<dyn Actor>; 2] {
    [Arc::new(Courier), Arc::new(Bin)]
}

/// `carry` a word to a bin (`<word> <bin>`), by way of another courier if one is named
/// (`<word> <bin> <courier>`): whoever carries calls the next one and waits; `carried` tells the words.
struct Courier;

/// `put` a word into it, with a number that came along or without; `contents` tells the words.
struct Bin;

fn of_type(actor_type: &str, key: &str) -> Result<ActorId, HandlerError> {
    let refused = |error: NameError| HandlerError::app("name", error.to_string());
    ActorId::new("default", actor_type, key).map_err(refused)
}

/// Keeps a word once more, each time in a record of its own.
async fn keep(turn: &mut Turn, word: &str) -> Result<(), HandlerError> {
    let last = turn.range(RecordRange::prefix(b"word/").reversed().limit(1)).await?;
    let next = last.first().map_or(0, |(record, _)| {
        String::from_utf8_lossy(&record[b"word/".len()..]).parse::<u64>().map_or(0, |last| last + 1)
    });
    turn.set(format!("word/{next:08}"), word.to_owned());
    Ok(())
}

async fn kept(view: &View) -> Result<Bytes, HandlerError> {
    let rows = view.range(RecordRange::prefix(b"word/")).await?;
    let words: Vec<_> = rows.iter().map(|(_, word)| String::from_utf8_lossy(word)).collect();
    Ok(Bytes::from(words.join(" ")))
}

impl Actor for Courier {
    fn actor_type(&self) -> &str {
        "courier"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "carried"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation != "carry" {
                return Err(unknown(operation));
            }
            let asked = String::from_utf8_lossy(payload);
            let words: Vec<&str> = asked.split(' ').collect();
            let (word, to, operation, rest) = match words[..] {
                [word, bin] => (word, of_type("bin", bin)?, "put", word.to_owned()),
                [word, bin, courier] if courier == turn.actor().key() => {
                    (word, of_type("bin", bin)?, "put", word.to_owned())
                }
                [word, bin, courier] => {
                    (word, of_type("courier", courier)?, "carry", format!("{word} {bin}"))
                }
                _ => return Err(HandlerError::app("carry", "say what to carry where")),
            };
            // Every other one is sent with a number that was drawn for it: the turn that runs again has
            // to call with the same.
            let rest = match word.bytes().map(u32::from).sum::<u32>() % 2 {
                0 if operation == "put" => format!("{rest} {}", turn.random_u64()),
                _ => rest,
            };
            let called = turn.call("next", to, operation, rest).await;
            if let Err(TurnError::Call(error)) = &called
                && let CallError::App { code, message, .. } = &**error
            {
                // Such as a turn that nobody could resume before its deadline: its refusal is this one's.
                return Err(HandlerError::app(code.clone(), message.clone()));
            }
            called?;
            keep(turn, word).await?;
            Ok(Bytes::from_static(b"carried"))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        kept(view).boxed()
    }
}

impl Actor for Bin {
    fn actor_type(&self) -> &str {
        "bin"
    }

    fn is_read(&self, operation: &str) -> bool {
        operation == "contents"
    }

    fn handle<'a>(&'a self, turn: &'a mut Turn, operation: &'a str, payload: &'a [u8]) -> Answer<'a> {
        async move {
            if operation != "put" {
                return Err(unknown(operation));
            }
            let words = String::from_utf8_lossy(payload);
            keep(turn, words.split(' ').next().unwrap_or_default()).await?;
            Ok(Bytes::from_static(b"put"))
        }
        .boxed()
    }

    fn read<'a>(&'a self, view: &'a View, _operation: &'a str, _payload: &'a [u8]) -> Answer<'a> {
        kept(view).boxed()
    }
}
