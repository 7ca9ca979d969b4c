"""Whether the schemas in helm/schemas would notice anything: each kind with one field that does not exist."""

import subprocess

import pytest
import yaml
from chart import CI_FILES, ROOT, render_ci

CRDS = "helm/schemas/crds/{{.Group}}-{{.ResourceKind}}-{{.ResourceAPIVersion}}.json"
KUBERNETES = "helm/schemas/kubernetes-{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json"

ONE_OF_EACH = {
    resource["kind"]: resource for file in CI_FILES for resource in render_ci(file).resources
}


def is_valid(resource, version="1.37.0"):
    command = [ROOT / ".tools" / "bin" / "kubeconform", "-strict", "-kubernetes-version", version]
    command += ["-schema-location", KUBERNETES, "-schema-location", CRDS, "-"]
    done = subprocess.run(command, input=yaml.safe_dump(resource), capture_output=True, text=True, cwd=ROOT)
    assert "could not find schema" not in done.stdout
    return done.returncode == 0


@pytest.mark.parametrize("kind", sorted(ONE_OF_EACH))
def test_a_field_that_does_not_exist_is_noticed(kind):
    resource = ONE_OF_EACH[kind]
    assert is_valid(resource)
    assert not is_valid({**resource, "misspelt": 1})
    if "spec" in resource:
        assert not is_valid({**resource, "spec": {**resource["spec"], "misspelt": 1}})
