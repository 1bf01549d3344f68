"""Ask the advisory services about every pinned dependency: of Python, of npm, of Go.

Says what is known to be vulnerable, and ends with 1 if anything is. What could not be asked about
is said as well, and is never taken for sound: an index without advisories answers "not found",
which pip-audit by itself calls clean. With ``--strict`` that ends with 3, else with 0, so that CI
can run without the services.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PINS = Path("constraints.txt")
NPM_PACKAGES = (Path("gen/ts/package.json"), Path("tests/polyglot/ts/package.json"))
GO_MODULES = (Path("gen/go"), Path("tests/polyglot/go"))
SERVICES = ("pypi", "osv")
SECONDS = 60


@dataclass
class Findings:
    """What is known of the dependencies of one ecosystem."""

    name: str
    checked: int = 0
    vulnerable: list[str] = field(default_factory=list)
    unchecked: str = ""
    """Why something was not checked; empty when all was."""

    def lines(self) -> Iterable[str]:
        """For people."""
        if self.checked:
            yield f"{self.name}: {self.checked} checked, {len(self.vulnerable)} vulnerable"
        yield from (f"  VULNERABLE {one}" for one in self.vulnerable)
        if self.unchecked:
            yield f"NOTICE: {self.name}: NOT checked: {self.unchecked}"


def read_pip_audit(document: str) -> Findings:
    """What pip-audit has printed as JSON."""
    found = Findings("Python")
    try:
        dependencies = json.loads(document)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        found.unchecked = "the advisory service could not be reached"
        return found
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    found.checked = len(dependencies) - len(skipped)
    for one in dependencies:
        for known in one.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no release"
            found.vulnerable.append(
                f"{one['name']} {one['version']}: {known['id']}, fixed: {fixed}"
            )
    if skipped and not found.checked:
        found.unchecked = "the advisory service knows none of the packages"
    elif skipped:
        found.unchecked = f"the advisory service does not know {', '.join(skipped)}"
    return found


def read_npm_audit(document: str) -> Findings:
    """What npm audit has printed as JSON."""
    found = Findings("npm")
    try:
        read: dict[str, Any] = json.loads(document)
        found.checked = read["metadata"]["dependencies"]["total"]
        for name, one in read["vulnerabilities"].items():
            found.vulnerable.append(f"{name} {one['range']}: {one['severity']}")
    except (json.JSONDecodeError, KeyError, TypeError):
        found.unchecked = "the advisory service could not be reached"
    return found


def audit_python() -> Findings:
    """Ask one service after the other until one knows something."""
    found = Findings("Python", unchecked="no service was asked")
    for service in SERVICES:
        command = ["pip-audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", service, "--format", "json"]
        found = read_pip_audit(_output([*command, "--progress-spinner", "off"]))
        if found.checked:
            break
    return found


def audit_npm(package: Path) -> Findings:
    """The packages that npm would install now: their lock file is not committed."""
    if shutil.which("npm") is None:
        return Findings("npm", unchecked="npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(package, folder)
        lock = ["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"]
        _output(lock, folder)
        found = read_npm_audit(_output(["npm", "audit", "--json"], folder))
    found.name = f"npm ({package.parent})"
    return found


def audit_go(module: Path) -> Findings:
    """Where govulncheck is installed."""
    found = Findings(f"Go ({module})")
    if shutil.which("govulncheck") is None:
        found.unchecked = "govulncheck is not installed"
        return found
    done = _run(["govulncheck", "./..."], module)
    if done is None or done.returncode not in (0, 3):
        found.unchecked = "the advisory service could not be reached"
        return found
    found.checked = 1
    found.vulnerable = [one for one in done.stdout.splitlines() if one.startswith("Vulnerability")]
    return found


def main(arguments: list[str]) -> int:
    """Check everything; the exit status says what came of it."""
    if unknown := [one for one in arguments if one != "--strict"]:
        sys.stderr.write(f"error: unknown argument {unknown[0]}; there is only --strict\n")
        return 2
    findings = [audit_python(), *map(audit_npm, NPM_PACKAGES), *map(audit_go, GO_MODULES)]
    for found in findings:
        for line in found.lines():
            print(line)
    if any(found.vulnerable for found in findings):
        return 1
    return 3 if "--strict" in arguments and any(found.unchecked for found in findings) else 0


def _output(command: list[str], folder: str | Path = ".") -> str:
    done = _run(command, folder)
    return "" if done is None else done.stdout


def _run(command: list[str], folder: str | Path) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
