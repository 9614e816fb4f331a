"""The trials of one method: trainings with settings that Optuna proposes, chosen on validation."""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.data.graph import KnowledgeGraph
from sparring.experiments.callbacks import Callback, JsonLines
from sparring.experiments.config import Config, check_config, merged
from sparring.experiments.environment import stopped_by_signals
from sparring.experiments.fit import run_tables
from sparring.experiments.run import keep_config, prepare, run
from sparring.experiments.run_folder import Run
from sparring.experiments.search import Method
from sparring.extras import optional
from sparring.files import locked
from sparring.registry import ConfigError
from sparring.seeds import Seeds
from sparring.training import DivergedError, Trainer

optuna: Any = optional("optuna", extra="tune", purpose="tuning")
optuna.logging.set_verbosity(optuna.logging.WARNING)
STATES = optuna.trial.TrialState

MakeCallbacks = Callable[[str, Trainer], Sequence[Callback]]
RANDOM = 4  # trials before the search follows the results, and before any is pruned
SETTLED = 250  # thousandths of a trial before it may be pruned: large batches start slowly
ATTEMPTS = 3  # of the same settings, if the process is killed again and again


def sqlalchemy_errors() -> type[Exception]:
    """What Optuna's database raises where Optuna lets it pass."""
    # imported here: it comes with Optuna
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


