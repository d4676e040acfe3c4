"""Measured seconds that a plan may rest on. Measuring draws nothing from a run's generator."""

import functools
import math
import time
from dataclasses import replace

import torch

from .._networks.random_features import (
    cached_features,
    draw_networks,
    images_per_cuda_pass,
    images_per_pass,
    network_features,
)
from .._optimization.teacher import Teacher

# Images of a timed pass at most.
_TIMED_IMAGES = 64
# Times that each pass is timed; the fastest counts.
_REPEATS = 3


def _fastest(function, device):
    """Seconds that a function takes at best, once it is warm."""
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = math.inf
    for _ in range(_REPEATS):
        begin = time.monotonic()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = min(seconds, time.monotonic() - begin)
    return seconds


class Timing:
    """Clock of one fit: seconds of what its plan decides about, each measured once.

    Parameters
    ----------
    context : FitContext
    begin : float
        Moment of ``time.monotonic()`` at which the fit began.
    """

    def __init__(self, context, begin):
        self.context, self.begin = context, begin
        self.fresh_step = functools.cache(self._fresh_step)

    def elapsed(self):
        """Seconds since the fit began."""
        return time.monotonic() - self.begin

    def _fresh_step(self, width, batch_size, n_networks):
        """Seconds of a step of fresh networks on images, about.

        On a CPU what a few images take in one network, times their number. On a GPU, where a few
        take as long as many, what all rows, and as many items as one pass may hold, take in all
        networks.
        """
        context = self.context
        spec, shape, device = replace(context.spec, width=width), context.shape, context.device
        n_rows, n_items = min(batch_size, len(context.train)), context.n_items
        if device.type == "cuda":
            most = images_per_cuda_pass(spec, (1, *shape), n_networks)
            k, timed_rows, timed_items = n_networks, n_rows, min(n_items, n_rows, most)
        else:
            k, timed_rows = 1, min(images_per_pass(spec, (1, *shape)), _TIMED_IMAGES)
            timed_items = timed_rows
        networks = draw_networks(spec, shape, range(k), device=device, dtype=context.dtype)
        rows = torch.zeros((timed_rows, *shape), device=device, dtype=context.dtype)
        items = torch.zeros_like(rows[:timed_items]).requires_grad_(True)

        def forward_backward():
            features = network_features(spec, networks, items)
            return torch.autograd.grad(features.float().sum(), items)

        row = _fastest(lambda: cached_features(spec, networks, rows), device)
        item = _fastest(forward_backward, device)
        return n_networks / k * (n_rows / timed_rows * row + n_items / timed_items * item)

    @functools.cached_property
    def _teacher(self):
        context = self.context
        return Teacher(
            context.training_data,
            len(context.classes),
            generator=torch.Generator(),
            dtype=context.dtype,
        )

    def teacher_epochs(self, seconds):
        """Epochs of a teacher that there is time for; 0 where too few to be worth it."""
        return self._teacher.n_epochs(seconds)

    def all_teacher_epochs(self):
        """Epochs of a teacher that has the time."""
        return self._teacher.all_epochs

    def teacher_seconds(self, n_epochs):
        """Seconds that a teacher of so many epochs takes, about."""
        return self._teacher.seconds_of(n_epochs)
