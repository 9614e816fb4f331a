"""Network namespaces as hosts, joined by a bridge: for tests of training on several machines."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PORT = 29400
MADE = itertools.count()
FAST = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=3"


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def why_not():
    """Why this machine cannot have such hosts; empty if it can."""
    if sys.platform != "linux" or not shutil.which("ip"):
        return "needs Linux and the command ip"
    try:
        with Network(1):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces are not permitted: {error}"


class Network:
    """Hosts, each with an address on a bridge and processes of its own.

    Args:
        number: of hosts.
    """

    def __init__(self, number):
        tag = os.getpid() % 2**16
        name = f"sp{tag}n{next(MADE)}"  # threads may have networks at once
        self.bridge = f"{name}b"
        self.hosts = [f"{name}h{host}" for host in range(number)]
        self.lead = f"10.{200 + tag % 50}.{tag // 50 % 250}"

    def __enter__(self):
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("link", "set", self.bridge, "up")
            for number, host in enumerate(self.hosts):
                end = f"{host}v"
                ip("netns", "add", host)
                ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", host)
                ip("link", "set", end, "master", self.bridge, "up")
                self._inside(
                    host, "ip", "address", "add", f"{self.address(number)}/24", "dev", "eth0"
                )
                for device in ("lo", "eth0"):
                    self._inside(host, "ip", "link", "set", device, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for number, host in enumerate(self.hosts):
            self.kill(number)
            subprocess.run(["ip", "netns", "delete", host], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)

    def address(self, number):
        return f"{self.lead}.{10 + number}"

    def kill(self, number):
        """SIGKILL to all that a host runs."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.hosts[number]], capture_output=True, text=True, check=False
        )
        for pid in done.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def cut(self, number):
        """Take a host from the network."""
        self._inside(self.hosts[number], "ip", "link", "set", "eth0", "down")

    def torchrun(self, number, words, log):
        """Start a `sparring` command on a host, as one of those that make up a job."""
        first = str(number == 0).lower()
        launcher = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes=1:{len(self.hosts)}"),
            *("--nproc-per-node=1", "--max-restarts=5", "--rdzv-id=job", "--rdzv-backend=c10d"),
            f"--rdzv-endpoint={self.address(0)}:{PORT}",
            f"--local-addr={self.address(number)}",
            f"--rdzv-conf=is_host={first},{FAST}",
        ]
        given = {
            "GLOO_SOCKET_IFNAME": "eth0",
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        command = ["ip", "netns", "exec", self.hosts[number], *launcher, "-m", "sparring", *words]
        with Path(log).open("w") as file:
            return subprocess.Popen(command, env=os.environ | given, stdout=file, stderr=file)

    def _inside(self, host, *words):
        subprocess.run(["ip", "netns", "exec", host, *words], check=True, capture_output=True)


def wait_until(true, processes, seconds=120):
    """Wait until something is true, while these processes run."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        assert all(process.poll() is None for process in processes), "ended too early"
        time.sleep(0.05)
