"""What a study would do, told before it does it: trainings, evaluations, hours, resources.

In: a design, the data, the store. Out: lines for people. Nothing is trained but the few steps of
the calibration, and nothing is left behind.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from daep_ray.errors import ConfigError
from daep_ray.shards.read import ShardFolder
from daep_ray.study.estimate import Estimate, estimate, makespan
from daep_ray.study.possible import check_possible
from daep_ray.study.room import Machine, gigabytes, this_machine
from daep_ray.study.search import num_wanted, planned
from daep_ray.study.session import Resources, num_cores
from daep_ray.study.spec import StudySpec, cells
from daep_ray.study.store import Store
from daep_ray.study.trial import Trial, trials
from daep_ray.train.progress import duration


@dataclass(frozen=True)
class Plan:
    """A study that has not run."""

    spec: StudySpec
    trials: Sequence[Trial]  # to do
    num_done: int  # trials that have nothing left to do
    trained: frozenset[str]  # trainings that want new evaluations alone
    num_evaluations: int
    estimates: Mapping[str, Estimate]  # by training fingerprint
    room: Resources
    num_wanted: int = 0  # settings that a search tries

    @property
    def trainings(self) -> list[Trial]:
        return [t for t in self.trials if not t.cells[0].is_reference]

    @property
    def num_tried(self) -> int | None:
        """Trainings of a search whose settings are not known before, of which those of the plan
        are a sample; None where they are known."""
        if self.spec.search not in ("optuna", "pareto"):
            return None
        return self.num_wanted * len(self.spec.seeds)

    @property
    def seconds(self) -> float:
        """Of the whole session."""
        costs = [self.estimates[t.training] for t in self.trials]
        if self.num_tried is not None and costs:
            costs = [costs[i % len(costs)] for i in range(self.num_tried)]
        return makespan(costs, self.room.num_concurrent)

    @property
    def memory(self) -> int:
        """Bytes of all trials that run at once, of which each worker holds what a trial does."""
        largest = max((e.memory for e in self.estimates.values()), default=0)
        num_at_once = min(self.room.num_concurrent, max(1, len(self.trials)))
        return largest * num_at_once * max(1, self.spec.base.runtime.num_workers)

    def check(self, machine: Machine) -> None:
        """Refuse what the calibration has shown not to fit.

        Raises:
            ConfigError: in one sentence.
        """
        if machine.memory is not None and self.memory > machine.memory:
            raise ConfigError(
                f"{self.room.num_concurrent} trainings at a time need about "
                f"{gigabytes(self.memory)}, and this machine has {gigabytes(machine.memory)}: "
                "raise runtime.num_threads, so that fewer run at once, or lower "
                "optimisation.token_budget"
            )

    def lines(self) -> Iterator[str]:
        """Counts, then every training, then the sum."""
        if self.num_tried is not None:
            is_all = self.num_wanted < self.spec.num_trials
            yield (
                f"search       {self.spec.search}: {self.num_wanted} settings"
                f"{', all that there are' if is_all else ''}, {self.num_tried} trainings"
            )
        num_to_do = len(self.trainings) - len(self.trained)
        yield f"trainings    {num_to_do} to do, {self.num_done + len(self.trained)} are done"
        yield f"evaluations  {self.num_evaluations}"
        width = max((len(trial.label) for trial in self.trainings), default=0)
        for trial in self.trainings:
            cost = self.estimates[trial.training]
            training = "done" if trial.training in self.trained else duration(cost.training)
            yield (
                f"  {trial.label:<{width}} {trial.config.optimisation.num_objects:>10,} objects   "
                f"training {training:>8}   {len(trial.cells):>3} evaluations "
                f"{duration(cost.evaluation):>8}"
            )
        runtime, room = self.spec.base.runtime, self.room
        yield (
            f"at a time    {room.num_concurrent} x "
            f"{runtime.num_threads * max(1, runtime.num_workers)} threads, "
            f"{room.trial_gpus:g} GPUs each, {gigabytes(self.memory)} of memory in all"
        )
        yield f"estimated    {duration(self.seconds)} on this machine ({num_cores()} CPUs)"


def plan(spec: StudySpec, shards: ShardFolder, store: Store, room: Resources) -> Plan:
    """Look what is missing and calibrate it.

    Raises:
        UserError: a design that cannot be run on these data, or needs more memory than there is.
    """
    design = (planned if spec.search == "random" else cells)(spec, shards.manifest)
    check_possible(design, shards)
    store.look(design, fetches=False)
    everything = trials(design)
    missing = [t for t in everything if not all(store.has(c) for c in t.cells)]
    trained = frozenset(t.training for t in missing if store.is_trained(t.training))
    estimates = {
        training: replace(cost, training=0.0) if training in trained else cost
        for training, cost in estimate(missing, shards).items()
    }
    found = Plan(
        spec=spec,
        trials=missing,
        num_done=len(everything) - len(missing),
        num_evaluations=sum(not store.has(c) for c in design),
        trained=trained,
        estimates=estimates,
        room=room,
        num_wanted=0 if spec.search == "grid" else num_wanted(spec, shards.manifest),
    )
    found.check(this_machine())
    return found
