"""The manifests for KubeRay: whole YAML, known fields, and commands and arguments that exist."""

import shlex
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from vita_demo.cluster.pool import Pool
from vita_demo.errors import ConfigError

FOLDER = ROOT / "configs" / "kuberay"
FIELDS = {
    "RayJob": {"entrypoint", "shutdownAfterJobFinishes", "backoffLimit", "rayClusterSpec"},
    "RayService": {"serveConfigV2", "rayClusterConfig"},
}
CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["batch.yaml", "serve.yaml"])
def test_a_manifest_has_the_fields_of_its_kind_and_mounts_what_it_names(name: str) -> None:
    manifest = read(name)
    assert manifest["apiVersion"] == "ray.io/v1"
    assert set(manifest["spec"]) == FIELDS[manifest["kind"]]
    cluster = manifest["spec"].get("rayClusterSpec") or manifest["spec"]["rayClusterConfig"]
    assert set(cluster) == CLUSTER
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()
    (workers,) = cluster["workerGroupSpecs"]
    assert set(workers) == WORKERS
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert "requests" not in container["resources"]
    assert int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) == 1


def test_the_command_of_the_batch_is_understood_and_has_as_many_copies_as_there_are_machines() -> None:
    from vita_demo.cli import cli

    spec = read("batch.yaml")["spec"]
    program, name, *arguments = shlex.split(spec["entrypoint"])
    assert (program, name) == ("vita-demo", "batch")
    flags = cli.commands[name].make_context(name, arguments).params
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert Pool.parse(flags["workers"], "--workers") == Pool(workers["minReplicas"], workers["maxReplicas"])
    assert flags["ray"] == "auto"


@pytest.mark.filterwarnings("ignore")  # Ray warns of its own code
def test_the_arguments_of_the_server_are_its_flags(tmp_path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.serve.schema import ServeDeploySchema

    from vita_demo.cluster import serving

    spec = read("serve.yaml")["spec"]
    (app,) = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"])).applications
    module, _, name = app.import_path.partition(":")
    assert getattr(serving, name).__module__ == module
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-some-length\n")
    source, options, pool = serving.read_arguments({**app.args, "api_key_file": str(keys)})
    assert (source.model_path, source.device, options.api_key_file) == ("/data/VITA-1.5", "cuda", keys)
    (workers,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    assert pool == Pool(workers["minReplicas"], workers["maxReplicas"])
    with pytest.raises(ConfigError, match="modle_path is no flag"):
        serving.read_arguments({"modle_path": "x"})
