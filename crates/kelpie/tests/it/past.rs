//! `kelpie agent history`, `fork` and `replay`, as the guide shows them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::guide::{blocks, words};
use crate::process::{Plan, client, create_agent, get, kelpie, output, post, says, text};

const SECTION: &str = "Looking back: history, fork, replay";

#[tokio::test]
async fn the_guide_s_commands_look_back_fork_and_replay() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(dir.path()).await;
    let (server, url, http) = (plan.start().await, plan.url(), client());
    let ada = create_agent(&http, &url, "ada", &[]).await;
    let messages = format!("{url}/v1/agents/{ada}/messages");
    for (key, said) in [("1", "Remember that my favourite tea is Assam."), ("2", "What do you remember?")] {
        let (status, body) = post(&http, &messages, key, &says(said)).await.expect("the server answers");
        assert_eq!(status, 200, "{}", text(&body));
    }
    let runs = get(&http, &format!("{url}/v1/runs/?agent_id={ada}&order=asc")).await;
    let first = runs[0]["id"].as_str().expect("an id").to_owned();
    let at = async |args: &[String]| {
        let mut command = kelpie(&[]);
        command.args(args).env("KELPIE_SERVER", &url);
        output(command, Duration::from_secs(60)).await
    };
    let section = blocks(SECTION, "sh");
    let commands: Vec<Vec<String>> = section[0].lines().map(words).collect();
    assert_eq!(commands.len(), 7, "{commands:?}");
    let mut said = Vec::new();
    for command in &commands {
        let command: Vec<String> =
            command.iter().map(|word| if word == "RUN" { first.clone() } else { word.clone() }).collect();
        let done = at(&command).await;
        assert_eq!(done.status.code(), Some(0), "{command:?}: {}{}", text(&done.stdout), text(&done.stderr));
        said.push(text(&done.stdout));
    }
    let [history, forked, early, replayed, one, undone, before] = &said[..] else { panic!("{said:#?}") };
    for part in
        ["user: Remember that my favourite tea is Assam.", "  step 1", "calls core_memory_append", "end_turn"]
    {
        assert!(history.contains(part), "{part:?} is missing in\n{history}");
    }
    assert!(history.find("Remember that").expect("it") < history.find("What do you remember").expect("it"));
    assert!(forked.contains("made ada-fork (agent-") && early.contains(&first), "{forked}{early}");
    assert_eq!(replayed.lines().count(), 2, "{replayed}");
    assert!(replayed.contains("the same in") && one.starts_with(&first), "{replayed}{one}");
    assert!(undone.starts_with("human says again:") && !undone.contains("Assam"), "{undone}");
    assert_eq!(before, "", "nothing more can be taken back");
    let known = text(&at(&words("kelpie agents show ada-fork")).await.stdout);
    assert!(known.contains("Assam"), "{known}");

    // A tool that the agent has lost: the step that called it turns out otherwise.
    let lost = json!({ "tool_ids": [] });
    let answer = http.patch(format!("{url}/v1/agents/{ada}")).json(&lost).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let differs = at(&words("kelpie agent replay ada")).await;
    let said = text(&differs.stdout);
    assert_eq!(differs.status.code(), Some(1), "{said}");
    let why = "step 1, core_memory_append: recorded: made; now: refused (the tool \"core_memory_append\" was not called";
    assert!(said.contains(&format!("{first}  differs")) && said.contains(why), "{said}");
    let json = at(&words("kelpie agent replay ada --json")).await;
    assert_eq!(json.status.code(), Some(1));
    let replays: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(replays[0]["steps"][0]["calls"][0]["replayed"], "refused", "{replays:#}");
    let gone = at(&words("kelpie agent replay nobody")).await;
    assert_eq!(gone.status.code(), Some(4), "{}", text(&gone.stderr));
    server.kill().await;
}
