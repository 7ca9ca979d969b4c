"""Renders the chart and finds resources in what comes out."""

import functools
import json
import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).parents[2]
CHART = ROOT / "helm" / "odin"
CI_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
HELM = os.environ.get("HELM", str(ROOT / ".tools" / "bin" / "helm"))


class Refused(Exception):
    """The chart, or its schema, does not render these values; the message says why."""


class Rendered:
    def __init__(self, text):
        self.text = text
        self.resources = [resource for resource in yaml.safe_load_all(text) if resource]

    def all(self, kind):
        return [resource for resource in self.resources if resource["kind"] == kind]

    def one(self, kind, name="odin"):
        (found,) = [resource for resource in self.all(kind) if resource["metadata"]["name"] == name]
        return found

    def has(self, kind, name="odin"):
        return any(resource["metadata"]["name"] == name for resource in self.all(kind))

    def pod_specs(self):
        """(name, metadata, spec) of everything that becomes a pod."""
        for resource in self.resources:
            name = f"{resource['kind']} {resource['metadata']['name']}"
            if resource["kind"] == "Pod":
                yield name, resource["metadata"], resource["spec"]
            elif resource["kind"] in ("Deployment", "Job"):
                yield name, resource["spec"]["template"]["metadata"], resource["spec"]["template"]["spec"]

    def gateway(self, name="odin"):
        (container,) = self.one("Deployment", name)["spec"]["template"]["spec"]["containers"]
        return container

    def pod(self, name="odin"):
        return self.one("Deployment", name)["spec"]["template"]["spec"]

    def odin_toml(self, name="odin"):
        return self.one("ConfigMap", name)["data"]["odin.toml"]


def render(values=None, *files):
    """Renders with these values on top of the files. Raises Refused."""
    # Characters as they are: YAML knows no escapes of two halves.
    return _render(json.dumps(values or {}, ensure_ascii=False), *map(str, files))


def render_ci(file, values=None):
    """The same with a file of ci/, under the one it is an overlay's for."""
    return render(values, *([CHART / "values-ha.yaml"] if file.name == "ha-values.yaml" else []), file)


@functools.lru_cache(maxsize=None)
def _render(values, *files):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as own:
        own.write(values)
        own.flush()
        # A Helm 3 that was built by hand believes that Kubernetes is ancient.
        command = [HELM, "template", "odin", str(CHART), "--namespace", "streaming", "--kube-version", "1.37.0"]
        for file in [*files, own.name]:
            command += ["-f", file]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return Rendered(done.stdout)
