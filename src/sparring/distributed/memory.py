"""How much memory is left."""

from pathlib import Path


def available_memory() -> int | None:
    """Bytes that this process can still get; None where the system does not say."""
    found = [_available_of_machine(), _available_of_group()]
    return min((size for size in found if size is not None), default=None)


def _available_of_machine() -> int | None:
    try:
        lines = dict(
            line.split(":")
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        )
        return sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree")) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _available_of_group() -> int | None:
    """What is left of the limit of a container, whose cached files do not count."""
    read = lambda name: Path("/sys/fs/cgroup", f"memory.{name}").read_text(encoding="ascii")
    try:
        cached = dict(line.split() for line in read("stat").splitlines())["inactive_file"]
        return int(read("max")) - int(read("current")) + int(cached)
    except (OSError, KeyError, ValueError):
        return None
