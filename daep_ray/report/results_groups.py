"""Tables of groups of objects, of named lines and of the probe's confusion.

Study and chosen trainings in, `Grid`s out; None where the study has nothing of the kind.
"""

from daep_ray.report.chosen import Chosen
from daep_ray.report.figures_fails import CENTRAL, group_name, group_rows
from daep_ray.report.grid import DOES_NOT_APPLY, Grid, number_column, text_column
from daep_ray.report.source import Study
from daep_ray.report.svg import slug

LINE_METRICS = {"line_width_error": "width", "line_centroid_error": "centroid"}


def groups(study: Study, modality: str, chosen: Chosen) -> Grid | None:
    """Errors by class and by signal to noise: a row per group, a column per model."""
    by_cell = {
        c.cell: {
            group_name(r): r
            for axis in ("class", "signal_to_noise")
            for r in group_rows(study, modality, c, axis)
        }
        for c in chosen.cells
    }
    names = list(dict.fromkeys(name for rows in by_cell.values() for name in rows))
    if not names:
        return None
    counts = [next(r[n]["count"] for r in by_cell.values() if n in r) for n in names]
    columns = [
        text_column("group", "group", names),
        text_column("objects", "objects", [str(n) for n in counts], "number"),
    ]
    for cell, rows in by_cell.items():
        values = [rows[n]["value"] if n in rows else DOES_NOT_APPLY for n in names]
        columns.append(number_column(chosen.names[cell], chosen.names[cell], values, "z"))
    return Grid(
        f"groups-{slug(modality)}",
        f"Error by class and by signal to noise (S/N), {modality}, test objects",
        tuple(columns),
        (f"{chosen.note}S/N: an object's median |value| / error.",),
    )


def confusion(study: Study, coded: str, chosen: Chosen) -> Grid | None:
    """What the probe says of each true class: a row per model and class."""
    rows = [
        (chosen.names[c.cell], r)
        for c in chosen.cells
        for r in study.rows("confusion", cell=c.cell, modality=coded).to_pylist()
    ]
    said = sorted({r["said"] for _, r in rows})
    if not rows:
        return None
    places = list(dict.fromkeys((name, r["truth"]) for name, r in rows))
    shares = {(name, r["truth"], r["said"]): r["value"] for name, r in rows}
    counts = {(name, r["truth"]): r["count"] for name, r in rows}
    columns = [
        text_column("model", "model", [name for name, _ in places]),
        text_column("truth", "true class", [truth for _, truth in places]),
        text_column("objects", "told", [str(counts[p]) for p in places], "number"),
    ]
    for word in said:
        values = [shares.get((*place, word), DOES_NOT_APPLY) for place in places]
        columns.append(number_column(word, f"said {word}", values, num_decimals=3))
    return Grid(
        f"confusion-{slug(coded)}",
        f"Confusion of the linear probe on codes of {coded}, shares of the true class",
        tuple(columns),
        ("Over all splits of the probe together, so an object may be told several times.",),
    )


def spectral_lines(study: Study, modality: str, chosen: Chosen) -> Grid | None:
    """Equivalent width and centroid line by line: a row per line, two columns per model."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    places: dict[str, tuple[float, int]] = {}
    for cell in chosen.cells:
        rows = study.rows("groups", cell=cell.cell, modality=modality, axis="line").to_pylist()
        for row in rows:
            if row["estimate"] in CENTRAL and row["metric"] in LINE_METRICS:
                found.setdefault(row["name"], {})[cell.cell, row["metric"]] = row["value"]
                known = places.get(row["name"], (row["low"], 0))[1]
                places[row["name"]] = (row["low"], max(known, row["count"]))
    names = sorted(found, key=lambda name: (places[name][0], name))
    if not names:
        return None
    columns = [
        text_column("line", "line", names),
        text_column("objects", "objects", [str(places[n][1]) for n in names], "number"),
    ]
    for cell in chosen.cells:
        for metric, words in LINE_METRICS.items():
            values = [found[n].get((cell.cell, metric), DOES_NOT_APPLY) for n in names]
            name = chosen.names[cell.cell]
            columns.append(number_column(f"{name} {metric}", f"{name}, {words}", values, "\u00c5"))
    return Grid(
        f"lines-{slug(modality)}",
        f"Errors of equivalent width and centroid of named lines, {modality}, test objects",
        tuple(columns),
        (f"{chosen.note}Mean over objects of the absolute error.".strip(),),
    )
