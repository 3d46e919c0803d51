use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

/// The methods and paths of the first table of the guide.
fn routes() -> Vec<(Vec<Method>, Vec<String>)> {
    let guide = include_str!("../../../../docs/guide/http.md");
    let (_, table) = guide.split_once("|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let row = |row: &str| {
        let cell = row.split('|').nth(1).unwrap();
        let (methods, paths) = cell.split_once('`').unwrap();
        let methods = methods.split(',').map(|method| method.trim().parse().unwrap()).collect();
        let paths = paths.split('`').filter(|path| path.starts_with('/')).map(str::to_owned).collect();
        (methods, paths)
    };
    table.lines().map(row).collect()
}

#[tokio::test]
async fn every_route_of_the_guide_is_there() {
    let world = World::new().await;
    let mut count = 0;
    for (methods, paths) in routes() {
        for (method, path) in methods.iter().flat_map(|method| paths.iter().map(move |path| (method, path))) {
            let reply = world.call(method.clone(), path, &Value::Null, &[]).await;
            assert_ne!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            if reply.status == StatusCode::NOT_FOUND {
                let code = reply.json()["code"].clone();
                assert!(code != json!("route.unknown"), "{method} {path}: {code}");
            }
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}
