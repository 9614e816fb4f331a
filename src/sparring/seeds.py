"""Named random streams: the same root and name give the same numbers, in any order of use."""

import hashlib

import torch


class Seeds:
    """Hands out one torch.Generator per purpose.

    Adding a stream never shifts another one, so a new sampler cannot change the shuffling of
    an old experiment.
    """

    def __init__(self, root: int):
        self.root = root
        self.streams: dict[str, torch.Generator] = {}

    def number(self, name: str) -> int:
        """A 63-bit seed that depends on the root and the name only."""
        digest = hashlib.blake2b(f"{self.root}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 1

    def fresh(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """A generator at the start of the named stream, not remembered."""
        return torch.Generator(device).manual_seed(self.number(name))

    def stream(self, name: str, device: str | torch.device = "cpu") -> torch.Generator:
        """The named stream, where its last user left it."""
        if name not in self.streams:
            self.streams[name] = self.fresh(name, device)
        return self.streams[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Where each stream in use stands."""
        return {name: rng.get_state() for name, rng in self.streams.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put the streams where they stood."""
        for name, value in state.items():
            self.stream(name).set_state(value)
