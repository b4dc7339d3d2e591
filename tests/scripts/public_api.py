#!/usr/bin/env python3
"""Compares the crates whose types the public interface names with a list.

    public_api.py RUSTDOC_JSON

The file is what `cargo doc` writes with `--output-format json` and all features. A crate that is not on the list, or one
that appears outside its files, is an error with the item that names it. An optional dependency cannot appear without its
feature, so one build with all of them shows everything. The layout of the file belongs to the toolchain: FORMAT is the one
that this script reads, and another one is left out with a line.
"""

import json
import sys

FORMAT = 57
STANDARD = {"std", "core", "alloc"}
# The crates of the interface beside the standard library, and the files that may name them.
ALLOWED = {
    "bytes": ("src/",),
    # Feature wsgi
    "pyo3": ("src/wsgi", "src/python"),
    # Features http and tower
    "http": ("src/interop",),
    "http_body": ("src/interop",),
    "tower_service": ("src/interop",),
    # Features json and toml; serde_core holds the traits of serde
    "serde": ("src/",),
    "serde_core": ("src/",),
}


def named_ids(value):
    """The ids of the types and traits that a piece of an item names."""
    if isinstance(value, list):
        for part in value:
            yield from named_ids(part)
    elif isinstance(value, dict):
        if isinstance(value.get("path"), str) and isinstance(value.get("id"), int):
            yield value["id"]
        for part in value.values():
            yield from named_ids(part)


def is_generated(item):
    """Whether every type has this implementation, by a blanket or by an auto trait."""
    block = item["inner"].get("impl")
    return block is not None and (block["blanket_impl"] is not None or block["is_synthetic"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        crate = json.load(file)
    if crate["format_version"] != FORMAT:
        print(f"left out: rustdoc's format is {crate['format_version']}, and {FORMAT} is read")
        return 0
    index, paths = crate["index"], crate["paths"]
    generated = [item for item in index.values() if is_generated(item)]
    inherited = {member for item in generated for member in item["inner"]["impl"]["items"]}
    skipped = {item["id"] for item in generated} | inherited
    seen, wrong = set(), set()
    for item in index.values():
        if item["crate_id"] != 0 or item["id"] in skipped:
            continue
        span = item["span"] or {"filename": "src/lib.rs", "begin": [0, 0]}
        ids = set(named_ids(item["inner"]))
        if "use" in item["inner"] and item["inner"]["use"]["id"] is not None:
            ids.add(item["inner"]["use"]["id"])
        for number in ids:
            target = paths.get(str(number))
            if target is None or target["crate_id"] == 0:
                continue
            path = target["path"]
            if path[0] in STANDARD:
                continue
            seen.add(path[0])
            if not span["filename"].startswith(ALLOWED.get(path[0], ())):
                place = f"{span['filename']}:{span['begin'][0]}"
                wrong.add(f"{place}: {item['name'] or 'an implementation'} names {'::'.join(path)}")
    for line in sorted(wrong):
        print(line, file=sys.stderr)
    print(f"{len(index)} items name types of {', '.join(sorted(seen))}")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
