"""Tools of source code, archives that agents share, and what fills the prompt, as users of letta-client have them.

Usage: letta_tools.py BASE_URL. Ends with an assertion error at the first difference.
"""

import sys

import httpx
from letta_client import APIStatusError

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


def say(agent, text):
    return client.agents.messages.create(agent.id, messages=[{"role": "user", "content": text}])


def returns(reply):
    return [m.tool_return for m in reply.messages if m.message_type == "tool_return_message"]


SOURCE = '''
def roll_dice(sides: int, times: int = 1) -> str:
    """
    Rolls dice.

    Args:
        sides (int): How many sides they have.
    """
    import random
    return str([random.randint(1, sides) for _ in range(times)])
'''

# Kept, listed, shown, changed; the schema is read from the source.
tool = client.tools.create(source_code=SOURCE, tags=["games"], return_char_limit=500)
check(tool, (tool.name, tool.description, tool.tool_type) == ("roll_dice", "Rolls dice.", "custom"))
assert tool.source_code == SOURCE and tool.source_type == "python" and tool.tags == ["games"], tool
assert tool.return_char_limit == 500, tool
parameters = tool.json_schema["parameters"]
assert parameters["required"] == ["sides"] and set(parameters["properties"]) == {"sides", "times"}, parameters
assert parameters["properties"]["sides"] == {"type": "integer", "description": "How many sides they have."}
refused(409, "already exists", lambda: client.tools.create(source_code=SOURCE))
refused(422, "no function", lambda: client.tools.create(source_code="x = 1"))
refused(422, "built-in", lambda: client.tools.create(source_code="def send_message(message: str): pass"))
listed = client.tools.list(limit=100)
check(listed, [known.id for known in listed.items if known.name == "roll_dice"] == [tool.id])
shown = client.tools.retrieve(tool.id)
check(shown, shown == tool)
changed = client.tools.update(tool.id, description="Rolls dice for a game.")
check(changed, changed.description == "Rolls dice for a game." and changed.source_code == SOURCE)
replaced = client.tools.upsert(source_code=SOURCE.replace("Rolls", "Throws"))
check(replaced, replaced.id == tool.id and replaced.description == "Throws dice." and replaced.tags == [])
built_in = next(known for known in listed.items if known.name == "send_message")
refused(422, "stays as it is", lambda: client.tools.update(built_in.id, description="x"))
refused(422, "stays as it is", lambda: client.tools.delete(built_in.id))
refused(404, "Tool not found", lambda: client.tools.delete("tool-none"))
hits = client.tools.search(query="dice")
assert [hit.tool.id for hit in hits] == [tool.id], hits

# An agent has it, the model sees it; a call is refused with the reason and the agent goes on.
agent = client.agents.create(name="player", tool_ids=[tool.id], memory_blocks=[{"label": "human", "value": "Kai"}])
assert "roll_dice" in [known.name for known in agent.tools], agent.tools
named = client.agents.create(name="named", tools=["roll_dice"], memory_blocks=[])
assert [known.id for known in named.tools if known.name == "roll_dice"] == [tool.id], named.tools
reply = say(agent, 'Call the tool roll_dice {"sides": 6}')
assert any("there is no sandbox here to run it in" in text for text in returns(reply)), reply.messages
assert reply.stop_reason.stop_reason == "end_turn", reply
by_hand = client.agents.tools.run("roll_dice", agent_id=agent.id, args={"sides": 6})
assert by_hand.status == "error" and "no sandbox" in by_hand.stderr[0], by_hand

# The client may carry it out: it is offered once, with the client's schema.
own = {"name": "roll_dice", "description": "Rolls.", "parameters": {"type": "object", "properties": {}}}
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": 'Call the tool roll_dice {"sides": 6}'}], client_tools=[own]
)
request = reply.messages[-1]
assert request.message_type == "approval_request_message", reply.messages
result = {"type": "tool", "tool_call_id": request.tool_call.tool_call_id, "tool_return": "[4]", "status": "success"}
reply = client.agents.messages.create(agent.id, messages=[{"type": "approval", "approvals": [result]}])
assert "[4]" in returns(reply), reply.messages

