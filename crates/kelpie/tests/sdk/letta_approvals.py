"""Calls that somebody has to approve, and tools of the client, as users of letta-client have them.

Usage: letta_approvals.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check

agent = client.agents.create(name="careful", memory_blocks=[{"label": "human", "value": "Kai"}])
assert agent.tool_rules == [], agent.tool_rules
careful = client.agents.tools.update_approval(
    "core_memory_append", agent_id=agent.id, body_requires_approval=True
)
rules = [(rule.type, rule.tool_name) for rule in careful.tool_rules]
check(careful, rules == [("requires_approval", "core_memory_append")], rules)


def append(text):
    wish = 'Call the tool core_memory_append {"label": "human", "content": "%s"}' % text
    return client.agents.messages.create(agent.id, messages=[{"role": "user", "content": wish}])


def human():
    return client.agents.blocks.retrieve("human", agent_id=agent.id).value


def asked(reply):
    assert reply.stop_reason.stop_reason == "requires_approval", reply
    last = reply.messages[-1]
    assert last.message_type == "approval_request_message", reply.messages
    assert last.tool_calls[0].tool_call_id == last.tool_call.tool_call_id, last
    assert last.tool_call.name == "core_memory_append", last
    return last


def decide(**decision):
    return client.agents.messages.create(agent.id, messages=[{"type": "approval", **decision}])


# Nothing happens until somebody approves; meanwhile nothing else is said.
request = asked(append("drinks tea"))
assert human() == "Kai"
try:
    append("something else")
    raise AssertionError("a message came between a call and its result")
except APIStatusError as error:
    assert error.status_code == 409 and "waiting for approval" in str(error), error
reply = decide(
    approvals=[{"type": "approval", "tool_call_id": request.tool_call.tool_call_id, "approve": True}]
)
assert reply.stop_reason.stop_reason == "end_turn", reply
assert [m.status for m in reply.messages if m.message_type == "tool_return_message"] == ["success"], reply
assert human() == "Kai\ndrinks tea"

# A denial has no effect, and the agent is told why.
request = asked(append("drinks coffee"))
reply = decide(
    approvals=[{
        "type": "approval", "tool_call_id": request.tool_call.tool_call_id, "approve": False, "reason": "not true",
    }]
)
told = [m.tool_return for m in reply.messages if m.message_type == "tool_return_message"]
assert "not true" in told[0] and human() == "Kai\ndrinks tea", told

# The older form, a wrong call, and a decision that comes too late.
request = asked(append("lives in Kiel"))
try:
    decide(approvals=[{"type": "approval", "tool_call_id": "call-none", "approve": True}])
    raise AssertionError("a decision about another call was taken")
except APIStatusError as error:
    assert error.status_code == 422 and "Invalid tool call IDs" in str(error), error
reply = decide(approve=True, approval_request_id=request.id)
assert human() == "Kai\ndrinks tea\nlives in Kiel", reply
try:
    decide(approvals=[{"type": "approval", "tool_call_id": request.tool_call.tool_call_id, "approve": True}])
    raise AssertionError("a decision was taken twice")
except APIStatusError as error:
    assert error.status_code == 400 and "No tool call is currently awaiting approval" in str(error), error

# The same decision with the same otid is taken once.
request = asked(append("has a cat"))
yes = [{"type": "approval", "tool_call_id": request.tool_call.tool_call_id, "approve": True}]
first = decide(approvals=yes, otid="decision-1")
assert decide(approvals=yes, otid="decision-1") == first
assert human().count("has a cat") == 1

# A cancel denies.
request = asked(append("has a dog"))
cancelled = client.agents.messages.cancel(agent.id)
check(cancelled, list(cancelled.values()) == ["cancelled"])
assert "dog" not in human()
assert client.runs.retrieve(request.run_id).status == "cancelled"
history = list(client.agents.messages.list(agent.id, order="asc", limit=200))
calls = [c.tool_call_id for m in history if m.message_type == "approval_request_message" for c in m.tool_calls]
results = [m.tool_call_id for m in history if m.message_type == "tool_return_message"]
assert sorted(calls) == sorted(results) and len(set(calls)) == len(calls), (calls, results)
assert [m.approve for m in history if m.message_type == "approval_response_message"] == [True, False, True, True]

# Streamed: the request comes whole, then the stop reason.
wish = 'Call the tool core_memory_append {"label": "human", "content": "sings"}'
with client.agents.messages.stream(
    agent.id, messages=[{"role": "user", "content": wish}], stream_tokens=True, include_pings=False
) as stream:
    events = list(stream)
assert [event.message_type for event in events][-3:] == [
    "approval_request_message", "stop_reason", "usage_statistics"
], events
assert events[-2].stop_reason == "requires_approval", events
decide(approvals=[{"type": "approval", "tool_call_id": events[-3].tool_call.tool_call_id, "approve": True}])
assert human().endswith("sings")

# Without the rule it is called at once.
free = client.agents.tools.update_approval("core_memory_append", agent_id=agent.id, body_requires_approval=False)
assert free.tool_rules == [], free.tool_rules
assert append("dances").stop_reason.stop_reason == "end_turn"
assert human().endswith("dances")

# A tool of the client: it is asked for the result, in a conversation too.
look = {
    "name": "look_outside", "description": "Looks out of the window.",
    "parameters": {"type": "object", "properties": {"side": {"type": "string"}}},
}
wish = 'Call the tool look_outside {"side": "north"}'
talk = client.conversations.create(agent_id=agent.id)
events = list(client.conversations.messages.create(
    talk.id, messages=[{"role": "user", "content": wish}], client_tools=[look], include_pings=False
))
request = events[-3]
assert request.message_type == "approval_request_message" and request.tool_call.name == "look_outside", events
try:
    client.conversations.messages.create(talk.id, messages=[{"role": "user", "content": "Hello?"}])
    raise AssertionError("a message came between a call and its result")
except APIStatusError as error:
    assert error.status_code == 409 and error.body["run_id"] == request.run_id, error.body
result = {"type": "tool", "tool_call_id": request.tool_call.tool_call_id, "tool_return": "It snows.", "status": "success"}
events = list(client.conversations.messages.create(
    talk.id, messages=[{"type": "approval", "approvals": [result]}], client_tools=[look], include_pings=False
))
assert [e.tool_return for e in events if e.message_type == "tool_return_message"] == ["It snows."], events
assert events[-2].stop_reason == "end_turn", events
assert client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "And here?"}]
).stop_reason.stop_reason == "end_turn"
recorder.write(sys.argv[0])
print("all of it")
