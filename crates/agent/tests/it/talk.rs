//! Conversations: what is said, remembered, called and answered.

use futures::StreamExt;
use kelpie_agent::event::RunEventKind;
use kelpie_agent::query::{SendOptions, WatchOptions};
use kelpie_core::run::StopReason;

use crate::world::{World, create, history, lines, say, scope, send};

/// Runs one conversation and gives the lines of its history.
fn conversation(messages: &[&str]) -> Vec<String> {
    let world = World::new(1);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        for (number, text) in messages.iter().enumerate() {
            send(&agents, &agent, &format!("message {number}"), text).await;
        }
        history(&agents, &agent).await
    })
}

#[test]
fn a_message_is_answered() {
    assert_eq!(conversation(&["say hello"]), ["user: say hello", "agent: hello"]);
    assert_eq!(conversation(&["plain text"]), ["user: plain text", "agent: echo plain text"]);
}

#[test]
fn memory_tools_change_the_agent_in_the_turn_that_records_the_call() {
    let world = World::new(2);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let edit = "call core_memory_append {\"label\":\"human\",\"content\":\"likes tea\"} and core_memory_replace \
                    {\"label\":\"human\",\"old_content\":\"?\",\"new_content\":\"Kai\"} and send_message {\"message\":\"noted\"}";
        let result = send(&agents, &agent, "1", edit).await;
        assert_eq!(result.stop_reason, StopReason::EndTurn);
        assert_eq!(result.usage.steps, 1, "the run ends with the message: {:?}", lines(&result.messages));
        let human = agents.block(&scope(), &agent, "human").await.unwrap();
        assert_eq!(human.value, "Name: Kai\nlikes tea");
        send(&agents, &agent, "2", "say bye").await;
        let requests = world.asked.requests.lock();
        assert!(requests.last().unwrap().system.contains("Name: Kai\nlikes tea"));
    });
}

#[test]
fn errors_of_tools_are_told_to_the_model_which_goes_on() {
    let got = conversation(&["call core_memory_append {\"label\":\"nobody\",\"content\":\"x\"}\n\
         call core_memory_append {\"label\":\"human\"\n\
         call no_such_tool {}\n\
         call broken {}\n\
         say enough"]);
    insta::assert_snapshot!(got[1..].join("\n"), @r#"
    calls core_memory_append {"label":"nobody","content":"x"}
    core_memory_append Error: Block field nobody does not exist (available sections = persona, human)
    calls core_memory_append {"label":"human"
    core_memory_append Error: the tool "core_memory_append" was not called: the arguments are no valid JSON: EOF while parsing an object at line 1 column 16
    calls no_such_tool {}
    no_such_tool Error: the tool "no_such_tool" was not called: it is not granted to this agent
    calls broken {}
    broken Error: out of order
    agent: enough
    "#);
}

#[test]
fn arguments_that_do_not_fit_their_schema_are_told_to_the_model_and_nothing_is_called() {
    let world = World::new(10);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let text = "call book {\"room\":\"one\"} and core_memory_append {\"label\":\"human\",\"content\":7}\n\
                    call send_message {\"text\":\"hello\"}\n\
                    call conversation_search {\"query\":\"x\",\"limit\":-1} and note [1]\n\
                    call book {\"room\":1}\nsay booked";
        let result = send(&agents, &agent, "1", text).await;
        assert_eq!(result.stop_reason, StopReason::EndTurn);
        insta::assert_snapshot!(lines(&result.messages).join("\n"), @r#"
        calls book {"room":"one"}
        calls core_memory_append {"label":"human","content":7}
        book Error: the tool "book" was not called: the arguments do not fit: at /room: "one" is not of type "integer"
        core_memory_append Error: the tool "core_memory_append" was not called: the arguments do not fit: at /content: 7 is not of type "string"
        calls send_message {"text":"hello"}
        send_message Error: the tool "send_message" was not called: the arguments do not fit: "message" is a required property
        calls conversation_search {"query":"x","limit":-1}
        calls note [1]
        conversation_search Error: the tool "conversation_search" was not called: the arguments do not fit: at /limit: -1 is less than the minimum of 1
        note Error: the tool "note" was not called: the arguments must be a JSON object, not [1]
        calls book {"room":1}
        book Success: book did {"room":1}
        agent: booked
        "#);
        let arrived = world.effects.arrived.lock().clone();
        assert_eq!(arrived.len(), 1, "called with what does not fit: {arrived:#?}");
        assert_eq!(agents.block(&scope(), &agent, "human").await.unwrap().value, "Name: ?");
    });
}

#[test]
fn tools_outside_are_called_and_their_results_seen() {
    let mut got = conversation(&["call book {\"room\":1} and note {\"text\":\"a b\"}\nsay booked"]);
    // The two go on side by side.
    got[3..5].sort();
    assert_eq!(
        got[1..],
        [
            "calls book {\"room\":1}",
            "calls note {\"text\":\"a b\"}",
            "book Success: book did {\"room\":1}",
            "note Success: note did {\"text\":\"a b\"}",
            "agent: booked",
        ]
    );
}

#[test]
fn conversations_and_passages_are_found_again() {
    let got = conversation(&[
        "say the sky is green today",
        "call archival_memory_insert {\"content\":\"Kai's boat is called Wrasse\"}\nsay kept",
        "call conversation_search {\"query\":\"SKY green\"} and archival_memory_search {\"query\":\"boat\"}\nsay found",
        "call archival_memory_search {\"query\":\"submarine\"}",
    ]);
    let results: Vec<&String> = got.iter().filter(|line| line.contains("search Success")).collect();
    assert!(results[0].contains("assistant: the sky is green today"), "{results:?}");
    assert!(results[1].contains("Kai's boat is called Wrasse"), "{results:?}");
    assert_eq!(results[2], "archival_memory_search Success: No results found.");
}

#[test]
fn a_model_without_an_answer_ends_the_run_with_a_typed_error_and_a_whole_history() {
    let world = World::new(3);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let result = send(&agents, &agent, "1", "call note {}\nfail").await;
        assert_eq!(result.stop_reason, StopReason::LlmApiError);
        assert_eq!(result.failure.unwrap().code, "model.unavailable");
        send(&agents, &agent, "2", "say again").await;
        assert_eq!(
            history(&agents, &agent).await,
            [
                "user: call note {}\nfail",
                "calls note {}",
                "note Success: note did {}",
                "user: say again",
                "agent: again",
            ]
        );
    });
}

