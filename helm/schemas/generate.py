#!/usr/bin/env python3
"""Makes the JSON schemas beside it, with which kubeconform checks what the chart renders.

They are kept in the repository, because CI cannot download the ones that kubeconform would use, and because only the kinds
that the chart renders are wanted. Run it after a change of the versions below; it needs Go, a Python with PyYAML and pip, and
the registries of both. It refuses a kind that it does not find.

Sources: schemas of Kubernetes from kubernetes-validate on PyPI, which makes them strict; CRDs from the Go modules of
their projects, made strict here as the API server is with `kubectl --validate=strict`.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import yaml

HERE = pathlib.Path(__file__).parent
KUBERNETES_VALIDATE = "1.37.0"
# The oldest that Chart.yaml allows, and the newest there is.
KUBERNETES = ["1.30.0", "1.37.0"]
KINDS = [
    "configmap-v1",
    "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2",
    "ingress-networking-v1",
    "job-batch-v1",
    "networkpolicy-networking-v1",
    "pod-v1",
    "poddisruptionbudget-policy-v1",
    "secret-v1",
    "service-v1",
    "serviceaccount-v1",
]
# Module, version, file, version of the API.
CRDS = [
    ("sigs.k8s.io/gateway-api", "v1.6.1", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "v1"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "v1",
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "v1",
    ),
    ("github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"),
]


def without_prose(node):
    """The same without descriptions, which are nine tenths of the bytes. A property of that name stays."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: without_prose(value)
        for key, value in node.items()
        if not (key == "description" and isinstance(value, str)) and not key.startswith("x-kubernetes-")
    }


def references(node):
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rsplit("/", 1)[1]
        for value in node.values():
            yield from references(value)


def own_references(node):
    """The same with references into the file itself."""
    if isinstance(node, list):
        return [own_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: "#/$defs/" + value.rsplit("/", 1)[1] if key == "$ref" and isinstance(value, str) else own_references(value)
        for key, value in node.items()
    }


def write(path, schema):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


def kubernetes(wheel):
    for version in KUBERNETES:
        folder = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"
        definitions = json.loads(wheel.read(f"{folder}/_definitions.json"))["$defs"]
        for kind in KINDS:
            schema = without_prose(json.loads(wheel.read(f"{folder}/{kind}.json")))
            needed, waiting = {}, list(references(schema))
            while waiting:
                name = waiting.pop()
                if name not in needed:
                    needed[name] = without_prose(definitions[name])
                    waiting.extend(references(needed[name]))
            schema["$defs"] = needed
            write(HERE / f"kubernetes-v{version}" / f"{kind}.json", own_references(schema))


def strict(node):
    """An object with properties has no others, unless its schema says otherwise."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Before the x-kubernetes-… go: an integer or a string has no type in a CRD.
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    node = {key: strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
    return node


def crds():
    for module, version, file, api in CRDS:
        answer = subprocess.run(
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            check=True,
            stdout=subprocess.PIPE,
            cwd=tempfile.gettempdir(),
        )
        crd = yaml.safe_load((pathlib.Path(json.loads(answer.stdout)["Dir"]) / file).read_text())
        (schema,) = [
            entry["schema"]["openAPIV3Schema"] for entry in crd["spec"]["versions"] if entry["name"] == api and entry["served"]
        ]
        # metadata is Kubernetes's own; the CRD says only that it is an object.
        schema = strict({**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}})
        schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
        kind, group = crd["spec"]["names"]["kind"].lower(), crd["spec"]["group"]
        write(HERE / "crds" / f"{group}-{kind}-{api}.json", without_prose(schema))


def main():
    for old in [*(HERE / f"kubernetes-v{version}" for version in KUBERNETES), HERE / "crds"]:
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder]
            + [f"kubernetes-validate=={KUBERNETES_VALIDATE}"],
            check=True,
        )
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            kubernetes(opened)
    crds()


main()
