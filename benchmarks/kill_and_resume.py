"""Kill a run with SIGKILL at random moments, and compare its bits with an undisturbed run's.

Each time the run goes on from its checkpoint::

    python benchmarks/kill_and_resume.py --kills 50
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import child_environment, command_line, machine, parse

from rfad_sklearn._optimization.checkpoint import load_checkpoint

RUN = """
import sys
from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn.datasets import load_digits_images
X, y = load_digits_images()
distiller = RFADDistiller(
    ipc=2,
    architecture=ConvNet(width=16),
    max_iter=int(sys.argv[3]),
    eval_every=1,
    n_networks=2,
    batch_size=256,
    learn_labels=True,
    random_state=0,
    checkpoint=sys.argv[1],
)
distiller.fit(X, y).coreset_.save(sys.argv[2])
"""
# Share of the kills that wait for a new checkpoint; the others come while the run starts.
_LATE_KILLS = 0.8
# Seconds between two looks at a file.
_POLL = 0.001
SMOKE = {"kills": 1, "steps": 20}


def start(folder, name, steps):
    """A process that distils with a checkpoint, and saves its coreset."""
    # One thread: the same bits on any machine of the same kind, whatever else runs on it.
    return subprocess.Popen(
        [sys.executable, "-c", RUN, folder / f"{name}.ckpt", folder / f"{name}.npz", str(steps)],
        env=child_environment(OMP_NUM_THREADS="1"),
    )


def check(process):
    """Wait for a run that was not killed; it must have ended well."""
    if process.wait() != 0:
        raise RuntimeError(f"a run ended with exit status {process.returncode}")


def stamp(path):
    """When a file was last written; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def wait_for_news(path, process):
    """Wait until a process has written the file."""
    before = stamp(path)
    while stamp(path) == before and process.poll() is None:
        time.sleep(_POLL)


def kill_often(folder, n_kills, seconds, steps):
    """Kill runs that go on from each other; the steps in the checkpoint after each kill."""
    draw, reached, checkpoint = random.Random(0), [], folder / "killed.ckpt"
    while len(reached) < n_kills:
        process = start(folder, "killed", steps)
        if draw.random() < _LATE_KILLS:
            wait_for_news(checkpoint, process)
        time.sleep(draw.uniform(0, 2 * seconds / max(n_kills, 4)))
        if process.poll() is not None:
            check(process)
            # It came to its end: another run takes its place, so that there is something to kill.
            checkpoint.unlink()
            continue
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = checkpoint.exists()
        reached.append(load_checkpoint(checkpoint)[0]["n_iter"] if there else None)
    return reached


def same_bits(first, second):
    """Whether two files of coresets hold the same arrays."""
    with np.load(first) as one, np.load(second) as other:
        return all(
            np.array_equal(one[name], other[name]) for name in ("X", "targets", "logit_scale")
        )


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000)
    args = parse(parser, arguments, SMOKE)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.monotonic()
        check(start(folder, "whole", args.steps))
        seconds = time.monotonic() - begin
        print(f"undisturbed: {seconds:.1f} s", flush=True)
        reached = kill_often(folder, args.kills, seconds, args.steps)
        (folder / "killed.npz").unlink(missing_ok=True)
        check(start(folder, "killed", args.steps))
        print(
            f"{len(reached)} kills; steps in the checkpoint after each "
            f"(None: not yet written): {reached}"
        )
        same = same_bits(folder / "whole.npz", folder / "killed.npz")
    print(f"same bits as the undisturbed run: {same}")


if __name__ == "__main__":
    main()
