#!/usr/bin/env python3
"""Counts the lines of `src/` without tests and simulators.

usage: count_lines.py [COMMIT [MOST]]

COMMIT names a commit of this repository; without one, or with `.`, the files are counted as they lie in the folder.
Left out is what stands under `#[cfg(test)]`, whether a module within a file or a file of its own with all below it, and
every folder that is called `simulator`. Prints the lines of each module at the root, then the sums: all lines, and
those that are neither empty nor a comment alone. Ends with status 1 if all lines are more than MOST.
"""
import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST_MODULE = re.compile(r"^( *)#\[cfg\(test\)\]\n(?: *#.*\n)*? *(?:pub(?:\([^)]*\))? )?mod (\w+)( \{|;)\n", re.M)


def sources(commit):
    """The text of each file below `src/`, by its path from there."""
    if commit == ".":
        found = (ROOT / "src").rglob("*.rs")
        return {str(path.relative_to(ROOT / "src")): path.read_text() for path in found}
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = git("ls-tree", "-r", "--name-only", commit, "src/").splitlines()
    return {name[4:]: git("show", f"{commit}:{name}") for name in names if name.endswith(".rs")}


def without_tests(path, text):
    """What is left of a file, and the modules that it declares for tests alone."""
    left, modules, end = [], [], 0
    for match in TEST_MODULE.finditer(text):
        left.append(text[end : match.start()])
        if match[3] == ";":
            modules.append(module(path) + [match[2]])
            end = match.end()
        else:
            # As rustfmt leaves it, a module ends where its brace stands in its own column.
            end = text.index(f"\n{match[1]}}}\n", match.end() - 1) + len(match[1]) + 3
    return "".join(left) + text[end:], modules


def module(path):
    """`net/addr.rs` and `net/addr/mod.rs` are `net`, `addr`."""
    parts = path.removesuffix(".rs").split("/")
    return [] if parts == ["lib"] else parts[:-1] if parts[-1] == "mod" else parts


def main():
    commit, most = (sys.argv[1:] + [".", "0"][len(sys.argv) - 1 :])[:2]
    rest, tests = {}, []
    for path, text in sources(commit).items():
        rest[path], modules = without_tests(path, text)
        tests += modules
    counts, code = collections.Counter(), 0
    for path, text in rest.items():
        name = module(path)
        if "simulator" in name or any(name[: len(test)] == test for test in tests):
            continue
        lines = text.splitlines()
        counts[name[0] if name else "lib"] += len(lines)
        code += sum(1 for line in lines if line.strip() and not line.strip().startswith("//"))
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    total = sum(counts.values())
    print(f"{total:6} lines, {code} of them code")
    if int(most) and total > int(most):
        sys.exit(f"more than {most}")


if __name__ == "__main__":
    main()
