"""Check what a wheel installs: one import name, and all data files that the packages read.

    python .ci/check_wheel.py dist/ganport-0.1.0-py3-none-any.whl

The data files that it expects are those of the work tree that holds this script.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA_FOLDERS = (
    "evaluation/models",
    "evaluation/references",
    "runtime/models",
    "trainer/pretrained",
    "web/page",
)
SINGLE_FILES = ("ganport/py.typed", "ganport/web/package-lock.json")


def expected_files() -> set[str]:
    """Return the paths that the data files of the work tree have in the wheel."""
    files = [file for folder in DATA_FOLDERS for file in (ROOT / folder).rglob("*") if file.is_file()]
    return {f"ganport/{file.relative_to(ROOT).as_posix()}" for file in files} | set(SINGLE_FILES)


def main() -> None:
    """Check the wheel that the command line names; exit with a message if something is wrong."""
    (wheel,) = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    top = {name.split("/")[0] for name in names}
    installed = sorted(name for name in top if not name.endswith(".dist-info"))
    if installed != ["ganport"]:
        sys.exit(f"{wheel} installs {', '.join(installed)}; expected ganport alone")
    missing = sorted(expected_files() - names)
    if missing:
        sys.exit(f"{wheel} lacks {', '.join(missing)}")


if __name__ == "__main__":
    main()
