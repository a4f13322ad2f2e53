"""`seedOf` of the JavaScript module gives the seeds of `ganport.seed_of`, in Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.conftest import ROOT
from tests.known_names import KNOWN_NAMES, LONG_NAME, LONG_NAME_SEED
from tests.web.conftest import missing

PROGRAM = """
    const { seedOf } = await import(process.argv[1]);
    const outcome = (text) => {
        try { return String(seedOf(text)); }
        catch (error) { return `${error.name} ${error.code}: ${error.message}`; }
    };
    let text = "";
    for await (const part of process.stdin) text += part;
    console.log(JSON.stringify(JSON.parse(text).map(outcome)));
"""


def outcomes(texts):
    """The seed of each text, or the error."""
    if shutil.which("node") is None:
        missing("Node.js")
    command = [
        *("node", "--input-type=module", "-e", PROGRAM),
        (ROOT / "web/page/ganport/ganport.js").as_uri(),
    ]
    result = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_name_has_the_seed_of_the_runtime_and_other_values_are_rejected():
    known = KNOWN_NAMES | {LONG_NAME: LONG_NAME_SEED}
    found = outcomes([*known, "", None, "a\ud800"])
    assert found[: len(known)] == [str(seed) for seed in known.values()]
    empty, missing_text, broken = found[len(known) :]
    assert empty == ('GanportError usage: the text is ""; it must be a text of one or more characters.')
    assert missing_text.startswith("GanportError usage: the text is null; ")
    assert broken.endswith("is not valid Unicode: half of a surrogate pair is missing.")