#[test]
fn steps_are_limited_per_agent_and_per_message() {
    let world = World::new(4);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let text = say("call note {}\ncall note {}\ncall note {}\nsay done");
        let options = SendOptions { max_steps: Some(2), ..SendOptions::default() };
        let result = agents.send(&scope(), &agent, None, text, options).await.unwrap();
        assert_eq!((result.stop_reason, result.usage.steps), (StopReason::MaxSteps, 2));
        let last = lines(&result.messages).pop().unwrap();
        assert!(last.starts_with("note Success"), "no call is left without its result: {last}");
    });
}

#[test]
fn messages_that_come_together_are_answered_one_after_the_other() {
    let world = World::new(5);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let sends = (0..10).map(|number| {
            let (agents, agent) = (agents.clone(), agent.clone());
            async move {
                send(&agents, &agent, &format!("{number}"), &format!("call note {{}}\nsay {number}")).await
            }
        });
        let results = futures::future::join_all(sends).await;
        for (number, result) in results.iter().enumerate() {
            assert_eq!(lines(&result.messages).last(), Some(&format!("agent: {number}")));
        }
        let history = history(&agents, &agent).await;
        assert_eq!(history.len(), 40);
        for exchange in history.chunks(4) {
            let last = exchange[3].strip_prefix("agent: ").unwrap();
            assert_eq!(exchange[0], format!("user: call note {{}}\nsay {last}"));
        }
    });
}

#[test]
fn a_stream_shows_pieces_then_what_was_committed_in_growing_numbers() {
    let world = World::new(6);
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let watch = WatchOptions { pieces: true, after: None };
        let text = say("call note {}\nsay good morning dear Kai");
        let stream =
            agents.stream(&scope(), &agent, None, text, SendOptions::default(), watch).await.unwrap();
        let events: Vec<_> = stream.collect().await;
        assert!(events.is_sorted_by(|a, b| a.seq_id < b.seq_id), "{events:#?}");
        let (mut pieces, mut whole, mut id) = (Vec::new(), Vec::new(), None);
        for event in &events {
            match &event.kind {
                RunEventKind::Piece(message) => {
                    pieces.extend(lines(std::slice::from_ref(message)));
                    id = Some(message.id.clone());
                }
                RunEventKind::Message(message) => {
                    whole.extend(lines(std::slice::from_ref(message)));
                    if pieces.len() > 2 {
                        assert_eq!(Some(&message.id), id.as_ref(), "pieces carry their message's id");
                    }
                }
                RunEventKind::Stopped { stop_reason, .. } => assert_eq!(*stop_reason, StopReason::EndTurn),
                RunEventKind::Usage(usage) => assert_eq!(usage.steps, 2),
                RunEventKind::Void | RunEventKind::Broken { .. } => panic!("{event:?}"),
            }
        }
        assert_eq!(whole, ["calls note {}", "note Success: note did {}", "agent: good morning dear Kai"]);
        assert_eq!(
            pieces,
            ["calls note {}", "agent: good ", "agent: morning ", "agent: dear ", "agent: Kai"]
        );
        // A watcher that comes back late sees the rest, in the same words and numbers.
        let run_id = events[0].run_id.clone();
        let seen = events.iter().position(|event| matches!(event.kind, RunEventKind::Message(_))).unwrap();
        let watch = WatchOptions { pieces: false, after: Some(events[seen].seq_id) };
        let rest: Vec<_> = agents.watch(&scope(), &agent, &run_id, watch).await.unwrap().collect().await;
        let expected =
            events[seen + 1..].iter().filter(|event| !matches!(event.kind, RunEventKind::Piece(_)));
        assert!(rest.iter().eq(expected), "{rest:#?}");
    });
}

#[test]
fn a_cancel_ends_the_run_and_leaves_no_call_open() {
    let world = World { takes: std::time::Duration::from_secs(5), ..World::new(7) };
    world.sim.block_on(async {
        let agents = world.start().await;
        let agent = create(&agents, "a").await.id;
        let run = agents
            .send_and_leave(&scope(), &agent, None, say("call book {}"), SendOptions::default())
            .await
            .unwrap();
        let waits = agents
            .send_and_leave(&scope(), &agent, None, say("say never"), SendOptions::default())
            .await
            .unwrap();
        world.node.env().sleep(std::time::Duration::from_secs(1)).await;
        agents.cancel(&scope(), &agent, &waits.id).await.unwrap();
        let ended = agents.cancel(&scope(), &agent, &run.id).await.unwrap();
        assert_eq!(ended.stop_reason, Some(StopReason::Cancelled));
        world.node.env().sleep(std::time::Duration::from_secs(10)).await;
        let history = history(&agents, &agent).await;
        assert_eq!(history.len(), 3, "a late result changes nothing: {history:?}");
        assert!(history[2].starts_with("book Error: UNKNOWN"), "{history:?}");
        let result = send(&agents, &agent, "after", "say hello").await;
        assert_eq!(lines(&result.messages), ["agent: hello"]);
    });
}
