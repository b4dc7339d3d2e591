#!/usr/bin/env python3
"""Holds the examples of a fleet against what reads them: Kubernetes' schemas, and HAProxy.

usage: manifests.py FOLDER

A checker (kubernetes-validate, of PyPI) is installed into a virtual environment in FOLDER, unless it is there. What cannot be
checked here is said, and is no failure.
"""
import pathlib
import shutil
import subprocess
import sys

from serving import ROOT, check

# Of the Prometheus operator: Kubernetes itself has no schema for it.
FOREIGN = {"ServiceMonitor"}


def checker(folder):
    """The checker's program; nothing where it cannot be had."""
    program = folder / "bin" / "kubernetes-validate"
    if not program.exists():
        steps = [sys.executable, "-m", "venv", folder], [folder / "bin" / "pip", "install", "-q", "kubernetes-validate"]
        for step in steps:
            if subprocess.run(step, capture_output=True).returncode:
                return None
    return program


def kubernetes(folder):
    program = checker(folder)
    if not program:
        print("skipped: kubernetes-validate cannot be installed here")
        return
    for manifest in sorted((ROOT / "examples" / "kubernetes").glob("*.yaml")):
        done = subprocess.run([program, "--strict", manifest], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        unknown = [line for line in lines if "Couldn't find schema" in line]
        strange = [line for line in unknown if not any(f" {kind} " in line for kind in FOREIGN)]
        passed = sum(" passed " in line for line in lines)
        check("\n".join(lines), done.returncode == 0 or len(lines) == passed + len(unknown))
        check("\n".join(strange), not strange and passed)
        print(f"ok: {manifest.relative_to(ROOT)}: {passed} objects; skipped: {len(unknown)} without a schema")


def haproxy():
    if not shutil.which("haproxy"):
        print("skipped: haproxy is not on the PATH")
        return
    config = ROOT / "examples" / "compose" / "haproxy.cfg"
    done = subprocess.run(["haproxy", "-c", "-q", "-f", config], capture_output=True, text=True)
    check(done.stderr, done.returncode == 0)
    print(f"ok: {config.relative_to(ROOT)}")


kubernetes(pathlib.Path(sys.argv[1]).resolve())
haproxy()
