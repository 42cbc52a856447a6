"""The container files cannot be built in CI: this checks the habits that hadolint would."""

import re

import pytest

from tests.helpers import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return `(name, argument)` of the last stage, continuation lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    last = max(i for i, line in enumerate(lines) if line.startswith("FROM "))
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in lines[last:])]


def test_the_container_runs_without_root_and_watches_its_health() -> None:
    names = [name for name, _ in instructions()]
    user = dict(instructions())["USER"]
    assert user.isdigit() and int(user) > 0, "a number, so that Kubernetes can check runAsNonRoot"
    assert names.index("USER") < names.index("ENTRYPOINT") and "HEALTHCHECK" in names
    assert "ADD" not in names


def test_bases_have_a_version_and_commands_are_in_exec_form() -> None:
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.M):
        assert re.search(r":\d", base) and not base.endswith(":latest")
    for name, argument in instructions():
        if name in ("ENTRYPOINT", "CMD"):
            assert argument.startswith("[") and argument.endswith("]")
        if name == "RUN":
            assert "--no-cache-dir" in argument and "--constraint" in argument and "sudo" not in argument


def test_what_is_copied_exists() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"), re.M):
        for source in line.split():
            assert (ROOT / source).exists(), source


def test_the_container_needs_a_token_and_compose_stays_on_loopback() -> None:
    arguments = dict(instructions())
    assert "--token-file" in arguments["CMD"] and "--insecure" not in arguments["ENTRYPOINT"]
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["fervit"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["mem_limit"]
    assert "no-new-privileges:true" in service["security_opt"] and "privileged" not in service
