"""`schedulerctl schema`: the JSON Schema of job files, for editors."""

import json

from schedulerd.adapters.jobfiles import json_schema


def schema_text() -> str:
    """The schema as the text that a `#:schema` file holds."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
