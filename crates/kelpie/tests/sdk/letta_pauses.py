"""An agent that rests, as users of letta-client have it.

Usage: letta_pauses.py BASE_URL. Ends with an assertion error at the first difference. Without strict
types: the client's list of stop reasons does not have this one, and takes it all the same.
"""

import sys

from letta_client import Letta

client = Letta(base_url=sys.argv[1])
agent = client.agents.create(name="nurse", memory_blocks=[])
assert "pause_heartbeats" in [tool.name for tool in agent.tools], agent.tools
plain = client.agents.create(name="plain", agent_type="letta_v1_agent", memory_blocks=[])
assert "pause_heartbeats" not in [tool.name for tool in plain.tools], plain.tools


def pause(minutes):
    wish = 'call the tool pause_heartbeats with {"minutes": %s}' % minutes
    return client.agents.messages.create(agent.id, messages=[{"role": "user", "content": wish}])


reply = pause(30)
assert reply.stop_reason.stop_reason == "pause_heartbeats", reply
results = [m for m in reply.messages if m.message_type == "tool_return_message"]
assert [m.status for m in results] == ["success"] and "Pausing until" in results[0].tool_return, results
run = client.runs.retrieve(results[0].run_id)
assert run.status == "completed" and run.stop_reason == "pause_heartbeats", run
before = run.paused_until
assert str(before) > run.completed_at.strftime("%Y-%m-%dT%H:%M:%S"), run

# A message is answered at once, and the pause has ended with it.
awake = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "Are you there?"}])
assert awake.stop_reason.stop_reason == "end_turn", awake
assert client.runs.retrieve(run.id).paused_until < before

# So does a cancel; what the run has told stays.
reply = pause(1)
run_id = reply.messages[-1].run_id
assert list(client.agents.messages.cancel(agent.id)) == [run_id]
assert client.runs.retrieve(run_id).stop_reason == "pause_heartbeats"

# Streamed.
events = list(client.agents.messages.stream(
    agent.id, messages=[{"role": "user", "content": 'call the tool pause_heartbeats with {"minutes": 60}'}],
    include_pings=False,
))
assert [event.message_type for event in events][-2:] == ["stop_reason", "usage_statistics"], events
assert events[-2].stop_reason == "pause_heartbeats", events

# What is no pause is an error that the model reads.
for minutes in ["0", "61", '"soon"']:
    reply = pause(minutes)
    results = [m for m in reply.messages if m.message_type == "tool_return_message"]
    assert [m.status for m in results] == ["error"] and "do not fit" in results[0].tool_return, results
    assert reply.stop_reason.stop_reason == "end_turn", reply
print("all of it")
