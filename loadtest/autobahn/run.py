#!/usr/bin/env python3
"""Runs the Autobahn|Testsuite's fuzzing client against a WebSocket echo server.

    loadtest/autobahn/run.py --url ws://127.0.0.1:9001

Cases 1-7, 9 and 10 of autobahntestsuite 0.8.2: framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing,
large messages. Left out are 12 and 13: they test compression, which odin does not offer. Passed means that every case
that was to run did, and that its behaviour and its closing are both OK or INFORMATIONAL. NON-STRICT is a failure.

The server must echo every text and binary message and send nothing of its own; it must take messages of 16 MiB and
65,537 fragments. `make autobahn` starts one with the gateway's own sockets and frames.

The suite is for Python 2.7, which is looked for on the PATH and in pyenv; ODIN_PYTHON2 names another one (PyPy too).
The pinned packages of requirements.txt go to .tools/autobahn, once; reports are left there to be read with a browser.
"""

import argparse
import ast
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / ".tools" / "autobahn"
REQUIREMENTS = HERE / "requirements.txt"

# Written in C, for speed only: the suite masks and checks UTF-8 in Python where it cannot be built.
ACCELERATOR = "wsaccel==0.6.6"

CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits, performance",
    "10": "auto-fragmentation",
}
PASSED = ("OK", "INFORMATIONAL")

# `--target` leaves namespace packages to .pth files, which only a site directory has read.
LAUNCH = """
import site, sys
lib, sys.argv = sys.argv[1], ["wstest"] + sys.argv[2:]
before = sys.path[:]
site.addsitedir(lib)
sys.path[:] = [entry for entry in sys.path if entry not in before] + before
from autobahntestsuite.wstest import run
run()
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="of the echo server, for instance ws://127.0.0.1:9001")
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="CASE", help="default: " + " ".join(CASES))
    parser.add_argument("--protocol", action="append", default=[], help="sub-protocol to offer; may be repeated")
    parser.add_argument("--agent", default="odin", help="name of the server in the reports")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for the whole run (default: 1800)")
    arguments = parser.parse_args()

    python = find_python()
    lib = install(python)
    planned, results, reports = run(python, lib, arguments)
    failed = show(planned, results)
    print(f"reports: {reports / 'index.html'}")
    sys.exit(1 if failed else 0)


def find_python():
    """The first Python 2.7 that answers; a name on the PATH may be pyenv's and lead nowhere."""
    candidates = [os.environ["ODIN_PYTHON2"]] if os.environ.get("ODIN_PYTHON2") else ["python2.7", "python2"]
    if not os.environ.get("ODIN_PYTHON2"):
        root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
        candidates += sorted(map(str, root.glob("versions/2.7*/bin/python2.7")), reverse=True)
        candidates += sorted(map(str, root.glob("versions/pypy2*/bin/pypy")), reverse=True)
        candidates += ["pypy2", "pypy"]
    for candidate in candidates:
        try:
            probe = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True, text=True, timeout=30, check=False,
            )
        except OSError:
            continue
        if probe.returncode == 0 and probe.stdout.strip() == "2.7":
            return candidate
    sys.exit("no python 2.7 found (tried " + ", ".join(candidates) + "); name one in ODIN_PYTHON2")


def install(python):
    """Installs the pinned packages unless these very ones are there; returns their folder."""
    lib, mark = TOOLS / "lib", TOOLS / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + ACCELERATOR.encode() + python.encode()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return lib
    print(f"installing autobahntestsuite for {python} into {TOOLS}", flush=True)
    shutil.rmtree(TOOLS, ignore_errors=True)
    TOOLS.mkdir(parents=True)
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0:
        sys.exit(f"{python} has no pip; try: {python} -m ensurepip --user")
    pip = [python, "-W", "ignore", "-m", "pip", "--quiet", "install", "--no-deps", "--target", str(lib)]
    if subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=False).returncode != 0:
        sys.exit("could not install the packages of requirements.txt")
    if subprocess.run([*pip, ACCELERATOR], capture_output=True, check=False).returncode != 0:
        print(f"{ACCELERATOR} could not be built: the large messages of case 9 will be slow")
    mark.write_text(wanted)
    return lib


def run(python, lib, arguments):
    """Runs the cases; returns the ids planned, the results by id, and where the reports are."""
    reports, spec, log = TOOLS / "reports", TOOLS / "spec.json", TOOLS / "run.log"
    shutil.rmtree(reports, ignore_errors=True)
    server = {"agent": arguments.agent, "url": arguments.url, "protocols": arguments.protocol}
    spec.write_text(json.dumps({
        "outdir": str(reports),
        "servers": [server],
        "cases": arguments.cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }))
    command = [python, "-u", "-c", LAUNCH, str(lib), "--mode", "fuzzingclient", "--spec", str(spec)]
    with log.open("w") as out:
        client = subprocess.Popen(command, cwd=TOOLS, stdout=out, stderr=subprocess.STDOUT)
        try:
            client.wait(arguments.timeout)
        except subprocess.TimeoutExpired:
            sys.exit(f"not finished after {arguments.timeout:g} s; see {log}")
        finally:
            client.kill()
            client.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    plan = re.search(r"^Cases = (\[.*\])$", said, re.MULTILINE)
    index = reports / "index.json"
    if plan is None or not index.exists():
        sys.exit(f"the fuzzing client did not run:\n{said[-2000:]}")
    results = json.loads(index.read_text()).get(arguments.agent, {})
    if not results:
        sys.exit(f"no case was run, is there a server at {arguments.url}?\n{said.strip().splitlines()[-1]}")
    return ast.literal_eval(plan[1]), results, reports


def show(planned, results):
    """Prints a line for each group and each case that has not passed; returns how many those are."""
    groups = collections.defaultdict(collections.Counter)
    failures = []
    for case in planned:
        result = results.get(case)
        outcome = judge(result)
        groups[case.split(".")[0]].update([outcome, "cases"])
        groups[case.split(".")[0]]["ms"] += result["duration"] if result else 0
        if outcome not in PASSED:
            behaviours = f"{result['behavior']}, closing {result['behaviorClose']}" if result else "did not run"
            failures.append(f"  {outcome:<10} {case}: {behaviours}")
    columns = ["cases", "OK", "INFORMATIONAL", "NON-STRICT", "FAILED"]
    print(f"{'group':<24}" + "".join(f"{column.lower():>15}" for column in columns) + f"{'seconds':>10}")
    total = collections.Counter()
    for group, counts in groups.items():
        total.update(counts)
        line(f"{group} {GROUPS.get(group, '')}", counts, columns)
    line("all", total, columns)
    print("\n".join(failures))
    print("FAILED" if failures or not planned else "PASSED")
    return len(failures) + (not planned)


def line(name, counts, columns):
    """Prints one line of the table."""
    print(f"{name:<24}" + "".join(f"{counts[column]:>15}" for column in columns) + f"{counts['ms'] / 1000:>10.1f}")


def judge(result):
    """One word for a case: the worse of its behaviour and its closing."""
    if result is None:
        return "FAILED"
    behaviours = (result["behavior"], result["behaviorClose"])
    if all(behaviour in PASSED for behaviour in behaviours):
        # How the connection was closed is nearly always OK, so the behaviour is what tells.
        return result["behavior"]
    return "NON-STRICT" if all(behaviour in (*PASSED, "NON-STRICT") for behaviour in behaviours) else "FAILED"


if __name__ == "__main__":
    main()
