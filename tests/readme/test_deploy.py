"""The manifests of the page on deployment, as those read them who take them."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeframe_async.cli.program import commands

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="knows what Kubernetes takes")
yaml = pytest.importorskip("yaml")

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def blocks(language: str, page: str = "deploy") -> list[str]:
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, language
    return found


LOADED = [yaml.safe_load(block) for block in blocks("yaml")]
MANIFESTS = [block for block in LOADED if "kind" in block]
OF_PROMETHEUS = [block for block in LOADED if "kind" not in block]
OF_A_CLUSTER = [yaml.safe_load(block) for block in blocks("yaml", "cluster")]


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]
    return spec["template"]["spec"] if manifest["kind"] == "Deployment" else spec


@pytest.mark.parametrize("manifest", [*MANIFESTS, *OF_A_CLUSTER], ids=lambda manifest: manifest["kind"])
def test_kubernetes_takes_the_manifest(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_prometheus_finds_the_port_of_the_pod_and_has_its_token() -> None:
    [deployment] = [manifest for manifest in MANIFESTS if manifest["kind"] == "Deployment"]
    [scraped] = [job for of in OF_PROMETHEUS for job in of["scrape_configs"]]
    assert scraped["authorization"].keys() == {"credentials_file"}  # its type is Bearer where nothing is said
    kept = {each["source_labels"][0].rpartition("pod_")[2]: each["regex"] for each in scraped["relabel_configs"]}
    [port] = pod_of(deployment)["containers"][0]["ports"]
    assert kept == {
        "label_app": deployment["spec"]["template"]["metadata"]["labels"]["app"],
        "container_port_name": port["name"],
    }


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_pod_has_longer_to_stop_than_what_it_drains(manifest: dict[str, Any]) -> None:
    assert pod_of(manifest)["terminationGracePeriodSeconds"] > 30


def test_dask_takes_the_command_lines_of_a_cluster() -> None:
    pytest.importorskip("distributed", reason="knows what its commands take")
    from distributed.cli import dask_scheduler, dask_worker

    commands = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    containers = [pod_of(each)["containers"][0] for each in OF_A_CLUSTER if each["kind"] == "Deployment"]
    for container in containers:
        assert container["command"] == ["dask"]
        name, *arguments = container["args"]
        commands[name].make_context(name, [*arguments])  # raises for what it does not know
    assert len(containers) == len(commands)


def of_the_command_line() -> list[list[str]]:
    """All commands of ours that the page gives to somebody."""
    (docker,) = blocks("dockerfile")
    lines = [json.loads(found) for found in re.findall(r"(?:ENTRYPOINT|CMD) (\[.*\])$", docker, re.MULTILINE)]
    entry = lines[-1]
    for manifest in MANIFESTS:
        (container,) = pod_of(manifest)["containers"]
        lines.append([*entry, *container["args"]])
        lines += [
            container[probe]["exec"]["command"]
            for probe in ("livenessProbe", "readinessProbe")
            if "exec" in container[probe]
        ]
    lines.append(unit()["Service"]["ExecStart"].split())
    return lines


def unit() -> configparser.ConfigParser:
    (block,) = blocks("ini")
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(block)
    return parser


@pytest.mark.parametrize("line", of_the_command_line(), ids=" ".join)
def test_the_command_line_takes_all_of_it(line: list[str]) -> None:
    program, command, *arguments = line
    assert Path(program).name == "pipeframe"
    folder = [argument if not argument.startswith("/srv") else "/" for argument in arguments]
    commands.commands[command].make_context(command, folder, resilient_parsing=False)


def test_the_unit_waits_for_the_drain_and_lets_the_program_end_its_workers() -> None:
    service = unit()["Service"]
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert int(service["TimeoutStopSec"]) > 30


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    (block,) = blocks("ini")
    path = tmp_path / "orders.service"
    path.write_text(re.sub("ExecStart=.*", "ExecStart=/bin/true", block))
    checked = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_container_has_no_shell_between_the_signal_and_the_program() -> None:
    (docker,) = blocks("dockerfile")
    entry = [line for line in docker.splitlines() if line.startswith(("ENTRYPOINT", "HEALTHCHECK"))]
    assert all("[" in line for line in entry)
