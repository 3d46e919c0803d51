"""What users of letta-client do every day, against a running server.

Usage: letta_sdk.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError, NotFoundError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check

health = client.health()
check(health, health.status == "ok" and health.version)

# Agents: create, list, retrieve, update, delete.
agent = client.agents.create(
    name="ada",
    memory_blocks=[{"label": "human", "value": "Ada"}, {"label": "persona", "value": "kind"}],
    tags=["first"],
)
check(agent, agent.id.startswith("agent-") and agent.name == "ada" and agent.tags == ["first"])
assert sorted(block.label for block in agent.blocks) == ["human", "persona"], agent.blocks
other = client.agents.create(name="bob", memory_blocks=[])
listed = client.agents.list()
check(listed, {found.id for found in listed.items} == {agent.id, other.id})
assert [found.id for found in client.agents.list(name="bob")] == [other.id]
found = client.agents.retrieve(agent.id)
check(found, found.name == "ada")
changed = client.agents.update(agent.id, name="ada lovelace")
check(changed, changed.name == "ada lovelace")
assert client.agents.retrieve(agent.id).name == "ada lovelace"
gone = client.agents.delete(other.id)
try:
    client.agents.retrieve(other.id)
    raise AssertionError("a deleted agent was found")
except NotFoundError as error:
    check(gone, "Agent not found" in str(error), error)
assert [found.id for found in client.agents.list()] == [agent.id]

# Models and tools.
models = client.models.list()
check(models, "/" in models[0].handle and models[0].max_context_window > 0)
embeddings = client.models.embeddings.list()
check(embeddings, embeddings == [])
tools = client.tools.list()
check(tools, "send_message" in [tool.name for tool in tools.items])
tool = client.tools.retrieve(tools.items[0].id)
check(tool, tool == tools.items[0] and tool.json_schema["parameters"]["type"] == "object")
own = client.agents.tools.list(agent.id)
check(own, {tool.name for tool in own.items} == {tool.name for tool in agent.tools})

# Messages: send one, stream one.
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "Remember that I like tea."}]
)
check(reply, reply.stop_reason.stop_reason == "end_turn" and reply.usage.step_count >= 1)
assert [m for m in reply.messages if m.message_type == "assistant_message"], reply.messages
seen = []
with client.agents.messages.stream(
    agent.id, messages=[{"role": "user", "content": "What do you remember?"}], stream_tokens=True
) as stream:
    for event in stream:
        seen.append(event)
kinds = [event.message_type for event in seen]
assert "assistant_message" in kinds, kinds
check(stream, kinds[-2:] == ["stop_reason", "usage_statistics"], kinds)
text = "".join(event.content for event in seen if event.message_type == "assistant_message")
assert "tea" in text, text

# A run by its id alone: what became of it, and its stream once more from a place on.
run = client.runs.retrieve(seen[-1].run_ids[0])
check(run, (run.agent_id, run.status, run.stop_reason) == (agent.id, "completed", "end_turn"))
with client.runs.messages.stream(run.id, starting_after=0, include_pings=False) as stream:
    again = "".join(event.content for event in stream if event.message_type == "assistant_message")
check(stream, again == text, (again, text))

# A run that has ended stays as it is when it is cancelled.
cancelled = client.agents.messages.cancel(agent.id, run_ids=[run.id])
check(cancelled, cancelled == {run.id: "completed"})

# The history, page by page.
pages = client.agents.messages.list(agent.id, order="asc", limit=100)
listed = list(pages)
ids = [message.id for message in listed]
check(pages, len([m for m in listed if m.message_type == "user_message"]) == 2, listed)
backwards = list(client.agents.messages.list(agent.id, order="desc", limit=100))
assert [m.id for m in backwards] == ids[::-1]
unique = list(dict.fromkeys(ids))
first_page = client.agents.messages.list(agent.id, order="asc", limit=2)
assert len(first_page.items) >= 1, first_page
after = client.agents.messages.list(agent.id, order="asc", after=unique[1], limit=100)
assert list(dict.fromkeys(m.id for m in after.items)) == unique[2:], (unique, after.items)
before = client.agents.messages.list(agent.id, order="asc", before=unique[2], limit=100)
assert list(dict.fromkeys(m.id for m in before.items)) == unique[:2], (unique, before.items)

# Blocks: read and update.
human = client.agents.blocks.retrieve("human", agent_id=agent.id)
check(human, "tea" in human.value)
changed = client.agents.blocks.update("human", agent_id=agent.id, value="Ada likes coffee now")
check(changed, changed.value == "Ada likes coffee now")
assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Ada likes coffee now"
blocks = client.agents.blocks.list(agent.id)
check(blocks, sorted(block.label for block in blocks.items) == ["human", "persona"])

# What cannot be done is said, and changes nothing.
try:
    client.agents.messages.create("agent-none", messages=[{"role": "user", "content": "x"}])
    raise AssertionError("an unknown agent answered")
except APIStatusError as error:
    assert error.status_code == 404, error
try:
    client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "x" * (2 << 20)}])
    raise AssertionError("two megabytes were taken")
except APIStatusError as error:
    assert error.status_code == 413 and "too large" in str(error), error
assert [m.id for m in client.agents.messages.list(agent.id, order="asc", limit=100)] == ids
recorder.write(sys.argv[0])
print("all of it")