# Archives: made, filled, searched, given to agents.
archive = client.archives.create(name="handbook", description="What everybody may read.")
check(archive, archive.name == "handbook" and archive.vector_db_provider == "native")
assert client.archives.create(name="other").id != archive.id
shown = client.archives.retrieve(archive.id)
check(shown, shown == archive)
changed = client.archives.update(archive.id, name="house rules")
check(changed, (changed.name, changed.description) == ("house rules", "What everybody may read."))
passage = client.archives.passages.create(archive.id, text="The kitchen closes at nine", tags=["house"])
check(passage, passage.archive_id == archive.id and passage.tags == ["house"])
many = client.archives.passages.create_many(
    archive.id, passages=[{"text": "The door is locked at ten"}, {"text": "Breakfast is at seven"}]
)
check(many, [passage.text for passage in many] == ["The door is locked at ten", "Breakfast is at seven"])
refused(422, "must not be empty", lambda: client.archives.passages.create_many(
    archive.id, passages=[{"text": "All or nothing"}, {"text": " "}]
))
found = client.passages.search(query="when is breakfast?", archive_id=archive.id)
check(found, found[0].passage.text == "Breakfast is at seven" and found[0].passage.archive_id == archive.id)
assert client.passages.search(query="nothing", archive_id=archive.id) == []
wish = "Search the archive for kitchen."
assert not any("closes at nine" in text for text in returns(say(agent, wish)))
attached = client.agents.archives.attach(archive.id, agent_id=agent.id)
client.agents.archives.attach(archive.id, agent_id=agent.id)
mine = client.archives.list(agent_id=agent.id)
check(attached, [known.id for known in mine.items] == [archive.id], mine)
assert any("The kitchen closes at nine" in text for text in returns(say(agent, wish)))
assert [hit.content for hit in client.agents.passages.search(agent.id, query="kitchen").results] == [
    "The kitchen closes at nine"
]
everybody = client.archives.list()
check(everybody, [known.name for known in everybody.items] == ["other", "house rules"])
assert [known.id for known in client.archives.list(name="house rules").items] == [archive.id]
gone = client.archives.passages.delete(passage.id, archive_id=archive.id)
check(gone, client.passages.search(query="kitchen", archive_id=archive.id) == [])
refused(404, "Passage not found", lambda: client.archives.passages.delete(passage.id, archive_id=archive.id))
detached = client.agents.archives.detach(archive.id, agent_id=agent.id)
check(detached, client.archives.list(agent_id=agent.id).items == [])
refused(404, "Archive not found", lambda: client.agents.archives.detach(archive.id, agent_id=agent.id))
client.agents.archives.attach(archive.id, agent_id=agent.id)
deleted = client.archives.delete(archive.id)
check(deleted, [known.name for known in client.archives.list().items] == ["other"])
refused(404, "Archive not found", lambda: client.archives.retrieve(archive.id))
assert say(agent, "Search the archive for breakfast.").stop_reason.stop_reason == "end_turn"

# What fills the prompt: the client has no method for it.
context = httpx.get(f"{sys.argv[1]}/v1/agents/{agent.id}/context").raise_for_status().json()
parts = [context[f"num_tokens_{part}"] for part in (
    "system", "core_memory", "summary_memory", "functions_definitions", "messages"
)]
assert sum(parts) == context["context_window_size_current"] > 0, context
assert context["context_window_size_max"] == agent.llm_config.context_window, context
assert "<human>" in context["core_memory"] and context["system_prompt"] == agent.system, context
assert "roll_dice" in [function["name"] for function in context["functions_definitions"]], context
assert context["num_messages"] == len(context["messages"]) and context["summary_memory"] is None, context
client.agents.messages.compact(agent.id)
after = httpx.get(f"{sys.argv[1]}/v1/agents/{agent.id}/context/").raise_for_status().json()
assert after["summary_memory"] and after["num_tokens_messages"] < context["num_tokens_messages"], after
assert after["num_recall_memory"] > context["num_recall_memory"], after

# Deleted: nobody has it any more.
gone = client.tools.delete(tool.id)
check(gone, "roll_dice" not in [known.name for known in client.agents.retrieve(agent.id).tools])
assert any("I have no tool roll_dice" in m.content for m in say(agent, "Call the tool roll_dice {}").messages
           if m.message_type == "assistant_message")
recorder.write(sys.argv[0])
print("all of it")
