//! A commit happens as a whole or not at all.

use bytes::Bytes;
use kelpie_storage::{CommitError, LimitError, RangeQuery, ReadError, Store};

use super::shorthand::{gave_way, le, number, put, rows, try_pages, value};
use super::world::{World, pause};

const KEYS: u8 = 8;

fn key(n: u8) -> Bytes {
    Bytes::from(format!("whole/{n}"))
}

pub(crate) async fn a_commit_is_seen_whole_or_not_at_all(world: &World) {
    let store = world.open().await;
    let commits = world.times(30, 15) as u64;
    let other = world.other_client(&store).await;
    let readers = (0..4u64).map(|reader| {
        let (store, env) = (if reader % 2 == 0 { store.clone() } else { other.clone() }, world.env.clone());
        async move {
            let mut newest = 0;
            while newest < commits {
                let seen = match seen(&store, reader).await {
                    Err(error) if gave_way(&error) => continue,
                    seen => seen.unwrap(),
                };
                assert!(seen >= newest, "went back from {newest} to {seen}");
                newest = seen;
                pause(&env).await;
            }
        }
    });
    let (writer, env) = (store.clone(), world.env.clone());
    let writes = async move {
        for n in 1..=commits {
            let mut tx = writer.begin();
            if n % 3 == 0 {
                tx.clear_range("whole/", "whole0");
            }
            (0..KEYS).for_each(|k| tx.set(key(k), le(n)));
            tx.commit().await.unwrap();
            pause(&env).await;
        }
    };
    futures::join!(world.at_once(readers), world.at_once([writes]));
}

/// The one number that all keys hold, read in one of several ways.
async fn seen(store: &Store, way: u64) -> Result<u64, ReadError> {
    let mut tx = store.begin();
    let values: Vec<Option<Bytes>> = match way {
        0 => tx.get_many(&(0..KEYS).map(key).collect::<Vec<_>>()).await?,
        1 => {
            let mut rows = try_pages(&mut tx, RangeQuery::prefix(b"whole/").limit(3)).await?.into_iter();
            (0..KEYS).map(|_| rows.next().map(|(_, value)| value)).collect()
        }
        _ => {
            let mut values = Vec::new();
            for n in 0..KEYS {
                values.push(tx.get(&key(n)).await?);
            }
            values
        }
    };
    assert!(values.iter().all(|value| *value == values[0]), "a part of a commit: {values:?}");
    Ok(number(values[0].as_ref()))
}

pub(crate) async fn nothing_is_left_of_what_was_not_committed(world: &World) {
    let store = world.open().await;
    let mut dropped = store.begin();
    dropped.get(b"x").await.unwrap();
    dropped.set("x/dropped", "1");
    drop(dropped);

    let mut refused = store.begin();
    refused.get(b"y").await.unwrap();
    put(&store, "y", "theirs").await.unwrap();
    refused.set("y", "ours");
    refused.set("x/refused", "1");
    assert!(matches!(refused.commit().await, Err(CommitError::Conflict)));

    let mut large = store.begin();
    large.set("x/beside", "1");
    large.set_versionstamped_key(b"x/short".to_vec(), 2, "1");
    let ended = large.commit().await;
    assert!(matches!(ended, Err(CommitError::Limit(LimitError::Versionstamp { .. }))), "{ended:?}");

    assert_eq!(rows(&store, "x/").await, []);
    assert_eq!(value(&store, b"y").await.unwrap(), "theirs");
    let store = world.reopen(store).await;
    assert_eq!(rows(&store, "x/").await, [], "after reopening");
}
