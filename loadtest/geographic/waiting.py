"""Small things that every experiment does: wait, print, sum up."""

import asyncio
import contextlib
import socket
import statistics
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(what, condition, seconds=30):
    """Waits for something to come true; the answer is how long that took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, asyncio.TimeoutError, KeyError, ValueError):
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.005)


def say(text=""):
    print(text, flush=True)


def milliseconds(values):
    if not values:
        return "none"
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))]
    return f"p50 {statistics.median(values):.0f} ms, p99 {at(0.99):.0f} ms, max {values[-1]:.0f} ms"
