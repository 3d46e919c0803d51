"""letta-client with strict types, and a record of which operations it called with answers that were checked.

Every answer is validated against the client's own model types: a required field that is missing or of
another type ends the program. An operation counts as covered once an answer of its own was given to
`check`; when KELPIE_LETTA_COVERAGE names a folder, `write` leaves their names there, one a line.
"""

import csv
import os
import pathlib

from letta_client import APIResponseValidationError, Letta
from letta_client._models import validate_type
from letta_client.types.agents.block import Block
from pydantic import ValidationError

ENDPOINTS = pathlib.Path(__file__).with_name("letta_endpoints.csv")


def operations():
    """The operations of the first two tiers, as (name, resource path, method)."""
    with open(ENDPOINTS, newline="") as table:
        for row in csv.DictReader(table):
            if row["tier"] in ("1", "2"):
                path = row["resource"].split(".")
                if path == ["client"]:
                    path = []
                elif len(path) > 1 and path[-1] == path[0]:
                    path = path[:-1]
                yield f"{row['resource']}.{row['sdk_method']}", path, row["sdk_method"]


class Recorder:
    def __init__(self, base_url):
        self.client = Letta(base_url=base_url, _strict_response_validation=True)
        self.answers = []
        self.covered = set()
        try:
            validate_type(type_=Block, value={"label": "no value"})
            raise AssertionError("the types of the client let a missing field pass")
        except ValidationError:
            pass
        for name, path, method in operations():
            resource = self.client
            for part in path:
                resource = getattr(resource, part)
            setattr(resource, method, self._recorded(name, getattr(resource, method)))

    def _recorded(self, name, call):
        def called(*args, **kwargs):
            try:
                answer = call(*args, **kwargs)
            except APIResponseValidationError as error:
                raise AssertionError(f"{name}: {error.__cause__}: {error.body}") from error
            self.answers.append((name, answer))
            return answer

        return called

    def check(self, answer, condition, shown=None):
        """Asserts something about an answer that one of the recorded calls has given."""
        names = [name for name, known in self.answers if known is answer]
        assert names, f"no recorded call has given {answer!r}"
        assert condition, f"{names[-1]}: {answer if shown is None else shown!r}"
        self.covered.add(names[-1])
        return answer

    def write(self, program):
        folder = os.environ.get("KELPIE_LETTA_COVERAGE")
        if folder:
            name = pathlib.Path(program).with_suffix(".txt").name
            pathlib.Path(folder, name).write_text("".join(f"{name}\n" for name in sorted(self.covered)))
