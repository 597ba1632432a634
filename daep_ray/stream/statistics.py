"""One streaming pass over the shards: z-score statistics and lengths after selection.

In: a shard folder and a recipe. Out: a FittedRecipe and the table of lengths, both kept in
`<data>/recipes/<hash>/` (`statistics.json`, `lengths.arrow`, memory-mapped when read; beside them
`excluded.csv`, why samples are left out, and fitted peaks). Statistics are of the training split
only, float64, a shared sequence counted once; constant memory but for the lengths.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream import excluded, peak
from daep_ray.stream.chain import transform
from daep_ray.stream.fitted import (
    FittedRecipe,
    ModalityStatistics,
    Scale,
    num_value_scales,
    unfitted,
)
from daep_ray.stream.flat import FlatSequence, spread
from daep_ray.stream.plan import all_groups, cut_by_tokens, first_of_shared
from daep_ray.stream.recipe import LOG_SCALE, Recipe, recipe_hash
from daep_ray.stream.seen import Ranges

VERSION = 2  # raise it when the numbers in the cache would change
_BATCH_ROWS = 2**20
_PART_POINTS = 2**16  # measurements transformed at once: float64 copies of a row group would add up


def fit_recipe(folder: ShardFolder, recipe: Recipe) -> FittedRecipe:
    """The recipe with the training split's statistics, from the cache where it is there.

    Raises:
        DataError: the recipe names something that the data do not have, or a shard is damaged.
    """
    draft = unfitted(recipe, folder.modalities.values())
    statistics, _ = _cached_or_fitted(folder, draft)
    return FittedRecipe(draft.recipe, draft.modalities, statistics)


def lengths_after_selection(folder: ShardFolder, recipe: Recipe) -> pa.Table:
    """`folder.lengths()` with each modality's `length` after selection, in the same order.

    Beside it `raw_length`, and `is_first`: False for a sequence that an earlier sample of the same
    object has too.
    """
    return _cached_or_fitted(folder, unfitted(recipe, folder.modalities.values()))[1]


def excluded_samples(folder: ShardFolder, recipe: Recipe) -> pa.Table:
    """The samples that the recipe leaves without a measurement: ids, modality, reason in words."""
    draft = unfitted(recipe, folder.modalities.values())
    lengths = _cached_or_fitted(folder, draft)[1]
    written = excluded.read(_cache(folder, draft))
    return _left_out(folder, draft, lengths) if written is None else written


def left_out(folder: ShardFolder, recipe: Recipe, lengths: pa.Table) -> Iterator[pa.Table]:
    """`excluded_samples` for these lengths after selection, part by part, whatever is kept."""
    return _left_out_parts(folder, unfitted(recipe, folder.modalities.values()), lengths)


def _left_out_parts(
    folder: ShardFolder, draft: FittedRecipe, lengths: pa.Table
) -> Iterator[pa.Table]:
    for name in draft.modalities:
        kept = lengths.column(f"{name}.length").to_numpy()
        raw = lengths.column(f"{name}.raw_length").to_numpy()
        for rows in _blocks(np.flatnonzero((kept == 0) & (raw > 0))):
            table = read_rows(folder, rows, draft.columns([name]))
            yield _excluded(draft, name, table)


def _left_out(folder: ShardFolder, draft: FittedRecipe, lengths: pa.Table) -> pa.Table:
    parts = _left_out_parts(folder, draft, lengths)
    return pa.concat_tables([excluded.SCHEMA.empty_table(), *parts])


def _cache(folder: ShardFolder, draft: FittedRecipe) -> Path:
    return Path(folder.path) / "recipes" / recipe_hash(draft.recipe)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + 1000] for start in range(0, len(rows), 1000)]


def _excluded(draft: FittedRecipe, name: str, table: pa.Table) -> pa.Table:
    words = excluded.reasons(draft.recipe.modalities[name], draft.modalities[name], table)
    ids = [table.column(c).to_pylist() for c in ("sample_id", "object_id")]
    return pa.table([*ids, [name] * len(words), words], schema=excluded.SCHEMA)


Fit = tuple[dict[str, ModalityStatistics], pa.Table]


def refit(folder: ShardFolder, recipe: Recipe) -> Fit:
    """The statistics and the lengths after selection, from the shards whatever the cache holds."""
    return _fit(folder, unfitted(recipe, folder.modalities.values()))


def _cached_or_fitted(folder: ShardFolder, draft: FittedRecipe) -> Fit:
    cache = _cache(folder, draft)
    found = _read(cache, folder.manifest.hash)
    if found is not None:
        peak.remember(cache)
        return found
    with peak.recorded() as found_peaks:
        fit = _fit_in_memory(str(folder.path), folder.manifest.hash, json.dumps(draft.to_json()))
        left_out = _left_out(folder, draft, fit[1])

    def beside(folder: Path) -> None:
        peak.save(found_peaks, folder)
        excluded.write(left_out, folder)

    if not _write(cache, folder.manifest.hash, draft.recipe, fit, beside):
        return fit
    _fit_in_memory.cache_clear()  # the file is mapped from now on
    return _read(cache, folder.manifest.hash) or fit


@lru_cache(maxsize=2)
def _fit_in_memory(path: str, manifest_hash: str, draft_json: str) -> Fit:
    """A process that cannot write the cache scans the shards once, not at every call."""
    return _fit(ShardFolder.open(Path(path)), FittedRecipe.from_json(json.loads(draft_json)))


def _fit(folder: ShardFolder, draft: FittedRecipe) -> Fit:
    table = folder.lengths()
    is_first = {m: first_of_shared(table, m) for m in draft.modalities}
    is_training = pc.equal(table.column("split"), "train").to_numpy()
    lengths = {m: np.zeros(len(table), dtype=np.int32) for m in draft.modalities}
    sums = {m: _Sums.of(draft, m) for m in draft.modalities}
    for here, rows in _parts(folder, table, draft):
        for name, modality in draft.modalities.items():
            flat = transform(draft.recipe.modalities[name], modality, rows, None)
            lengths[name][here] = flat.lengths
            sums[name].add(flat, is_training[here] & is_first[name][here])
    pa.default_memory_pool().release_unused()
    for name in draft.modalities:
        raw = table.column(f"{name}.length")
        place = table.column_names.index(f"{name}.length")
        table = table.set_column(place, f"{name}.length", pa.array(lengths[name]))
        table = table.append_column(f"{name}.raw_length", raw)
        table = table.append_column(f"{name}.is_first", pa.array(is_first[name]))
        sums[name].num_emptied = int(((lengths[name] == 0) & (raw.to_numpy() > 0)).sum())
    return {name: s.statistics() for name, s in sums.items()}, table


def _parts(
    folder: ShardFolder, lengths: pa.Table, draft: FittedRecipe
) -> Iterator[tuple[slice, pa.Table]]:
    """All rows in order, a part of a row group at a time, with their global numbers."""
    columns = draft.columns(draft.modalities)
    counts = [lengths.column(f"{m}.length").to_numpy() for m in draft.modalities]
    points: np.ndarray = np.stack(counts).sum(axis=0, dtype=np.int64)
    for start, stop, shard, group in zip(*all_groups(lengths), strict=True):
        table = folder.read_row_group(int(shard), int(group), columns)
        for cut in cut_by_tokens(points[start:stop], _PART_POINTS):
            rows = table.slice(cut.start, cut.stop - cut.start)
            yield slice(start + cut.start, start + cut.stop), rows


@dataclass
class Moments:
    """Count, mean and summed squares about it of several groups, merged as Chan et al. (1983)."""

    count: np.ndarray  # (G,)
    mean: np.ndarray  # (G,)
    squares: np.ndarray  # (G,)

    @classmethod
    def zero(cls, num_groups: int) -> "Moments":
        return cls(np.zeros(num_groups), np.zeros(num_groups), np.zeros(num_groups))

    def add(self, values: np.ndarray, group: np.ndarray | None = None) -> None:
        """Take values (n,) in, each into its group (n,)."""
        num = len(self.count)
        group = np.zeros(len(values), dtype=np.int64) if group is None else group
        count = np.bincount(group, minlength=num).astype(np.float64)
        mean = np.bincount(group, values, minlength=num) / np.maximum(count, 1)
        squares = np.bincount(group, (values - mean[group]) ** 2, minlength=num)
        total = np.maximum(self.count + count, 1)
        shift = mean - self.mean
        self.squares = self.squares + squares + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = self.count + count

    def scales(self) -> tuple[Scale, ...]:
        """Per group; one that is empty or never varies has sd 1."""
        sd = np.sqrt(self.squares / np.maximum(self.count, 1))
        # rounding leaves a constant's spread at about 1e-16 of its size
        sd = np.where(sd > 1e-12 * np.abs(self.mean), sd, 1.0)
        return tuple(Scale(float(m), float(s)) for m, s in zip(self.mean, sd, strict=True))


@dataclass
class _Sums:
    """One modality's running sums."""

    value: Moments
    positions: list[Moments]
    metadata: dict[str, Moments]
    z_place: int | None  # the category whose words are standardised apart
    ranges: Ranges
    num_sequences: int = 0
    num_emptied: int = 0

    @classmethod
    def of(cls, draft: FittedRecipe, name: str) -> "_Sums":
        modality = draft.modalities[name]
        category = draft.recipe.modalities[name].z_category
        names = [c.name for c in modality.categories]
        return cls(
            value=Moments.zero(num_value_scales(draft.recipe, modality)),
            positions=[Moments.zero(1) for _ in modality.positions],
            metadata={a: Moments.zero(1) for a in draft.continuous_metadata(name)},
            z_place=None if category is None else names.index(category),
            ranges=Ranges.of(
                len(modality.positions), [len(c.vocabulary) for c in modality.categories]
            ),
        )

    def add(self, flat: FlatSequence, is_counted: np.ndarray) -> None:
        """Take in the samples where `is_counted` (B,) is True."""
        is_present = is_counted & (flat.lengths > 0)
        for name, moments in self.metadata.items():
            values = (flat.log_scale if name == LOG_SCALE else flat.metadata[name])[is_present]
            moments.add(values[np.isfinite(values)])
        self.num_sequences += int(is_present.sum())
        flat = flat.where(spread(is_counted, flat.offsets))
        group = None if self.z_place is None else flat.category[:, self.z_place]
        self.value.add(flat.value, group)
        for place, moments in enumerate(self.positions):
            moments.add(flat.position[:, place])
        self.ranges.add(flat)

    def statistics(self) -> ModalityStatistics:
        return ModalityStatistics(
            value=self.value.scales(),
            positions=tuple(m.scales()[0] for m in self.positions),
            metadata={name: m.scales()[0] for name, m in self.metadata.items()},
            num_sequences=self.num_sequences,
            num_measurements=int(self.value.count.sum()),
            num_emptied=self.num_emptied,
            seen=self.ranges.seen(),
        )