@dataclass(frozen=True)
class Budget:
    """What each method may spend.

    Attributes:
        minutes: of processor time, for training and validation; 0 for no limit.
        trials: how many, at most; 0 for no limit.
        trial_minutes: of processor time per trial; 0 for no limit.
    """

    minutes: float = 0.0
    trials: int = 0
    trial_minutes: float = 0.0

    def __post_init__(self) -> None:
        for name in ("minutes", "trials", "trial_minutes"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative; got {getattr(self, name)}")
        if not (self.minutes or self.trials):
            raise ConfigError("tuning needs a budget: give minutes or trials, per method")


class ShareMedian(optuna.pruners.BasePruner):
    """Ends a trial that is worse than the median of the complete ones at its share of training.

    The first quarter is left to every trial.

    Each of those counts with its best validation up to that share, so that trials with other
    numbers of validations can be compared.
    """

    def prune(self, study: Any, trial: Any) -> bool:
        """Whether the trial is to end."""
        others = study.get_trials(deepcopy=False, states=(STATES.COMPLETE,))
        own = best_until(trial.intermediate_values, trial.last_step or 0)
        if len(others) < RANDOM or own is None or trial.last_step < SETTLED:
            return False
        reached = (best_until(one.intermediate_values, trial.last_step) for one in others)
        values = sorted(value for value in reached if value is not None)
        return bool(values) and own < values[len(values) // 2]


def best_until(values: Mapping[int, float], step: int) -> float | None:
    """The best value up to a step; None if there is none."""
    return max((value for at, value in values.items() if at <= step), default=None)


class MethodTrials:
    """The trials of one method, in a study of Optuna, and the run folder of the best one.

    Args:
        name: of the method and of its study.
        folder: of the method's runs.
        seed: of the search and of every training.
        storage: Optuna's, which keeps the trials.
    """

    def __init__(
        self,
        name: str,
        method: Method,
        folder: Path,
        graph: KnowledgeGraph,
        budget: Budget,
        seed: int,
        storage: Any,
    ) -> None:
        self.name, self.method, self.folder, self.graph = name, method, folder, graph
        self.budget, self.seed = budget, seed
        self.study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            pruner=ShareMedian(),
            load_if_exists=True,
        )
        self._recover()

    def trials(self, *states: Any) -> list[Any]:
        """The trials in some states; without any, all that were begun."""
        states = states or (STATES.COMPLETE, STATES.PRUNED, STATES.FAIL, STATES.RUNNING)
        return self.study.get_trials(deepcopy=False, states=states)

    def ended(self) -> list[Any]:
        """The trials that count: complete or pruned."""
        return self.trials(STATES.COMPLETE, STATES.PRUNED)

    def seconds(self) -> float:
        """Processor time spent, on failed trials too."""
        return math.fsum(trial.user_attrs.get("cpu_seconds", 0.0) for trial in self.trials())

    def done(self) -> bool:
        """Whether the budget is spent, or less than half a trial is left of it."""
        budget = self.budget
        if budget.trials and len(self.ended()) >= budget.trials:
            return True
        return bool(budget.minutes) and self._minutes_left() <= budget.trial_minutes / 2

    def best(self) -> Any:
        """The complete trial with the highest validation MRR.

        Raises:
            ConfigError: if no training ended well.
        """
        complete = self.trials(STATES.COMPLETE)
        if not complete:
            raise ConfigError(
                f"no trial of {self.name} was completed: all of them diverged; lower the rates, or "
                "raise the budget"
            )
        return max(complete, key=lambda trial: (trial.value, -trial.number))

    def place(self, trial: Any) -> Path:
        """The run folder of a trial."""
        return self.folder / f"trial-{trial.number}"

    def run_trial(self, callbacks: MakeCallbacks) -> bool:
        """Train with the next settings; False if training was stopped."""
        # seeded by the number of trials, so that a resumed study goes on as an unbroken one does
        number = len(self.ended()) + self._given_up()
        seed = Seeds(self.seed).number(f"tune/{self.name}/{number}") % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM)
        trial = self.study.ask()
        clock = time.process_time()
        config = self._config(self.method.suggest(trial), self.place(trial))
        shutil.rmtree(self.place(trial), ignore_errors=True)
        self.place(trial).mkdir(parents=True)
        trainer = prepare(config, self.graph, self.place(trial))
        keep_config(self.place(trial), trainer, config)
        log = JsonLines(self.place(trial) / "log.jsonl")
        listening = [log, *callbacks(f"{self.name}, trial {len(self.ended()) + 1}", trainer)]
        pruned = False
        try:
            with stopped_by_signals(trainer.stop):
                for record in trainer.run():
                    for callback in listening:
                        callback(record)
                    if record.kind != "validation":
                        continue
                    trial.set_user_attr("cpu_seconds", time.process_time() - clock)
                    trial.report(record.values["mrr"], round(1000 * trainer.share_done))
                    if not trainer.progress.finished and trial.should_prune():
                        pruned = True
                        break
        except DivergedError:
            pruned = True
        finally:
            for callback in listening:
                callback.close()
        if not (pruned or trainer.progress.finished):
            return False
        trial.set_user_attr("cpu_seconds", time.process_time() - clock)
        ended = {"state": STATES.PRUNED} if pruned else {"values": trainer.progress.best_mrr}
        self.study.tell(trial, **ended)
        self._keep_best()
        return True

    def rank(self) -> bool:
        """Rank the test facts by the best run, once; False if stopped."""
        best = Run(self.place(self.best()))
        with locked(best.folder):  # which removes the lock of a killed process
            if best.finished():
                return True
        return run(best.config(), best.folder, graph=self.graph, resume=True) is not None

    def numbers(self) -> dict[str, Any]:
        """The trials, and the result of the best one."""
        best = self.best()
        result = Run(self.place(best)).result()
        measured = ("split", "mrr", "hits@1", "hits@3", "hits@10", "sampler", "scored_per_query")
        return {
            "valid_mrr": best.value,
            **{name: result[name] for name in measured},
            "settings": best.params,
            "number": best.number,
            "folder": self.place(best).relative_to(self.folder.parent).as_posix(),
            "cpu_seconds": self.seconds(),
            "trials": [_row(trial) for trial in self.trials()],
        }

    def _recover(self) -> None:
        """Begin with the settings of the method; try those of a killed process again."""
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self.method.start())
        for trial in self.trials(STATES.RUNNING):
            self.study.tell(trial.number, state=STATES.FAIL)
            attempt = trial.user_attrs.get("attempt", 1) + 1
            # one that was killed while its settings were chosen will be given the same ones again
            values = trial.system_attrs.get("fixed_params") or trial.params
            if attempt <= ATTEMPTS and set(values) == set(self.method.ranges):
                self.study.enqueue_trial(values, user_attrs={"attempt": attempt})
        self._keep_best()

    def _given_up(self) -> int:
        """Settings that were tried so often that they are not tried again."""
        failed = self.trials(STATES.FAIL)
        return sum(trial.user_attrs.get("attempt", 1) >= ATTEMPTS for trial in failed)

    def _minutes_left(self) -> float:
        return self.budget.minutes - self.seconds() / 60

    def _config(self, values: Mapping[str, Any], place: Path) -> Config:
        limits = [self.budget.trial_minutes, self.budget.minutes and self._minutes_left()]
        train = {
            "minutes": min(filter(None, limits), default=0.0),
            "save_every": 2**30,  # at the end only: a trial is trained again, not resumed
        }
        changed = {"seed": self.seed, "train": train}
        tables = merged(self.method.with_values(values), changed)
        return check_config(run_tables(tables, self.graph, place))

    def _keep_best(self) -> None:
        """Remove the run folders of all trials but the best."""
        kept = self.place(self.best()) if self.trials(STATES.COMPLETE) else None
        for place in self.folder.glob("trial-*"):
            if place != kept:
                shutil.rmtree(place)


def _row(trial: Any) -> dict[str, Any]:
    """One trial; with the best validation MRR that it reached, if any."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "valid_mrr": best_until(trial.intermediate_values, 1000),
        "cpu_seconds": trial.user_attrs.get("cpu_seconds", 0.0),
        "settings": trial.params,
    }
