"""How long it takes to compare a class: random submissions, some of which share code.

    python benchmarks/similarity.py [N] [--functions F]

writes N scripts (2,000 if not said) of F random functions (12) into a folder. A third of the
functions are a template that all have, and every tenth script is another one's with other names,
in another order. Then it runs `grade similar` over the folder in a process of its own, and prints
how long that took, how much memory, and whether it found the pairs that were made and no others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.turns import processor

_LAYERS = ("Conv2d", "Linear", "ReLU", "Dropout", "BatchNorm2d", "MaxPool2d", "AvgPool2d", "GELU")


def program(draw: random.Random) -> str:
    """Write a function of random statements, as different from others as people's are."""
    depth = 1

    def value(level: int) -> str:
        kinds = [
            lambda: f"v{draw.randrange(8)}",
            lambda: str(draw.randrange(100)),
            lambda: f"nn.{draw.choice(_LAYERS)}({value(level + 1)}, {value(level + 1)})",
            lambda: f"F.{draw.choice(_LAYERS).lower()}({value(level + 1)})",
            lambda: f"{value(level + 1)} {draw.choice('+-*/@')} {value(level + 1)}",
            lambda: f"self.v{draw.randrange(8)}[{value(level + 1)}]",
            lambda: f"({value(level + 1)}, 'a', {value(level + 1)})",
        ]
        return draw.choice(kinds[: 2 if level > 2 else None])()

    lines = ["import torch", "from torch import nn", "import torch.nn.functional as F", ""]
    lines.append(f"def f{draw.randrange(99)}(self, {', '.join(f'v{i}' for i in range(8))}):")
    for _ in range(draw.randrange(8, 14)):
        pad = "    " * depth
        head = draw.choice(["for v1 in {}:", "if {}:", "while {}:", "", "", "", ""])
        if head and depth < 3:
            lines.append(pad + head.format(value(1)))
            depth += 1
        else:
            lines.append(f"{pad}{draw.choice(['v2 = ', 'v3 += ', 'return ', ''])}{value(0)}")
            depth = draw.randrange(1, depth + 1)
    lines.append("    " * depth + "pass")
    return "\n".join([*lines, "", ""])


def class_of(count: int, functions: int, draw: random.Random) -> list[str]:
    """Write a class; submission 10 n + 1 is 10 n with other names and in another order."""
    template = [program(draw) for _ in range(functions // 3)]
    parts: list[str] = []
    made = []
    for at in range(count):
        if at % 10 == 1:
            own = [re.sub(r"\bv(\d)", r"other\1", part) for part in parts]
        else:
            own = parts = [program(draw) for _ in range(functions - len(template))]
        both = [*template, *own]
        made.append("\n".join(draw.sample(both, len(both))))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=2000, help="submissions")
    parser.add_argument("--functions", type=int, default=12, help="in each of them")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grader-similarity-") as folder:
        class_, out = Path(folder) / "class", Path(folder) / "found.json"
        class_.mkdir()
        texts = class_of(values.n, values.functions, random.Random(0))  # noqa: S311 - no secret
        for at, text in enumerate(texts):
            (class_ / f"s{at:05}.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "grader.cli", "similar", str(class_), f"--out={out}"]
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **alone})
        wall = time.perf_counter() - start
        found = json.loads(out.read_bytes())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = sum(text.count("\n") for text in texts) // len(texts)
    made = {(f"s{at - 1:05}", f"s{at:05}") for at in range(1, values.n, 10)}
    pairs = {(p["left"], p["right"]) for group in found["groups"] for p in group["pairs"]}
    print(
        f"{processor()}, {os.cpu_count()} cores, one thread, load {os.getloadavg()[0]:.1f}\n"
        f"{values.n} submissions of {lines} lines: {wall:.1f} s wall, "
        f"{used.ru_utime + used.ru_stime:.1f} s CPU, {used.ru_maxrss / 2**10:.0f} MiB\n"
        f"{len(pairs & made)} of {len(made)} pairs found, and {len(pairs - made)} others"
    )


if __name__ == "__main__":
    main()