def _read(cache: Path, manifest_hash: str) -> Fit | None:
    """The cache's content; None where there is none, or one of other data or another version."""
    try:
        raw = json.loads((cache / "statistics.json").read_text())
        if (raw["version"], raw["manifest"]) != (VERSION, manifest_hash):
            return None
        with pa.memory_map(str(cache / "lengths.arrow")) as source:
            lengths = pa.ipc.open_file(source).read_all()
    except (OSError, ValueError, KeyError, pa.ArrowInvalid):
        return None
    statistics = {n: ModalityStatistics.from_json(s) for n, s in raw["statistics"].items()}
    return statistics, lengths


def _write(
    cache: Path, manifest_hash: str, recipe: Recipe, fit: Fit, beside: Callable[[Path], None]
) -> bool:
    """Write to a temporary folder, then rename. False where the data folder cannot be written.

    Two processes may do it at once: they write the same content, and the second finds it there.
    """
    statistics, lengths = fit
    content = {
        "version": VERSION,
        "manifest": manifest_hash,
        "recipe": recipe.model_dump(mode="json"),
        "statistics": {name: asdict(s) for name, s in statistics.items()},
    }
    try:
        cache.parent.mkdir(exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=cache.parent))
    except OSError:
        return False
    try:
        (draft / "statistics.json").write_text(json.dumps(content, indent=1, allow_nan=False))
        with pa.ipc.new_file(str(draft / "lengths.arrow"), lengths.schema) as writer:
            writer.write_table(lengths, max_chunksize=_BATCH_ROWS)
        beside(draft)
        if cache.exists() and _read(cache, manifest_hash) is None:
            # of other data or damaged: out of the way first, a rename needs the name free
            os.rename(cache, draft / "before")
        os.rename(draft, cache)
        shutil.rmtree(cache / "before", ignore_errors=True)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
    return True
