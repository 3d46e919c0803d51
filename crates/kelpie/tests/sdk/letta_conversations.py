"""Several conversations with one agent, as users of letta-client have them.

Usage: letta_conversations.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError, NotFoundError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check


def said(name, **which):
    return [m.content for m in client.conversations.messages.list(name, order="asc", limit=100, **which)
            if m.message_type == "user_message"]


def say(name, text, **which):
    stream = client.conversations.messages.create(name, messages=[{"role": "user", "content": text}], **which)
    return stream, list(stream)


agent = client.agents.create(name="many", memory_blocks=[{"label": "human", "value": "Kai"}])

# Create, retrieve, update, list.
work = client.conversations.create(agent_id=agent.id, summary="about work")
check(work, work.agent_id == agent.id and work.summary == "about work" and work.id.startswith("conv-"))
home = client.conversations.create(agent_id=agent.id)
shown = client.conversations.retrieve(work.id)
check(shown, shown == work)
changed = client.conversations.update(home.id, summary="about home")
check(changed, changed.id == home.id and changed.summary == "about home")
listed = client.conversations.list(agent_id=agent.id)
check(listed, [found.id for found in listed] == [home.id, work.id])
page = client.conversations.list(agent_id=agent.id, order="asc", limit=1, after=work.id)
assert [found.id for found in page] == [home.id], page
assert [found.id for found in client.conversations.list(summary_search="WORK")] == [work.id]
client.conversations.update(home.id, archived=True)
assert [found.id for found in client.conversations.list(agent_id=agent.id)] == [work.id]
assert [found.id for found in client.conversations.list(archive_status="archived")] == [home.id]

# Each has its own messages; memory is shared.
stream, events = say(work.id, "Remember that I like tea.")
kinds = [event.message_type for event in events]
check(stream, "assistant_message" in kinds and kinds[-2:] == ["stop_reason", "usage_statistics"], kinds)
say(home.id, "Good evening")
client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "In the default conversation"}])
messages = client.conversations.messages.list(work.id, order="asc")
check(messages, messages.items[0].content == "Remember that I like tea.")
assert said(work.id) == ["Remember that I like tea."]
assert said(home.id) == ["Good evening"]
assert said("default", agent_id=agent.id) == ["In the default conversation"]
assert said(agent.id) == ["In the default conversation"]
assert [m.content for m in client.agents.messages.list(agent.id) if m.message_type == "user_message"] == [
    "In the default conversation"
]
assert "tea" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
prompt = client.conversations.recompile(home.id)
check(prompt, "tea" in prompt)
run = client.runs.retrieve(events[-1].run_ids[0])
assert run.conversation_id == work.id, run
assert client.conversations.retrieve(work.id).last_message_at is not None

# The stream of the last run, once more; nothing to cancel.
with client.conversations.messages.stream(work.id, starting_after=0, include_pings=False) as stream:
    again = [event.message_type for event in stream]
check(stream, again[-2:] == ["stop_reason", "usage_statistics"], again)
cancelled = client.conversations.cancel(work.id)
check(cancelled, cancelled == {})

# A fork has what was said before, and goes its own way.
say(work.id, "Second thing")
first = client.conversations.messages.list(work.id, order="asc", limit=100).items
fork = client.conversations.fork(work.id)
check(fork, fork.id not in (work.id, home.id) and fork.agent_id == agent.id and fork.summary == "about work")
say(fork.id, "Only in the fork")
say(work.id, "Only in the first")
assert said(fork.id) == ["Remember that I like tea.", "Second thing", "Only in the fork"]
assert said(work.id) == ["Remember that I like tea.", "Second thing", "Only in the first"]
second = next(m for m in first if m.message_type == "user_message" and m.content == "Second thing")
cut = [m.id for m in first][: [m.id for m in first].index(second.id)][-1]
early = client.conversations.fork(work.id, message_id=cut)
assert said(early.id) == ["Remember that I like tea."]
inherited = client.conversations.messages.list(early.id, order="asc", limit=100).items
assert [m.id for m in inherited] == [m.id for m in first][: len(inherited)]
backwards = client.conversations.messages.list(fork.id, order="desc", limit=100).items
forwards = client.conversations.messages.list(fork.id, order="asc", limit=100).items
assert [m.id for m in backwards] == [m.id for m in forwards][::-1]

# Compaction of one conversation leaves the others alone.
compacted = client.conversations.messages.compact(work.id)
check(compacted, compacted.summary and compacted.num_messages_after < compacted.num_messages_before)
kinds = [m.message_type for m in client.conversations.messages.list(work.id, limit=100)]
assert kinds.count("summary_message") == 1, kinds
assert "summary_message" not in [m.message_type for m in client.conversations.messages.list(fork.id, limit=100)]
_, events = say(work.id, "Still there?")
assert events[-2].stop_reason == "end_turn", events

# Without a stream, and with a model that is none.
plain = client.post(
    f"/v1/conversations/{home.id}/messages",
    body={"messages": [{"role": "user", "content": "Plain"}], "streaming": False}, cast_to=object,
)
assert plain["stop_reason"]["stop_reason"] == "end_turn", plain
try:
    client.conversations.update(home.id, model="nobody/nothing")
    raise AssertionError("a model that nobody serves was taken")
except APIStatusError as error:
    assert error.status_code == 422, error

# A deleted conversation is gone with its messages; its fork still has them.
gone = client.conversations.delete(work.id)
try:
    client.conversations.retrieve(work.id)
    raise AssertionError("a deleted conversation was found")
except NotFoundError as error:
    check(gone, "Conversation not found" in str(error), error)
assert said(fork.id) == ["Remember that I like tea.", "Second thing", "Only in the fork"]
assert work.id not in [found.id for found in client.conversations.list(agent_id=agent.id, archive_status="all")]
client.agents.delete(agent.id)
assert client.conversations.list(archive_status="all") == []
recorder.write(sys.argv[0])
print("all of it")
