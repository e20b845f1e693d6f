"""Sets the lines that the benches printed side by side and writes them as one file.

    python3 tools/gpu/summary.py <folder with *.jsonl> [results.json]
"""
import json
import pathlib
import re
import subprocess
import sys

KEYS = ("bench", "inputs", "outputs", "rank", "tokens", "population", "distinct")


def read(folder):
    rows = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            if line.startswith("{"):
                rows.append(json.loads(line))
    return rows


def group(rows):
    """Shapes, each with the time of every side and the floor that heddle's bench counted."""
    shapes = {}
    for row in rows:
        if "us" not in row:
            continue
        key = tuple(row.get(k) for k in KEYS)
        shape = shapes.setdefault(key, {"floor_us": None, "sides": {}})
        shape["sides"][row["side"]] = row["us"]
        if "floor_us" in row:
            shape["floor_us"] = row["floor_us"]
    return shapes


def git(*words):
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def main():
    folder = pathlib.Path(sys.argv[1])
    rows = read(folder)
    if not rows:
        print("no bench results")
        return
    machine = [row for row in rows if row["bench"] == "machine"]
    name = next((row["device"] for row in machine), "gpu")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path("bench/results") / f"{slug}.json"
    shapes = group(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "commit": git("rev-parse", "HEAD"), "command": "tools/gpu/check.sh", "rows": rows}, indent=1) + "\n")
    sides = sorted({side for shape in shapes.values() for side in shape["sides"]}, key=lambda s: (not s.startswith("heddle"), s))
    print(f"{name}: microseconds")
    print("  ".join(["shape".ljust(58), "floor".rjust(9)] + [s.rjust(11) for s in sides]))
    for key, shape in shapes.items():
        label = " ".join(f"{k}={v}" for k, v in zip(KEYS, key) if v is not None and k != "bench")
        floor = f"{shape['floor_us']:9.1f}" if shape["floor_us"] is not None else " " * 9
        cells = [f"{shape['sides'][s]:11.1f}" if s in shape["sides"] else " " * 11 for s in sides]
        print("  ".join([f"{key[0]} {label}"[:58].ljust(58), floor] + cells))
    print(f"written to {target}")


if __name__ == "__main__":
    main()
