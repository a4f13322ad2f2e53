"""Changes that `mkdocs build` makes to the pages, in addition to its configuration in mkdocs.yml."""

from __future__ import annotations

import re


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return the page with its links to files outside docs/ as plain text.

    The site does not hold these files. Where the repository is browsed, such links work.

    >>> on_page_markdown("See [examples](../examples/README.md) and [training](training.md).")
    'See examples and [training](training.md).'
    """
    return re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", markdown)
