"""The job table as a whole: check files without taking them, read the jobs directory anew."""

import tempfile
from pathlib import Path, PurePosixPath

from fastapi import APIRouter
from starlette.responses import Response

from schedulerd.adapters import jobfiles
from schedulerd.api.context import Ctx, as_json
from schedulerd.api.door import RELOAD_TIMEOUT
from schedulerd.api.problems import problem
from schedulerd.errors import CommandError, JobFileError
from schedulerd.protocol.api_answers import CheckAnswer, CheckBody
from schedulerd.protocol.api_types import ReloadAnswer

router = APIRouter(prefix="/v1", tags=["table"])

_MAX_FILES = 1000
_CONSEQUENCE = "; the table in force stays"  # goes without saying where nothing was to be changed


@router.post("/check", response_model=CheckAnswer)
def check_files(ctx: Ctx, body: CheckBody) -> Response:
    """Whether these job files together would be taken as a table, and everything that is wrong with them."""
    if len(body.files) > _MAX_FILES:
        raise CommandError("invalid", f"files: {len(body.files)} were found; expected at most {_MAX_FILES}")
    with tempfile.TemporaryDirectory(prefix="schedulerd-check-") as directory:
        for name, text in body.files.items():
            place = Path(directory, _relative(name))
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, encoding="utf-8", newline="")
            except (OSError, UnicodeEncodeError) as error:
                raise CommandError("invalid", f'files: "{name}" cannot be a job file: {error}') from error
        try:
            definitions = jobfiles.load(Path(directory), ctx.defaults())
        except JobFileError as error:
            faults = [fault.removesuffix(_CONSEQUENCE) for fault in error.faults]
            return as_json(CheckAnswer(jobs=[], faults=faults))
    return as_json(CheckAnswer(jobs=[definition.job.name for definition in definitions]))


@router.post("/reload", response_model=ReloadAnswer)
def reload_table(ctx: Ctx) -> Response:
    """Read the jobs directory anew; with any fault (422) the table in force stays."""
    answer = ctx.door.reload(RELOAD_TIMEOUT)
    if answer.faults:
        count = len(answer.faults)
        many = "a fault was" if count == 1 else f"{count} faults were"
        return problem(422, f"{many} found in the job files; the table in force stays", faults=answer.faults)
    return as_json(answer)


def _relative(name: str) -> PurePosixPath:
    """The path of a file below the directory it is checked in. Raises CommandError for one that leads out of it."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or path.suffix != ".toml"
        or "\0" in name
        or len(path.parts) > 16
    ):
        raise CommandError("invalid", f'files: "{name}" is not a relative path that ends in .toml')
    return path
