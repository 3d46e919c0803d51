use crate::world::World;

#[tokio::test]
async fn the_description_names_every_route_and_its_fields() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await.ok();
    let paths = description["paths"].as_object().unwrap();
    for (path, method) in [
        ("/v1/health", "get"),
        ("/v1/agents/", "post"),
        ("/v1/agents/{agent_id}", "patch"),
        ("/v1/agents/{agent_id}/messages", "post"),
        ("/v1/agents/{agent_id}/messages/stream", "post"),
        ("/v1/agents/{agent_id}/core-memory/blocks/{label}", "patch"),
        ("/v1/blocks/{block_id}/undo", "post"),
        ("/v1/agents/{agent_id}/working-memory/{key}", "put"),
        ("/v1/models/", "get"),
        ("/v1/actors/{type}", "get"),
        ("/v1/actors/{type}/{key}/{handler}", "post"),
        ("/v1/actors/{type}/{key}/state", "get"),
        ("/v1/actors/{type}/{key}/why", "get"),
        ("/v1/actors/{type}/{key}/history", "get"),
        ("/v1/actors/{type}/{key}/owner/migrate", "post"),
        ("/v1/actors/{type}/{key}/turns/{turn}/cancel", "post"),
        ("/v1/cluster/nodes/{node}/actors", "get"),
        ("/v1/store/stats", "get"),
        ("/v1/store/backup", "get"),
        ("/v1/store/checkpoint", "post"),
    ] {
        assert!(paths[path][method].is_object(), "{method} {path}");
    }
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for schema in
        ["AgentState", "CreateAgent", "Message", "LettaResponse", "ErrorBody", "SendMessages", "StoreStats"]
    {
        assert!(schemas.contains_key(schema), "{schema}");
    }
}
