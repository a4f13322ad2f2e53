"""The cause of an error of Keras or TensorFlow, in one line for people."""

from __future__ import annotations

import re

from ganport.runtime.display import printable

_LONGEST = 240  # characters

# Each match is removed, in this order. Keras and TensorFlow put the cause behind these texts, or in front of
# them.
_NOISE = (
    r"\x1b\[\d*m",  # colours of a terminal
    r"(?s).*Exception encountered: ",  # Keras: cause of a layer, in front of that of the layer inside of it
    r"^Exception encountered when calling [^\n]*\s*",
    r"\{\{[^}]*\}\}\s*",  # TensorFlow: name of a node in a graph
    r"(?s)in user code:\s.*\n\s*\w*(Error|Exception): ",  # TensorFlow: lines of the user's program
    r" using config=\{.*",  # Keras: dump of a configuration
    r" (?:Full object )?[Cc]onfig: ?\{.*",
    r"\s*Make sure custom classes.*",
    r"\s*Please ensure .*",
)


def cause_of(error: BaseException) -> str:
    """Return one line with the cause of an error, without configurations and without a full stop at its end.

    >>> cause_of(TypeError("Could not deserialize 'X' using config={'a': 1}. Exception encountered: bad."))
    'bad'
    >>> cause_of(TypeError("Could not deserialize 'X' using config={'a': 1}."))
    "Could not deserialize 'X'"
    >>> cause_of(KeyError())
    'KeyError'
    """
    # The text of a KeyError is the `repr` of its argument.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    for pattern in _NOISE:
        text = re.sub(pattern, "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = printable(lines[0] if lines else type(error).__name__).rstrip(".:")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
