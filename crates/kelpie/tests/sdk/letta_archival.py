"""Archival memory by words and by meaning, and facts that are superseded, as users of letta-client have them.

Usage: letta_archival.py BASE_URL, of a server with embeddings. Ends with an assertion error at the first difference.
"""

import sys

from letta_client import UnprocessableEntityError

from recorder import Recorder

recorder = Recorder(sys.argv[1])
client, check = recorder.client, recorder.check

embeddings = client.models.embeddings.list()
check(embeddings, [model.embedding_dim for model in embeddings] == [256])

agent = client.agents.create(name="keeper", memory_blocks=[])
texts = [
    "Kai drinks green tea in the morning",
    "The deploy runs on Friday",
    "Her favourite colour is blue",
    "The cat sat on the mat",
    "He is allergic to peanuts",
    "The invoice was paid in March",
]
for text in texts:
    client.agents.passages.create(agent.id, text=text)


def best(query, **more):
    return [hit.content for hit in client.agents.passages.search(agent.id, query=query, **more).results]


# Not one word of the question is in the passage.
for question, answer in [
    ("hot beverage", texts[0]),
    ("when do we release", texts[1]),
    ("pets", texts[3]),
    ("food intolerance", texts[4]),
    ("money owed", texts[5]),
]:
    found = best(question)
    assert found and found[0] == answer, (question, found)
assert best("Friday")[0] == texts[1]
ranked = client.passages.search(query="money owed", agent_id=agent.id)
check(ranked, ranked[0].passage.text == texts[5] and ranked[0].metadata["meaning"] > 0.2)

# The agent's own tool finds the same.
reply = client.agents.messages.create(
    agent.id, messages=[{"role": "user", "content": "Search the archive for pets."}]
)
returns = [message.tool_return for message in reply.messages if message.message_type == "tool_return_message"]
assert texts[3] in returns[0].splitlines()[0], returns

# Facts with a history.
berlin = client.agents.passages.create(agent.id, text="Kai lives in Berlin")[0]
rome = client.agents.passages.create(agent.id, text="Kai lives in Rome", extra_body={"supersedes": berlin.id})[0]
assert best("where does Kai live")[0] == "Kai lives in Rome"
assert "Kai lives in Berlin" not in best("Berlin")
assert "Kai lives in Berlin" in best("Berlin", extra_query={"history": True})
listed = {passage.id: passage for passage in client.agents.passages.list(agent.id)}
assert listed[berlin.id].superseded_by == rome.id and listed[berlin.id].superseded_at, listed[berlin.id]
try:
    client.agents.passages.create(agent.id, text="Kai lives in Oslo", extra_body={"supersedes": berlin.id})
    raise AssertionError("of a fact there is one history")
except UnprocessableEntityError as error:
    assert f"was superseded by {rome.id} already" in str(error), error

recorder.write(sys.argv[0])
print("all of it")
