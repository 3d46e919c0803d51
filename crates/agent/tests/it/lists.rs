//! Lists and their pages.

use kelpie_agent::query::{AgentQuery, Order, Page, Scope};
use kelpie_agent::record::{CreateAgent, UpdateAgent};
use kelpie_agent::service::Agents;
use kelpie_core::call::Caller;

use crate::world::{World, create, lines, scope, send};

fn page(before: Option<&str>, after: Option<&str>, limit: usize, order: Order) -> Page {
    Page { before: before.map(Into::into), after: after.map(Into::into), limit, order }
}

async fn names(agents: &Agents, query: AgentQuery) -> String {
    let found = agents.list(&scope(), &query).await.unwrap();
    found.into_iter().map(|agent| agent.name).collect::<Vec<_>>().join("")
}

#[test]
fn agents_are_listed_by_creation_name_and_tag() {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let mut ids = Vec::new();
        for (name, tags) in [("a", "x"), ("b", "xy"), ("c", "y"), ("d", ""), ("a", "y")] {
            let tags = tags.chars().map(String::from).collect();
            let create = CreateAgent { name: Some(name.into()), tags, ..CreateAgent::default() };
            ids.push(agents.create(&scope(), None, create).await.unwrap().id);
            world.node.env().sleep(std::time::Duration::from_millis(5)).await;
        }
        let by = |page: Page| AgentQuery { page, ..AgentQuery::default() };
        let (up, down) = (Order::Ascending, Order::Descending);
        assert_eq!(names(&agents, by(page(None, None, 9, up))).await, "abcda");
        assert_eq!(names(&agents, by(page(None, None, 2, down))).await, "ad");
        assert_eq!(names(&agents, by(page(None, Some(&ids[1]), 2, up))).await, "cd");
        assert_eq!(names(&agents, by(page(None, Some(&ids[3]), 2, down))).await, "cb");
        assert_eq!(
            names(&agents, by(page(Some(&ids[3]), None, 2, up))).await,
            "bc",
            "the nearest ones, in order"
        );
        let tagged = |tags: &str, match_all_tags| AgentQuery {
            page: page(None, None, 9, up),
            tags: tags.chars().map(String::from).collect(),
            match_all_tags,
            ..AgentQuery::default()
        };
        assert_eq!(names(&agents, tagged("x", false)).await, "ab");
        assert_eq!(names(&agents, tagged("xy", false)).await, "abca");
        assert_eq!(names(&agents, tagged("xy", true)).await, "b");
        let named =
            AgentQuery { name: Some("a".into()), page: page(None, None, 9, up), ..AgentQuery::default() };
        assert_eq!(names(&agents, named.clone()).await, "aa");
        let rename = UpdateAgent { name: Some("z".into()), ..UpdateAgent::default() };
        agents.update(&scope(), &ids[0], None, rename).await.unwrap();
        assert_eq!(names(&agents, named.clone()).await, "a");
        agents.delete(&scope(), &ids[4], None).await.unwrap();
        assert_eq!(names(&agents, named).await, "");
        assert_eq!(
            names(&agents, by(page(Some(&ids[4]), None, 2, up))).await,
            "cd",
            "a cursor outlives its agent"
        );
    });
}

#[test]
fn agents_of_another_tenant_do_not_exist() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let caller = Caller::Principal { tenant: "other".into(), principal: "anonymous".into() };
        let other = Scope { tenant: "other".into(), caller, trace: None };
        assert!(agents.list(&other, &AgentQuery::default()).await.unwrap().is_empty());
        assert!(agents.get(&other, &agent).await.is_err());
    });
}

#[test]
fn messages_are_paged_from_both_ends_by_id() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for number in 0..4 {
            send(&agents, &agent, &format!("{number}"), &format!("say {number}")).await;
        }
        let list = async |page: Page| agents.messages(&scope(), &agent, &page).await.unwrap();
        let all = list(page(None, None, 100, Order::Ascending)).await;
        assert_eq!(all.len(), 8);
        let newest = list(page(None, None, 3, Order::Descending)).await;
        assert_eq!(lines(&newest), ["agent: 3", "user: say 3", "agent: 2"]);
        for order in [Order::Ascending, Order::Descending] {
            let mut sorted = all.clone();
            if order == Order::Descending {
                sorted.reverse();
            }
            for (at, message) in sorted.iter().enumerate() {
                let after = list(page(None, Some(&message.id), 3, order)).await;
                assert_eq!(after, sorted[at + 1..(at + 4).min(8)], "after {at}");
                let before = list(page(Some(&message.id), None, 3, order)).await;
                assert_eq!(before, sorted[at.saturating_sub(3)..at], "before {at}");
            }
        }
        let unknown =
            agents.messages(&scope(), &agent, &page(None, Some("message-x"), 3, Order::Ascending)).await;
        assert!(unknown.is_err());
        let runs = agents.runs(&scope(), &agent, &page(None, None, 2, Order::Descending)).await.unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(Some(&runs[0].id), all.last().map(|message| &message.run_id));
    });
}
