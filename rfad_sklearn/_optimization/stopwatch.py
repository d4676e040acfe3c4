"""Time of work on a device, measured without waiting for the device."""

import time

import torch


class Stopwatch:
    """Seconds from its making to :meth:`stop`.

    On a GPU the two moments are noted in its queue, and only :attr:`seconds` waits for them.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device):
        self._device = device
        self._begin = self._now()
        self._end = None

    def stop(self):
        """Note the end of the work."""
        self._end = self._now()

    @property
    def seconds(self):
        """Seconds between the two moments."""
        if self._device.type != "cuda":
            return self._end - self._begin
        self._end.synchronize()
        return self._begin.elapsed_time(self._end) / 1000

    def _now(self):
        if self._device.type != "cuda":
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event
