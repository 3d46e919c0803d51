"""Archival memory, tools and what is kept of messages, as users of letta-client work with them.

Usage: letta_memory.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys
from datetime import datetime, timezone

from letta_client import APIStatusError, NotFoundError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check


def refused(status, words, call):
    try:
        answer = call()
    except APIStatusError as error:
        assert error.status_code == status and words in str(error), error
        return
    raise AssertionError(f"not refused: {answer}")


agent = client.agents.create(name="keeper", memory_blocks=[{"label": "human", "value": "Kai"}])
other = client.agents.create(name="neighbour", memory_blocks=[])

# Archival memory: create, list, search by words, tags and dates, delete.
old = datetime(2024, 5, 17, 9, 30, tzinfo=timezone.utc)
kept = client.agents.passages.create(
    agent.id, text="Kai drinks green tea in the morning", tags=["drink", "kai"], created_at=old
)
check(kept, [passage.text for passage in kept] == ["Kai drinks green tea in the morning"])
assert kept[0].created_at == old and kept[0].tags == ["drink", "kai"], kept
deploy = client.agents.passages.create(agent.id, text="The deploy runs on Friday", tags=["work"])[0]
assam = client.agents.passages.create(agent.id, text="The best tea comes from Assam", tags=["drink"])[0]
client.agents.passages.create(other.id, text="The tea of the neighbour")
listed = client.agents.passages.list(agent.id)
check(listed, [passage.id for passage in listed] == [assam.id, deploy.id, kept[0].id])
page = client.agents.passages.list(agent.id, ascending=True, limit=1, after=kept[0].id)
assert [passage.id for passage in page] == [deploy.id], page
found = client.agents.passages.search(agent.id, query="when does the deploy run?")
check(found, found.count == 3 and found.results[0].content == "The deploy runs on Friday")


def ids(**query):
    return [hit.id for hit in client.agents.passages.search(agent.id, **query).results]


assert ids(query="tea Assam") == [assam.id, kept[0].id]
assert ids(query="tea", top_k=1) in ([assam.id], [kept[0].id])
assert ids(query="tea", tags=["kai", "work"]) == [kept[0].id]
assert ids(query="tea", tags=["kai", "work"], tag_match_mode="all") == []
assert ids(query="tea", end_datetime="2024-12-31") == [kept[0].id]
assert ids(query="tea", start_datetime=datetime(2025, 1, 1, tzinfo=timezone.utc)) == [assam.id]
gone = client.agents.passages.delete(deploy.id, agent_id=agent.id)
check(gone, ids(query="deploy") == [])
refused(404, "Passage not found", lambda: client.agents.passages.delete(deploy.id, agent_id=agent.id))
refused(404, "Passage not found", lambda: client.agents.passages.delete(assam.id, agent_id=other.id))
refused(422, "must not be empty", lambda: client.agents.passages.create(agent.id, text=" "))

# The agent's own tool sees the same passages.
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "Search the archive for Assam."}]
)
returns = [message.tool_return for message in reply.messages if message.message_type == "tool_return_message"]
assert any("best tea comes from Assam" in text for text in returns), reply.messages

# Tools: attach, detach, run by hand.
tools = {tool.name: tool for tool in client.tools.list(limit=100).items}
less = client.agents.tools.detach(tools["archival_memory_search"].id, agent_id=agent.id)
check(less, "archival_memory_search" not in [tool.name for tool in less.tools])
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": 'Call the tool archival_memory_search {"query": "Assam"}'}]
)
texts = [message.content for message in reply.messages if message.message_type == "assistant_message"]
assert any("I have no tool archival_memory_search" in text for text in texts), reply.messages
more = client.agents.tools.attach(tools["archival_memory_search"].id, agent_id=agent.id)
check(more, "archival_memory_search" in [tool.name for tool in more.tools])
again = client.agents.tools.attach(tools["archival_memory_search"].id, agent_id=agent.id)
assert [tool.name for tool in again.tools].count("archival_memory_search") == 1, again.tools
ran = client.agents.tools.run("core_memory_append", agent_id=agent.id, args={"label": "human", "content": "likes tea"})
check(ran, ran.status == "success")
assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Kai\nlikes tea"
wrong = client.agents.tools.run("core_memory_append", agent_id=agent.id, args={"label": "human"})
assert wrong.status == "error" and "content" in wrong.stderr[0], wrong
unknown = client.agents.tools.run("no_such_tool", agent_id=agent.id, args={})
assert unknown.status == "error" and "not granted" in unknown.stderr[0], unknown
hits = client.tools.search(query="archival memory")
check(hits, {hit.tool.name for hit in hits} == {"archival_memory_insert", "archival_memory_search"})

# Working memory, Kelpie's own: for a while, under keys, read by tools.
notes = f"/v1/agents/{agent.id}/working-memory"
door = client.put(f"{notes}/door%2Fback", body={"value": "4711", "ttl_minutes": 30}, cast_to=object)
assert (door["key"], door["value"]) == ("door/back", "4711") and door["expires_at"] > door["set_at"], door
plan = client.put(f"{notes}/plan", body={"value": "tea"}, cast_to=object)
assert "expires_at" not in plan, plan
assert client.get(notes, cast_to=object) == [door, plan]
assert client.get(f"{notes}/door%2Fback", cast_to=object) == door
refused(422, "between 1 and 525600", lambda: client.put(
    f"{notes}/plan", body={"value": "x", "ttl_minutes": 0}, cast_to=object))
refused(422, "at most 16384 bytes", lambda: client.put(f"{notes}/plan", body={"value": "x" * 16385}, cast_to=object))
refused(404, "Entry not found", lambda: client.get(f"{notes}/none", cast_to=object))
refused(404, "Agent not found", lambda: client.get("/v1/agents/agent-none/working-memory", cast_to=object))
client.agents.tools.attach(tools["working_memory_list"].id, agent_id=agent.id)
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "Call the tool working_memory_list {}"}]
)
returns = [message.tool_return for message in reply.messages if message.message_type == "tool_return_message"]
assert "plan: 3 bytes" in returns[0] and "4711" not in client.agents.recompile(agent.id), returns
client.delete(f"{notes}/plan", cast_to=object)
refused(404, "Entry not found", lambda: client.delete(f"{notes}/plan", cast_to=object))
assert client.get(f"/v1/agents/{other.id}/working-memory", cast_to=object) == []

# The prompt, a run in the background, a message by its id, a search over all of them.
prompt = client.agents.recompile(agent.id)
check(prompt, "likes tea" in prompt and "<human>" in prompt)
run = client.agents.messages.create_async(
    agent.id, messages=[{"role": "user", "content": "My favourite colour is ultramarine."}]
)
check(run, run.agent_id == agent.id and run.status in ("created", "running", "completed"))
with client.runs.messages.stream(run.id) as stream:
    assert [event.message_type for event in stream][-1] == "usage_statistics"
assert client.runs.retrieve(run.id).status == "completed"
heard = next(m for m in client.agents.messages.list(agent.id, limit=100) if "ultramarine" in getattr(m, "content", ""))
message = client.messages.retrieve(heard.id)
check(message, [m.id for m in message] == [heard.id] and "ultramarine" in message[0].content)
client.agents.messages.create(other.id, messages=[{"role": "user", "content": "Ultramarine is a colour."}])
found = client.messages.search(query="ultramarine")
check(found, {hit.agent_id for hit in found} == {agent.id, other.id})
found = client.messages.search(query="ultramarine", agent_id=other.id)
assert {hit.agent_id for hit in found} == {other.id}, found
refused(404, "Message not found", lambda: client.messages.retrieve("message-none"))

# Compaction on demand: a summary in the prompt, every word still in recall.
before = list(client.agents.messages.list(agent.id, order="asc", limit=200))
compacted = client.agents.messages.compact(agent.id)
check(compacted, compacted.summary and compacted.num_messages_after < compacted.num_messages_before)
after = list(client.agents.messages.list(agent.id, order="asc", limit=200))
assert [m.id for m in after][: len(before)] == [m.id for m in before]
assert after[-1].message_type == "summary_message" and after[-1].summary == compacted.summary, after[-1]
reply = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "Are you there?"}])
assert reply.stop_reason.stop_reason == "end_turn", reply

# Forgetting all messages leaves memory as it is.
reset = client.agents.messages.reset(agent.id)
check(reset, reset.id == agent.id)
assert list(client.agents.messages.list(agent.id)) == []
assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Kai\nlikes tea"
try:
    client.messages.retrieve(heard.id)
    raise AssertionError("a forgotten message was found")
except NotFoundError:
    pass
reply = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "Hello again"}])
assert reply.stop_reason.stop_reason == "end_turn", reply
recorder.write(sys.argv[0])
print("all of it")
