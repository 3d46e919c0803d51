use axum::http::{Method, StatusCode};
use kelpie_server::options::{Options, StartError, Token};
use serde_json::{Value, json};

use crate::world::World;

async fn status(world: &World, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    world.call(Method::GET, path, &Value::Null, headers).await.status
}

#[tokio::test]
async fn with_a_token_nobody_comes_in_without_it() {
    let options = Options { token: Some(Token::new("s3cret").unwrap()), ..Options::default() };
    let world = World::with(options).await;
    for header in [
        None,
        Some("Bearer wrong"),
        Some("s3cret"),
        Some("Basic s3cret"),
        Some("Bearer s3cretx"),
        Some("Bearer"),
    ] {
        let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        let reply = world.call(Method::POST, "/v1/agents/", &json!({}), &headers).await;
        reply.refused(StatusCode::UNAUTHORIZED);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(status(&world, "/metrics", &headers).await, StatusCode::UNAUTHORIZED);
    }
    for value in ["Bearer s3cret", "bearer s3cret"] {
        let headers = [("authorization", value), ("host", "kelpie.example.com")];
        assert_eq!(status(&world, "/v1/agents/count", &headers).await, StatusCode::OK);
    }
    assert_eq!(status(&world, "/health", &[]).await, StatusCode::OK);
    assert_eq!(status(&world, "/ready/", &[]).await, StatusCode::OK);
}

#[tokio::test]
async fn without_a_token_only_this_machine_s_names_and_pages_come_in() {
    let world = World::new().await;
    for (headers, expected) in [
        (vec![("host", "localhost:8283")], StatusCode::OK),
        (vec![("host", "evil.example.com")], StatusCode::FORBIDDEN),
        (vec![("host", "127.0.0.1:8283"), ("origin", "http://127.0.0.1:8283")], StatusCode::OK),
        (vec![("host", "127.0.0.1:8283"), ("origin", "http://evil.example.com")], StatusCode::FORBIDDEN),
        (vec![("host", "127.0.0.1:8283"), ("origin", "null")], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(status(&world, "/v1/agents/count", &headers).await, expected, "{headers:?}");
    }
}

#[test]
fn other_machines_are_let_in_with_a_token_only() {
    let open = Options::default();
    let closed = Options { token: Some(Token::new("x").unwrap()), ..Options::default() };
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
        assert_eq!(open.check(address.parse().unwrap()), Ok(()));
    }
    for address in ["0.0.0.0:1", "192.168.1.2:1", "[::]:1"] {
        let address = address.parse().unwrap();
        let error = open.check(address).unwrap_err();
        assert_eq!(error, StartError::TokenNeeded { address });
        assert!(error.to_string().contains("KELPIE_TOKEN"), "{error}");
        assert_eq!(closed.check(address), Ok(()));
    }
    assert!(Token::new("").is_err() && Token::new("a b").is_err());
    assert_eq!(format!("{:?}", Token::new("s3cret").unwrap()), "Token(…)");
}

#[tokio::test]
async fn beyond_its_room_the_server_refuses_and_says_when_to_come_back() {
    let world = World::with(Options { requests_max: 1, ..Options::default() }).await;
    let id = world.agent_with("moody/waits").await;
    let path = format!("/v1/agents/{id}/messages/stream");
    let stream = world.post(&path, json!({"input": "hello"}));
    let others = async {
        world.front.env().sleep(std::time::Duration::from_millis(200)).await;
        let reply = world.get("/v1/agents/count").await;
        reply.refused(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.json()["advice"], "not_run");
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(status(&world, "/health", &[]).await, StatusCode::OK);
        world.go.add_permits(9);
    };
    let (reply, ()) = futures::join!(stream, others);
    reply.events();
    world.get("/v1/agents/count").await.ok();
}
