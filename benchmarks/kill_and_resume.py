"""Kill a run with SIGKILL at random moments, go on from its checkpoint each time, and compare the bits with a run that was left alone.

python benchmarks/kill_and_resume.py --kills 50
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import machine

from rfad_sklearn._optimization.checkpoint import load_checkpoint

RUN = """
import sys from rfad_sklearn import RFADDistiller from rfad_sklearn.datasets import
load_digits_images X, y = load_digits_images() distiller = RFADDistiller(ipc=2,
max_iter=int(sys.argv[3]), eval_every=1, width=16, n_networks=2, batch_size=256, learn_labels=True,
                          random_state=0, checkpoint=sys.argv[1], warm_start=True)
distiller.fit(X, y).coreset_.save(sys.argv[2])
"""


def check(process):
    """Wait for a run that was not killed; it must have ended well."""
    if process.wait() != 0:
        raise RuntimeError(f"a run ended with exit status {process.returncode}")


def wait_for_news(path, process):
    """Wait until a process has written the file."""
    stamp = lambda: path.stat().st_mtime_ns if path.exists() else None  # noqa: E731
    before = stamp()
    while stamp() == before and process.poll() is None:
        time.sleep(0.001)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4000)
    args = parser.parse_args()
    print(machine(), flush=True)
    folder = Path(tempfile.mkdtemp())
    # One thread: the same bits on any machine of the same kind, whatever else runs on it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = lambda checkpoint, out: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", RUN, folder / checkpoint, folder / out, str(args.steps)],
        env=environment,
    )
    begin = time.monotonic()
    check(start("whole.ckpt", "whole.npz"))
    seconds = time.monotonic() - begin
    print(f"left alone: {seconds:.1f} s", flush=True)
    draw = random.Random(0)
    reached, kills = [], 0
    while kills < args.kills:
        process = start("killed.ckpt", "killed.npz")
        # Every fifth kill comes while the run starts, the others after its first new checkpoint.
        if draw.random() > 0.2:
            wait_for_news(folder / "killed.ckpt", process)
        time.sleep(draw.uniform(0, 2 * seconds / args.kills))
        if process.poll() is not None:
            check(process)
            # It came to its end: another run takes its place, so that there is something to kill.
            (folder / "killed.ckpt").unlink()
            continue
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        reached.append(
            load_checkpoint(folder / "killed.ckpt")[0]["n_iter"]
            if (folder / "killed.ckpt").exists()
            else None
        )
    (folder / "killed.npz").unlink(missing_ok=True)
    check(start("killed.ckpt", "killed.npz"))
    print(f"{kills} kills; steps in the checkpoint after each (None: not yet written): {reached}")
    with np.load(folder / "whole.npz") as whole, np.load(folder / "killed.npz") as killed:
        same = all(
            np.array_equal(whole[name], killed[name]) for name in ("X", "targets", "logit_scale")
        )
    print(f"same bits as the run that was left alone: {same}")


if __name__ == "__main__":
    main()
