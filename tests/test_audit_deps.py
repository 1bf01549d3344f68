"""`make audit-deps`: what could not be asked about is never called sound."""

import json
from typing import Any

import pytest
from tools import audit_deps
from tools.audit_deps import Findings

SOUND: dict[str, Any] = {"name": "orjson", "version": "3.13.0", "vulns": []}
UNKNOWN = {"name": "aiomqtt", "skip_reason": "Dependency not found on PyPI"}
FLAWED = {
    "name": "urllib3",
    "version": "1.0",
    "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}, {"id": "CVE-2", "fix_versions": []}],
}


def _pip(*dependencies: object) -> Findings:
    return audit_deps.read_pip_audit(json.dumps({"dependencies": dependencies}))


def test_what_is_known_to_be_vulnerable_is_named() -> None:
    """With the release that mends it."""
    found = _pip(SOUND, FLAWED)
    assert found.vulnerable == [
        "urllib3 1.0: CVE-1, fixed: 1.1",
        "urllib3 1.0: CVE-2, fixed: no release",
    ]
    assert (found.checked, found.unchecked) == (2, "")


def test_what_the_service_does_not_know_is_not_sound() -> None:
    """Neither some nor all: pip-audit itself calls both clean."""
    assert _pip(SOUND, UNKNOWN).unchecked == "the advisory service does not know aiomqtt"
    assert list(_pip(UNKNOWN).lines()) == [
        "NOTICE: Python: NOT checked: the advisory service knows none of the packages"
    ]


@pytest.mark.parametrize("printed", ["", "Traceback …", "[]", "null", "{}", '{"error": {}}'])
def test_what_is_no_report_is_no_service(printed: str) -> None:
    """As without a network."""
    for read in (audit_deps.read_pip_audit, audit_deps.read_npm_audit):
        found = read(printed)
        assert (found.checked, found.vulnerable) == (0, [])
        assert found.unchecked == "the advisory service could not be reached"


def test_packages_of_npm_are_named_too() -> None:
    """Each with how bad it is."""
    flawed = {"minimatch": {"range": "<3.0.5", "severity": "high"}}
    report = {"vulnerabilities": flawed, "metadata": {"dependencies": {"total": 7}}}
    found = audit_deps.read_npm_audit(json.dumps(report))
    assert (found.checked, found.vulnerable) == (7, ["minimatch <3.0.5: high"])


@pytest.mark.parametrize(
    ("found", "arguments", "status"),
    [
        (Findings("Python", 3), [], 0),
        (Findings("Python", 3, ["x"]), [], 1),
        (Findings("Python", unchecked="away"), [], 0),
        (Findings("Python", unchecked="away"), ["--strict"], 3),
        (Findings("Python", 3), ["--strikt"], 2),
    ],
)
def test_the_exit_status_tells(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: Findings,
    arguments: list[str],
    status: int,
) -> None:
    """A flaw always, a service that is away only when asked to be strict."""
    monkeypatch.setattr(audit_deps, "audit_python", lambda: found)
    for others in ("NPM_PACKAGES", "GO_MODULES"):
        monkeypatch.setattr(audit_deps, others, ())
    assert audit_deps.main(arguments) == status
    printed = capsys.readouterr().out
    assert ("NOT checked" in printed) is (bool(found.unchecked) and status != 2)
