"""Rules about tools, types of agents, settings for one message, and budgets, as users of letta-client have them.

Usage: letta_rules.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import APIStatusError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check


def say(agent, text, **options):
    return client.agents.messages.create(agent.id, messages=[{"role": "user", "content": text}], **options)


def returns(reply):
    return [m.tool_return for m in reply.messages if m.message_type == "tool_return_message"]


def reason(reply):
    return reply.stop_reason.stop_reason


APPEND = 'Call the tool core_memory_append {"label": "human", "content": "tea"}'
human = [{"label": "human", "value": "Kai"}]

# Rules come back as they were given; those about tools that the agent has not are refused.
rules = [
    {"type": "run_first", "tool_name": "conversation_search"},
    {"type": "max_count_per_step", "tool_name": "core_memory_append", "max_count_limit": 1},
]
agent = client.agents.create(name="ruled", memory_blocks=human, tool_rules=rules)
check(agent, [(rule.type, rule.tool_name) for rule in agent.tool_rules] == [
    ("run_first", "conversation_search"), ("max_count_per_step", "core_memory_append"),
])
try:
    client.agents.update(agent.id, tool_rules=[{"type": "exit_loop", "tool_name": "no_such_tool"}])
    raise AssertionError("a rule about a tool that is not there was taken")
except APIStatusError as error:
    assert error.status_code == 422 and "no_such_tool" in str(error), error

# The model sees only what it may call, and what it calls all the same is refused.
reply = say(agent, APPEND)
texts = [m.content for m in reply.messages if m.message_type == "assistant_message"]
assert any("I have no tool core_memory_append" in text for text in texts), reply.messages
reply = say(agent, "Search the conversation for tea.")
assert reason(reply) == "end_turn" and len(returns(reply)) == 1, reply

# A tool that ends the run, one that does not let it end, and one that has to come before.
ruled = client.agents.update(agent.id, tool_rules=[{"type": "exit_loop", "tool_name": "core_memory_append"}])
check(ruled, [rule.type for rule in ruled.tool_rules] == ["exit_loop"])
reply = say(agent, APPEND)
assert reason(reply) == "tool_rule" and reply.usage.step_count == 1, reply
client.agents.update(agent.id, tool_rules=[{"type": "required_before_exit", "tool_name": "core_memory_append"}])
reply = say(agent, "Hello", max_steps=3)
assert reason(reply) == "max_steps", reply
history = list(client.agents.messages.list(agent.id, order="asc", limit=200))
told = [m.content for m in history if m.message_type == "system_message"]
assert told and all(text == "Before you end, call core_memory_append." for text in told), told
assert reason(say(agent, APPEND)) == "end_turn"
client.agents.update(agent.id, tool_rules=[])

# Types of agents: one talks by a tool, the others in plain text.
plain = client.agents.create(name="plain", agent_type="letta_v1_agent", memory_blocks=human)
names = [tool.name for tool in plain.tools]
check(plain, plain.agent_type == "letta_v1_agent" and "send_message" not in names and "core_memory_append" not in names)
assert {"memory_insert", "memory_replace", "memory_rethink"} <= set(names), names
INSERT = 'Call the tool memory_insert {"label": "human", "new_string": "tea", "insert_line": 0}'
reply = say(plain, INSERT)
assert client.agents.blocks.retrieve("human", agent_id=plain.id).value == "tea\nKai"
kinds = [m.message_type for m in reply.messages]
assert reason(reply) == "end_turn" and kinds[-1] == "assistant_message" and "tool_return_message" in kinds, kinds
newer = client.agents.create(name="newer", agent_type="memgpt_v2_agent", memory_blocks=human)
assert {"send_message", "memory_insert", "memory_rethink"} <= {tool.name for tool in newer.tools}, newer.tools
wrong = say(newer, 'Call the tool memory_replace {"label": "human", "old_string": "Bo", "new_string": "x"}')
assert any("did not appear verbatim" in text for text in returns(wrong)), wrong.messages
assert reason(say(newer, "Remember that I like tea")) == "end_turn"
assert client.agents.blocks.retrieve("human", agent_id=newer.id).value == "Kai\nI like tea"
react = client.agents.create(name="react", agent_type="react_agent", memory_blocks=human, tools=["conversation_search"])
assert [tool.name for tool in react.tools] == ["conversation_search"], react.tools
assert reason(say(react, "Hello")) == "end_turn"

# Text that has to be JSON: what is not is sent back to the model.
formed = client.agents.create(
    name="formed", agent_type="letta_v1_agent", memory_blocks=[], response_format={"type": "json_object"}
)
reply = say(formed, "Hello", max_steps=2)
assert reason(reply) == "max_steps", reply
history = list(client.agents.messages.list(formed.id, order="asc", limit=200))
assert any("does not have the form" in m.content for m in history if m.message_type == "system_message"), history

# Settings for one message.
reply = say(plain, "Hello", override_model="offline/scripted", override_system="Speak like a pirate.")
assert reason(reply) == "end_turn", reply
assert client.agents.retrieve(plain.id).system == plain.system
try:
    say(plain, "Hello", override_model="nobody/nothing")
    raise AssertionError("a model that nobody serves was taken")
except APIStatusError as error:
    assert error.status_code == 422 and "nobody/nothing" in str(error), error
few = client.agents.update(agent.id, extra_body={"max_steps": 1})
assert reason(say(few, APPEND)) == "max_steps"

# A budget: refused before the model is asked, and said so.
poor = client.agents.create(name="poor", memory_blocks=[], extra_body={"budget": {"steps_per_day": 1}})
assert reason(say(poor, "Hello")) == "end_turn"
try:
    say(poor, "Hello again")
    raise AssertionError("a budget was overdrawn")
except APIStatusError as error:
    assert error.status_code == 429 and "budget_exceeded" in str(error), error
    assert "1 of 1 model calls" in str(error), error
runs = client.runs.list(agent_id=poor.id)
check(runs, [(run.status, run.stop_reason) for run in runs.items] == [("failed", "error"), ("completed", "end_turn")])
assert [run.id for run in client.runs.list(agent_id=poor.id, statuses=["failed"]).items] == [runs.items[0].id]
assert client.runs.list(agent_id=poor.id, active=True).items == []
usage = client.runs.usage.retrieve(runs.items[0].id)
check(usage, usage.total_tokens == 0)
usage = client.runs.usage.retrieve(runs.items[1].id)
assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, usage
listed = client.runs.messages.list(runs.items[1].id)
check(listed, [m.message_type for m in listed.items] == ["reasoning_message", "assistant_message"], listed)
client.agents.update(poor.id, extra_body={"budget": {"steps_per_day": 3}})
assert reason(say(poor, "Hello once more")) == "end_turn"
recorder.write(sys.argv[0])
print("all of it")
