"""A hand that kills, freezes, adds and removes workers and kills the broker, by a seed."""

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from storage.broker.process import Broker
from tests.faults.river import River

MOST_WORKERS = 4
# Longer than the session of a member, so that others own what it still holds when it wakes up.
FROZEN_SECONDS = 12.0


@dataclass
class Chaos:
    """What is done to one river, and how often."""

    river: River
    broker: Broker
    seed: int
    module: str = "processors"
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._thaw_at: dict[str, float] = {}

    def run(self, seconds: float) -> None:
        """Let it rain for so long; afterwards everybody is awake and the broker runs."""
        done = threading.Event()
        feeding = threading.Thread(target=self._feed, args=(done,))
        feeding.start()
        try:
            self._start()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self._act()
                pause_until = min(until, time.monotonic() + self.rng.uniform(2.0, 5.0))
                while time.monotonic() < pause_until:
                    self._supervise()
                    time.sleep(0.2)
        finally:
            done.set()
            feeding.join()
        for name in list(self._thaw_at):
            self._thaw(name)
        self._supervise()

    def keep_alive(self) -> None:
        """Restart who died: the supervisor of `up` does that in production."""
        self._supervise()

    def _feed(self, done: threading.Event) -> None:
        while not done.wait(0.3):
            self.river.send(6)

    def _act(self) -> None:
        acts = {"kill": 4, "freeze": 2, "join": 2, "leave": 2, "broker": 1}
        if self._thaw_at:
            acts |= {"broker": 0, "freeze": 0}
        act = self.rng.choices(list(acts), list(acts.values()))[0]
        awake = [name for name in sorted(self.river.workers) if name not in self._thaw_at]
        match act:
            case "kill" if awake:
                self.river.kill(self.rng.choice(awake))
            case "freeze" if awake:
                name = self.rng.choice(awake)
                self.river.workers[name].send_signal(signal.SIGSTOP)
                self._thaw_at[name] = time.monotonic() + FROZEN_SECONDS
            case "join" if len(self.river.workers) < MOST_WORKERS:
                self._start()
            case "leave" if len(awake) > 1:
                # What a stop ends with is judged elsewhere: here the broker may just have gone.
                self.counts[f"left with {self.river.stop(self.rng.choice(awake))}"] += 1
            case "broker":
                self.broker.kill()
                time.sleep(self.rng.uniform(0.0, 2.0))
                self.broker.start()
            case _:
                return
        self.counts[act] += 1

    def _start(self) -> None:
        number = self.counts["start"]
        self.counts["start"] += 1
        self.river.start(f"worker-{number}", self.module)

    def _thaw(self, name: str) -> None:
        del self._thaw_at[name]
        if name in self.river.workers:
            self.river.workers[name].send_signal(signal.SIGCONT)
            self.counts["thaw"] += 1

    def _supervise(self) -> None:
        for name, at in list(self._thaw_at.items()):
            if time.monotonic() > at:
                self._thaw(name)
        for name, process in list(self.river.workers.items()):
            if process.poll() is not None:
                self.counts[f"ended with {process.returncode}"] += 1
                del self.river.workers[name]
        if not [name for name in self.river.workers if name not in self._thaw_at]:
            self._start()
