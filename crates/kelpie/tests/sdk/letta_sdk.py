"""What users of letta-client do every day, against a running server.

Usage: letta_sdk.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError, Letta, NotFoundError

client = Letta(base_url=sys.argv[1])

# Agents: create, list, retrieve, update, delete.
agent = client.agents.create(
    name="ada",
    memory_blocks=[{"label": "human", "value": "Ada"}, {"label": "persona", "value": "kind"}],
    tags=["first"],
)
assert agent.id.startswith("agent-"), agent.id
assert agent.name == "ada" and agent.tags == ["first"], agent
assert sorted(block.label for block in agent.blocks) == ["human", "persona"], agent.blocks
other = client.agents.create(name="bob", memory_blocks=[])
assert {found.id for found in client.agents.list()} == {agent.id, other.id}
assert [found.id for found in client.agents.list(name="bob")] == [other.id]
assert client.agents.retrieve(agent.id).name == "ada"
assert client.agents.update(agent.id, name="ada lovelace").name == "ada lovelace"
assert client.agents.retrieve(agent.id).name == "ada lovelace"
client.agents.delete(other.id)
try:
    client.agents.retrieve(other.id)
    raise AssertionError("a deleted agent was found")
except NotFoundError as error:
    assert "Agent not found" in str(error), error
assert [found.id for found in client.agents.list()] == [agent.id]

# Messages: send one, stream one.
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "Remember that I like tea."}]
)
assert reply.stop_reason.stop_reason == "end_turn", reply.stop_reason
assert reply.usage.step_count >= 1, reply.usage
assert [m for m in reply.messages if m.message_type == "assistant_message"], reply.messages
seen = []
with client.agents.messages.stream(
    agent.id, messages=[{"role": "user", "content": "What do you remember?"}], stream_tokens=True
) as stream:
    for event in stream:
        seen.append(event)
kinds = [event.message_type for event in seen]
assert "assistant_message" in kinds, kinds
assert kinds[-2:] == ["stop_reason", "usage_statistics"], kinds
text = "".join(event.content for event in seen if event.message_type == "assistant_message")
assert "tea" in text, text

# A run by its id alone: what became of it, and its stream once more from a place on.
run = client.runs.retrieve(seen[-1].run_ids[0])
assert (run.agent_id, run.status, run.stop_reason) == (agent.id, "completed", "end_turn"), run
with client.runs.messages.stream(run.id, starting_after=0, include_pings=False) as stream:
    again = "".join(event.content for event in stream if event.message_type == "assistant_message")
assert again == text, (again, text)

# The history, page by page.
listed = list(client.agents.messages.list(agent.id, order="asc", limit=100))
ids = [message.id for message in listed]
assert len([m for m in listed if m.message_type == "user_message"]) == 2, listed
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
assert "tea" in human.value, human
changed = client.agents.blocks.update("human", agent_id=agent.id, value="Ada likes coffee now")
assert changed.value == "Ada likes coffee now", changed
assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Ada likes coffee now"
labels = sorted(block.label for block in client.agents.blocks.list(agent.id))
assert labels == ["human", "persona"], labels

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
print("all of it")
