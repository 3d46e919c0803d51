"""Messages that come later, as users of letta-client have them.

Usage: letta_schedule.py BASE_URL. Ends with an assertion error at the first difference. Run it with
strict types, so that a field that is missing or of another type ends it as well.
"""

import sys
import time

from letta_client import APIStatusError, Letta

client = Letta(base_url=sys.argv[1], _strict_response_validation=True)
agent = client.agents.create(name="planner", memory_blocks=[])


def says(text):
    return [{"role": "user", "content": text}]


def refused(**schedule):
    try:
        client.agents.schedule.create(agent.id, messages=says("x"), schedule=schedule)
    except APIStatusError as error:
        return error.status_code, error.body["detail"][0]["loc"][1:]
    raise AssertionError(f"{schedule} was taken")


soon = (time.time() + 2) * 1000
once = client.agents.schedule.create(
    agent.id, messages=says("The tea is ready"), schedule={"type": "one-time", "scheduled_at": soon}, max_steps=3
)
daily = client.agents.schedule.create(
    agent.id, messages=says("Good morning"), schedule={"type": "recurring", "cron_expression": "0 9 * * *"}
)
assert daily.next_scheduled_at.endswith("T09:00:00.000Z"), daily
listed = client.agents.schedule.list(agent.id)
assert not listed.has_next_page and [kept.id for kept in listed.scheduled_messages] == [once.id, daily.id], listed
first = client.agents.schedule.list(agent.id, limit="1")
assert first.has_next_page and len(first.scheduled_messages) == 1, first
rest = client.agents.schedule.list(agent.id, after=once.id)
assert [kept.id for kept in rest.scheduled_messages] == [daily.id], rest
kept = client.agents.schedule.retrieve(daily.id, agent_id=agent.id)
assert kept.agent_id == agent.id and kept.message.messages[0].content == "Good morning", kept
assert kept.schedule.cron_expression == "0 9 * * *" and kept.next_scheduled_time == daily.next_scheduled_at, kept

# It comes, and is answered, though nobody sends it.
for _ in range(100):
    texts = [getattr(message, "content", None) for message in client.agents.messages.list(agent.id)]
    if "The tea is ready" in texts and client.runs.list(agent_id=agent.id).items[0].status == "completed":
        break
    time.sleep(0.2)
else:
    raise AssertionError(f"it did not come: {texts}")
assert texts.count("The tea is ready") == 1, texts
assert [kept.id for kept in client.agents.schedule.list(agent.id).scheduled_messages] == [daily.id]

assert client.agents.schedule.delete(daily.id, agent_id=agent.id).success is True
try:
    client.agents.schedule.retrieve(daily.id, agent_id=agent.id)
    raise AssertionError("it is still there")
except APIStatusError as error:
    assert error.status_code == 404, error

assert refused(type="one-time", scheduled_at=1.5) == (422, ["schedule", "scheduled_at"])
assert refused(type="recurring", cron_expression="soon") == (422, ["schedule", "cron_expression"])
assert refused(type="recurring", scheduled_at=soon) == (422, ["schedule", "cron_expression"])
assert refused(type="sometimes") == (422, ["schedule", "type"])
print("all of it")
