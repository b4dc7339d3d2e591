#!/usr/bin/env python3
"""Makes the plots and the tables of docs/PERFORMANCE.md from what measure.py has found.

usage: plot.py [RESULTS]

RESULTS is docs/performance/results.json if it is not named. The plots, SVG files, are written beside it, and the tables take the
place of those between the two marks of docs/PERFORMANCE.md.
"""
import json
import pathlib
import statistics
import sys
from html import escape

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "PERFORMANCE.md"
BEGIN, END = "<!-- Made by benches/peers/plot.py: -->\n", "<!-- until here. -->\n"
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 } .title { font-weight: 600; font-size: 16px }
.panel { font-weight: 600 } .ours { fill: #b7410e } .other { fill: #9aa3ad } line { stroke: #333 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } line { stroke: #ddd } .other { fill: #6b747d } }
"""
LEFT, WIDTH, ROW = 170, 520, 20


def quartiles(values):
    """Lower quartile, median and upper quartile."""
    values = sorted(values)
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def summary(rows, panel, value):
    """For each panel, in the order of the rows, each server's quartiles of a value."""
    panels = {}
    for row in rows:
        panels.setdefault(panel(row), {}).setdefault(row["server"], []).append(row[value])
    return {name: {server: quartiles(values) for server, values in servers.items()} for name, servers in panels.items()}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def plot(title, panels):
    """Bars up to the median with a line from quartile to quartile. Each panel has its own scale."""
    y, parts = 52, [f'<text class="title" x="8" y="24">{escape(title)}</text>']
    for name, servers in panels.items():
        parts.append(f'<text class="panel" x="8" y="{y}">{escape(name)}</text>')
        most = max(high for _, _, high in servers.values()) or 1
        for server, (low, median, high) in servers.items():
            y += ROW
            x = [LEFT + WIDTH * value / most for value in (low, median, high)]
            kind = "ours" if server.startswith("oxicorn") else "other"
            parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{escape(server)}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y - 11}" width="{x[1] - LEFT:.1f}" height="13"/>')
            parts.append(f'<line x1="{x[0]:.1f}" x2="{x[2]:.1f}" y1="{y - 4}" y2="{y - 4}"/>')
            parts.append(f'<text x="{x[2] + 8:.1f}" y="{y}">{number(median)}</text>')
        y += 2 * ROW
    size = f'width="{LEFT + WIDTH + 90}" height="{y - ROW}"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{STYLE}</style>\n{body}\n</svg>\n'


def table(panels, unit):
    """A row for each panel, a column for each server: median, and the quartiles."""
    servers = list(dict.fromkeys(server for row in panels.values() for server in row))
    lines = [f"| {unit} | " + " | ".join(servers) + " |", "|---|" + "--:|" * len(servers)]
    for name, row in panels.items():
        cells = []
        for server in servers:
            low, median, high = row.get(server, (0, 0, 0))
            cells.append(f"{number(median)} ({number(low)} to {number(high)})" if server in row else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "performance" / "results.json"
    results = json.loads(path.read_text())
    rust = [row for row in results["rounds"] if "no Python" in row["workload"]]
    wsgi = [row for row in results["rounds"] if row not in rust]

    def workload(row):
        return row["workload"]

    def latency(row):
        return f"Flask at {100 * row['part']:.0f} % of {row['of']}'s capacity"

    plots = {"cpu": ("CPU microseconds a request", results["rounds"], workload, "cpu_us")}
    plots["requests"] = ("Requests a second", results["rounds"], workload, "requests_per_second")
    plots["latency"] = ("99th percentile at a constant rate, microseconds", results["rates"], latency, "p99")
    images = ""
    for name, (title, rows, panel, value) in plots.items():
        if rows:
            (path.parent / f"{name}.svg").write_text(plot(title, summary(rows, panel, value)))
            images += f'\n<img src="performance/{name}.svg" alt="{title}, a bar for each server">\n'

    machine = results["machine"]
    facts = ["date", "commit", "processor", "kernel", "compiler", "python"]
    text = "| | |\n|---|---|\n" + "".join(f"| {fact} | {machine[fact]} |\n" for fact in facts)
    text += f"| packages | {', '.join(machine['versions'])} |\n"
    text += images
    for rows, panel, value, unit in [
        (rust, workload, "cpu_us", "CPU us a request"),
        (wsgi, workload, "cpu_us", "CPU us a request"),
        (wsgi, workload, "requests_per_second", "requests a second"),
        (results["rates"], latency, "p50", "median, us"),
        (results["rates"], latency, "p99", "99 %, us"),
        (results["rates"], latency, "p999", "99.9 %, us"),
    ]:
        if rows:
            text += "\n" + table(summary(rows, panel, value), unit)
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
