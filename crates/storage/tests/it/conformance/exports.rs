//! All rows of a store at one version, out of it and into an empty one; or a refusal that
//! says what to do instead.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use kelpie_storage::keys::end_of_keys;
use kelpie_storage::{Export, ExportError, ImportError, RowBatch, Store, Version};

use super::shorthand::{Rows, le, put, rows};
use super::world::{World, pause};

const KEYS: u64 = 30;

pub(crate) async fn an_export_is_of_one_version_or_refused(world: &World) {
    let store = world.open().await;
    change(&store, 1).await;
    let commits = world.times(30, 15) as u64;
    let (writer, env) = (store.clone(), world.env.clone());
    let writes = async move {
        for n in 2..commits {
            change(&writer, n).await;
            pause(&env).await;
        }
    };
    let (reader, env, rounds) = (store.clone(), world.env.clone(), world.times(6, 4));
    let reads = async move {
        for _ in 0..rounds {
            let Some((_, found)) = exported(&reader).await else { return };
            let values: Vec<_> = found.iter().map(|(_, value)| value[..8].to_vec()).collect();
            assert!(values.iter().all(|value| *value == values[0]), "a part of a commit: {values:?}");
            assert!(found.is_sorted_by(|a, b| a.0 < b.0), "not in key order");
            assert_eq!(found.len() as u64, KEYS, "rows are missing");
            pause(&env).await;
        }
    };
    futures::join!(world.at_once([writes]), world.at_once([reads]));
}

/// One commit that gives all keys one value, also by clearing them before.
async fn change(store: &Store, n: u64) {
    let mut tx = store.begin();
    tx.clear_range("k/", "k0");
    for key in 0..KEYS {
        tx.set(format!("k/{key:02}"), [&le(n)[..], &[0; 300]].concat());
    }
    tx.commit().await.unwrap();
}

/// All rows and their version; nothing where the backend has a better way.
async fn exported(store: &Store) -> Option<(Version, Rows)> {
    match store.export().await {
        Ok(export) => {
            let batches: Vec<RowBatch> = export.batches.try_collect().await.unwrap();
            Some((export.version, batches.concat()))
        }
        Err(ExportError::Refused { instead }) => {
            assert!(!instead.is_empty(), "refused without saying what to do");
            None
        }
        Err(
            error @ (ExportError::Unavailable(_) | ExportError::Generation(_) | ExportError::Backup { .. }),
        ) => panic!("{error:?}"),
    }
}

/// The version of what is imported: far ahead.
const VERSION: Version = 1 << 50;

fn export(batches: Vec<Result<RowBatch, ExportError>>) -> Export {
    Export { version: VERSION, batches: futures::stream::iter(batches).boxed() }
}

fn whole(rows: &Rows) -> Export {
    export(rows.chunks(33).map(|batch| Ok(batch.to_vec())).collect())
}

pub(crate) async fn an_import_fills_an_empty_store_or_is_refused(world: &World) {
    let store = world.open().await;
    let copied: Rows = (0..200u32).map(|n| (n.to_be_bytes().to_vec().into(), vec![7; 500].into())).collect();
    refused_as_a_whole(&store, &copied).await;
    match store.import(whole(&copied)).await {
        Ok(()) => {
            let store = world.reopen(store).await;
            assert!(rows(&store, "").await == copied, "not what was imported");
            let mut tx = store.begin();
            tx.set_versionstamped_key(vec![b'z'; 10], 0, "1");
            let version = tx.commit().await.unwrap().version.unwrap();
            assert!(version > VERSION, "{version} is not later than what was imported");
        }
        Err(ImportError::Refused { instead }) => {
            assert!(!instead.is_empty() && rows(&store, "").await.is_empty(), "refused, and not empty");
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// Into a store that holds a row, and from an export that ends too early.
async fn refused_as_a_whole(store: &Store, copied: &Rows) {
    put(store, "there", "already").await.unwrap();
    let refused = store.import(whole(copied)).await;
    assert!(matches!(refused, Err(ImportError::NotEmpty | ImportError::Refused { .. })), "{refused:?}");
    assert_eq!(rows(store, "").await, [("there".into(), "already".into())]);
    let mut tx = store.begin();
    tx.clear_range(Bytes::new(), end_of_keys());
    tx.commit().await.unwrap();
    let cut = ExportError::Unavailable(kelpie_storage::Outage::Closed);
    let refused = store.import(export(vec![Ok(copied[..50].to_vec()), Err(cut)])).await;
    assert!(matches!(refused, Err(ImportError::Source(_) | ImportError::Refused { .. })), "{refused:?}");
    assert_eq!(rows(store, "").await, [], "a part of an import");
}
