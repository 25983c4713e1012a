"""What can be said of the files without a cloud, an operator or a container runtime."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from orchestrator.app.doctor.software import read_pins

CHECKOUT = Path(__file__).resolve().parents[3]
DEPLOY = CHECKOUT / "cluster" / "deploy"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
PINS = read_pins(CHECKOUT / "constraints.txt")
IMAGE = f"REGISTRY/foretune-dependencies:{PROJECT['version']}"
RAY_UP = ("ray-up-machines.yaml", "ray-up-aws.yaml")
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
STEPS = [
    line.split(maxsplit=1)
    for line in CONTAINERFILE.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_files_keep_to_rays_own_schema(name: str) -> None:
    schema = json.loads((files("ray.autoscaler") / "ray-schema.json").read_text())
    jsonschema.validate(loaded(name), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(loaded(name) | {"worker_nodes": {}}, schema)


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_starts_every_node_with_the_token_and_keeps_the_dashboard_to_itself(name: str) -> None:
    content = loaded(name)
    assert content["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    commands = content["head_start_ray_commands"] + content["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ray start ") for command in starts)
    assert "dashboard-host" not in " ".join(commands)
    assert content["docker"]["image"] == IMAGE


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_options_are_those_that_ray_start_has(name: str) -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    content = loaded(name)
    for command in content["head_start_ray_commands"] + content["worker_start_ray_commands"]:
        options = {word.split("=")[0] for word in shlex.split(command) if word.startswith("--")}
        assert options <= known


def test_aws_nodes_are_all_wanted_from_the_start() -> None:
    """Foretune asks for no nodes: what is not wanted by itself would never come."""
    content = loaded("ray-up-aws.yaml")
    workers = [
        kind for name, kind in content["available_node_types"].items() if name != content["head_node_type"]
    ]
    assert all(kind["min_workers"] == kind["max_workers"] for kind in workers)
    assert content["max_workers"] == sum(kind["max_workers"] for kind in workers)


CLAIM, CLUSTER = yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())
GROUPS = [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]
PODS = [group["template"]["spec"] for group in GROUPS]


def test_kuberay_has_the_ray_that_the_image_gets() -> None:
    assert CLUSTER["spec"]["rayVersion"] == PINS["ray"]
    assert {container["image"] for pod in PODS for container in pod["containers"]} == {IMAGE}


def test_kuberay_takes_the_token_from_a_secret_that_no_file_holds() -> None:
    for pod in PODS:
        variables = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        reference = variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "foretune-token", "key": "auth_token"}
    kinds = [document["kind"] for document in yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())]
    assert kinds == ["PersistentVolumeClaim", "RayCluster"]


def test_kuberay_pods_share_one_folder_and_are_nobody_special() -> None:
    (uid,) = re.findall(r"useradd .*--uid (\d+)", CONTAINERFILE)
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in PODS:
        (volume,) = pod["volumes"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        assert (mount["name"], mount["mountPath"]) == (volume["name"], "/shared")
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": int(uid), "fsGroup": int(uid)}
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_kuberay_runs_no_trial_on_the_head_and_as_many_workers_as_are_wanted() -> None:
    assert GROUPS[0]["rayStartParams"]["num-cpus"] == "0"
    for group in GROUPS[1:]:
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]


def test_container_has_a_python_that_will_do_and_installs_nothing_that_is_not_pinned() -> None:
    (base,) = re.findall(r"^FROM python:([\d.]+)-", CONTAINERFILE, flags=re.MULTILINE)
    assert SpecifierSet(PROJECT["requires-python"]).contains(base)
    installs = re.findall(r"pip install [^\n]*", CONTAINERFILE)
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in install for install in installs)


def test_container_runs_as_no_root_and_carries_no_secret() -> None:
    stages = "\n".join(" ".join(step) for step in STEPS).split("FROM ")[1:]
    for stage in stages:
        assert re.findall(r"^USER (\w+)", stage, flags=re.MULTILINE)[-1] == "foretune"
    given = " ".join(step[1] for step in STEPS if step[0] in ("ARG", "ENV"))
    assert not re.search(r"TOKEN|SECRET|PASSWORD|KEY", given)
    assert not any(step[1].split()[0] in (".", "./") for step in STEPS if step[0] == "COPY")


def test_container_gets_what_the_project_declares_in_versions_that_are_pinned(tmp_path: Path) -> None:
    (code,) = re.findall(r'RUN python -c "([^"]+)" > requirements.txt', CONTAINERFILE)
    (tmp_path / "pyproject.toml").write_text((CHECKOUT / "pyproject.toml").read_text())
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    wanted = [Requirement(line) for line in done.stdout.splitlines()]
    extras = PROJECT["optional-dependencies"]
    assert len(wanted) == len(PROJECT["dependencies"] + extras["quantisation"] + extras["http"])
    for requirement in wanted:
        assert requirement.specifier.contains(PINS[requirement.name.lower().replace("_", "-")])


def test_container_is_given_all_that_an_installation_needs(tmp_path: Path) -> None:
    """The wheel is built from what the file copies and nothing else."""
    pytest.importorskip("setuptools")
    for step in STEPS:
        if step[0] == "COPY":
            *sources, _ = step[1].split()
            for source in sources:
                path = CHECKOUT / source
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, tmp_path / source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    outside = os.environ | {"PIP_NO_INDEX": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(wheel, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(made).namelist())
    for package in ("orchestrator", "workers", "surrogates", "cluster"):
        assert f"{package}/__init__.py" in names
    assert {f"cluster/deploy/{path.name}" for path in DEPLOY.iterdir()} <= names
