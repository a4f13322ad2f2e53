"""Write a software bill of materials: the packages that a lock file pins, as CycloneDX 1.6 in JSON.

    python -m scripts.make_sbom requirements/cpu.txt dist/ganport-cpu.cdx.json

The packages of the browser page are those of web/package-lock.json. Equal lock files give equal bytes, so the
document has neither a time nor a serial number. It lists versions and hashes; it does not say which of them
have known vulnerabilities, which needs a database, such as that of pip-audit.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from pathlib import Path
from typing import Any

from ganport.runtime import __version__
from ganport.runtime.files import write_bytes

NPM_LOCK = Path("web/package-lock.json")
_OURS = f"pkg:pypi/ganport@{__version__}"
# A line such as: colorama==0.4.6 ; sys_platform == 'win32'
_PIN = re.compile(
    r"(?P<name>[\w.-]+)(\[[\w,-]+\])?==(?P<version>[^\s;\\]+)\s*(;\s*(?P<marker>[^\\]+?))?\s*\\?"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Package:
    """A pinned package.

    Attributes:
        name: Name of the package.
        version: Its version.
        marker: Condition of the environment; empty if the package is always installed.
        hashes: SHA-256 of each file of this version.
        parents: Names of the packages that need it.
    """

    def __init__(self, name: str, version: str, marker: str) -> None:
        self.name, self.version, self.marker = name, version, marker
        self.hashes: list[str] = []
        self.parents: list[str] = []

    @property
    def url(self) -> str:
        """The package URL (purl), which identifies the package in the document."""
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def read_lock(text: str) -> list[Package]:
    """Return the packages of a lock file, as `uv pip compile --generate-hashes` writes it."""
    packages: list[Package] = []
    for line in text.splitlines():
        if found := _PIN.fullmatch(line.strip()):
            packages.append(Package(found["name"], found["version"], found["marker"] or ""))
        elif found := _HASH.search(line):
            packages[-1].hashes.append(found[1])
        elif line.strip().startswith("#"):
            parent = line.strip("# ").removeprefix("via").strip()
            if parent:
                packages[-1].parents.append(parent)
        elif line.strip():
            raise SystemExit(f"This line of the lock file is not understood: {line}")
    return packages


def describe(package: Package) -> dict[str, Any]:
    """Return a package as a component of the document."""
    files = {
        "type": "distribution",
        "url": f"https://pypi.org/project/{package.name}/{package.version}/#files",
        "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
    }
    component = {
        "type": "library",
        "bom-ref": package.url,
        "name": package.name,
        "version": package.version,
        "purl": package.url,
        "externalReferences": [files],
    }
    if package.marker:
        marker = {"name": "ganport:environment-marker", "value": package.marker}
        component |= {"scope": "optional", "properties": [marker]}
    return component


def describe_npm(lock: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the packages of an npm lock file as components of the document."""
    components = []
    for path, entry in lock["packages"].items():
        if path:
            name = path.rpartition("node_modules/")[2]
            algorithm, _, digest = entry["integrity"].partition("-")
            url = f"pkg:npm/{name.replace('@', '%40')}@{entry['version']}"
            content = base64.b64decode(digest).hex()
            components.append(
                {
                    "type": "library",
                    "bom-ref": url,
                    "name": name,
                    "version": entry["version"],
                    "licenses": [{"license": {"id": entry["license"]}}],
                    "purl": url,
                    "hashes": [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": content}],
                }
            )
    return components


def make_sbom(packages: list[Package], npm: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document.

    Args:
        packages: Packages of a Python lock file.
        npm: Components of the browser page, which ganport itself needs.
    """
    needs: dict[str, list[str]] = {package.url: [] for package in packages}
    needs[_OURS] = [component["bom-ref"] for component in npm]
    by_name = {package.name: package.url for package in packages}
    for package in packages:
        for parent in package.parents:
            needs[_OURS if parent.startswith("ganport") else by_name[parent]].append(package.url)
    ours = {
        "type": "library",
        "bom-ref": _OURS,
        "name": "ganport",
        "version": __version__,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": _OURS,
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": ours},
        "components": [*map(describe, packages), *npm],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in sorted(needs.items())],
    }


def main() -> None:
    """Write the document that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("lock", type=Path, help="lock file, such as requirements/cpu.txt")
    parser.add_argument("out", type=Path, help="file to write, such as dist/ganport-cpu.cdx.json")
    given = parser.parse_args()
    npm = describe_npm(json.loads(NPM_LOCK.read_text()))
    document = make_sbom(read_lock(given.lock.read_text()), npm)
    write_bytes(given.out, json.dumps(document, indent=2).encode() + b"\n")
    print(f"{given.out}: {len(document['components'])} packages")


if __name__ == "__main__":
    main()
