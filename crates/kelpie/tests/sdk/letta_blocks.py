"""Blocks of their own and shared ones, as users of letta-client have them.

Usage: letta_blocks.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError, NotFoundError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check


def gone(call):
    try:
        call()
    except NotFoundError:
        return True
    return False


# A block that belongs to nobody yet.
team = client.blocks.create(
    label="team", value="We build boats.", limit=100, description="what the team does", metadata={"of": "test"},
    tags=["shared"],
)
check(team, (team.label, team.value, team.limit, team.metadata) == ("team", "We build boats.", 100, {"of": "test"}))
shown = client.blocks.retrieve(team.id)
check(shown, shown == team)
changed = client.blocks.update(team.id, value="We build ships.", metadata={"of": "tests"})
check(changed, (changed.value, changed.metadata, changed.tags) == ("We build ships.", {"of": "tests"}, ["shared"]))
try:
    client.blocks.update(team.id, value="x" * 101)
    raise AssertionError("a value beyond the limit was taken")
except APIStatusError as error:
    assert error.status_code == 422 and "100 character limit" in str(error), error

# Attached to two agents: one block, whoever changes it.
one = client.agents.create(name="one", block_ids=[team.id], memory_blocks=[{"label": "human", "value": "Kai"}])
assert [block.id for block in one.blocks if block.label == "team"] == [team.id], one.blocks
two = client.agents.create(name="two", memory_blocks=[])
attached = client.agents.blocks.attach(team.id, agent_id=two.id)
check(attached, [(block.id, block.value) for block in attached.blocks] == [(team.id, "We build ships.")])
holders = client.blocks.agents.list(team.id)
check(holders, {agent.id for agent in holders.items} == {one.id, two.id})
wish = 'Call the tool core_memory_append {"label": "team", "content": "And kayaks."}'
reply = client.agents.messages.create(one.id, messages=[{"role": "user", "content": wish}])
assert reply.stop_reason.stop_reason == "end_turn", reply
for value in (
    client.blocks.retrieve(team.id).value,
    client.agents.blocks.retrieve("team", agent_id=one.id).value,
    client.agents.blocks.retrieve("team", agent_id=two.id).value,
):
    assert value == "We build ships.\nAnd kayaks.", value
assert "And kayaks." in client.agents.recompile(two.id)

# Kelpie's own: changes of a shared block are taken back, whoever made them.
past = client.get(f"/v1/blocks/{team.id}/past", cast_to=object)
assert [entry["value"] for entry in past] == ["We build ships.", "We build boats."], past
assert client.get(f"/v1/agents/{two.id}/core-memory/blocks/team/past", cast_to=object) == past
undone = client.post(f"/v1/blocks/{team.id}/undo", cast_to=object)
assert (undone["id"], undone["value"], undone["tags"]) == (team.id, "We build ships.", ["shared"]), undone
undone = client.post(f"/v1/agents/{two.id}/core-memory/blocks/team/undo", cast_to=object)
assert undone["value"] == client.agents.blocks.retrieve("team", agent_id=one.id).value == "We build boats.", undone
try:
    client.post(f"/v1/blocks/{team.id}/undo", cast_to=object)
    raise AssertionError("a change was taken back that nobody made")
except APIStatusError as error:
    assert error.status_code == 422 and "no change" in str(error), error
client.agents.blocks.update("team", agent_id=one.id, value="We build ships.\nAnd kayaks.")
client.blocks.update(team.id, read_only=True)
reply = client.agents.messages.create(two.id, messages=[{"role": "user", "content": wish}])
told = [m.tool_return for m in reply.messages if m.message_type == "tool_return_message"]
assert any("read-only" in text for text in told), reply.messages
assert client.blocks.retrieve(team.id).value.count("kayaks") == 1

# A block that came with its agent can be shared, too, and outlives a detach.
human = next(block for block in one.blocks if block.label == "human")
assert client.blocks.retrieve(human.id).value == "Kai"
client.agents.blocks.attach(human.id, agent_id=two.id)
client.agents.blocks.update("human", agent_id=two.id, value="Kai, from Kiel")
assert client.agents.blocks.retrieve("human", agent_id=one.id).value == "Kai, from Kiel"
detached = client.agents.blocks.detach(human.id, agent_id=one.id)
check(detached, "human" not in [block.label for block in detached.blocks])
assert client.blocks.retrieve(human.id).value == "Kai, from Kiel"
assert [agent.id for agent in client.blocks.agents.list(human.id)] == [two.id]
try:
    client.agents.blocks.attach(client.blocks.create(label="human", value="another").id, agent_id=two.id)
    raise AssertionError("two blocks of one label were taken")
except APIStatusError as error:
    assert error.status_code == 422 and "exists already" in str(error), error

# Lists, with filters and pages.
listed = client.blocks.list()
check(listed, {block.id for block in listed.items} >= {team.id, human.id})
assert [block.id for block in client.blocks.list(label="team")] == [team.id]
assert [block.id for block in client.blocks.list(value_search="kiel")] == [human.id]
oldest = client.blocks.list(order="asc", limit=1).items
assert [block.id for block in oldest] == [team.id], oldest
assert team.id not in [block.id for block in client.blocks.list(order="asc", after=team.id)]

# Deleted: all who had it lose it; an agent's own goes with the agent.
deleted = client.blocks.delete(team.id)
check(deleted, gone(lambda: client.blocks.retrieve(team.id)))
assert gone(lambda: client.blocks.agents.list(team.id))
assert [block.label for block in client.agents.retrieve(one.id).blocks] == []
assert [block.label for block in client.agents.retrieve(two.id).blocks] == ["human"]
assert gone(lambda: client.agents.blocks.attach(team.id, agent_id=one.id))
three = client.agents.create(name="three", memory_blocks=[{"label": "persona", "value": "kind"}])
client.agents.delete(three.id)
assert gone(lambda: client.blocks.retrieve(three.blocks[0].id))
recorder.write(sys.argv[0])
print("all of it")
