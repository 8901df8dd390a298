"""A plan as people read it: what stands in it, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from qframe import markup
from qframe.figures import counted, cut, duration, size
from qframe.roles import COLUMNS

SHOWN_COLUMNS = 40
"""Rows of the table of columns that a page shows."""

SHOWN_ROWS = 5
"""Findings of bad rows."""

SHOWN_NAMES = 12
"""Vectors, and payload keys or columns in one line."""

REFUSED = "cannot become points; nothing was sent"
"""What only a problem that tells of bad rows says."""

LONGEST = 200
"""Characters of a name, a label or a reason."""

HEADS = ("column", "used as", "becomes", "missing", "bad rows", "dtype")
NUMBERS = (3, 4)


class Plan(pd.DataFrame):
    """A plan's frame, with an overview where it is shown; what is made of it is a plain frame."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        if not _is_whole(self):
            return super()._repr_html_()  # type: ignore[misc,no-any-return]
        return page(self, self.attrs["plan"])

    def __repr__(self) -> str:
        if not _is_whole(self):
            return super().__repr__()
        return written(self, self.attrs["plan"])


def _is_whole(plan: pd.DataFrame) -> bool:
    """Whether nothing was taken away in place."""
    if "plan" not in plan.attrs or not set(COLUMNS) <= set(plan.columns):
        return False
    return plan.index.equals(pd.RangeIndex(len(plan))) and "id" in plan["role"].tolist()


def page(columns: pd.DataFrame, plan: Mapping[str, Any]) -> str:
    """Return a plan as HTML.

    Parameters
    ----------
    columns : DataFrame
        With the columns of `COLUMNS`.
    plan : mapping
        ``attrs["plan"]``.
    """
    rows, hidden = _lines(columns)
    texts = [[markup.text(cell) for cell in row] for row in rows]
    found = _findings(plan)
    return markup.box(
        "plan",
        markup.line(markup.strong(_head(plan)), markup.text(_target(plan))),
        *[markup.line(markup.strong(text)) for text in _verdict(plan)],
        *map(markup.verbatim, _problems(plan)),
        markup.pairs((label, markup.text(text)) for label, text in _facts(columns, plan)),
        markup.table(["row", "column", "reason"], [[*map(markup.text, row)] for row in found])
        if found
        else "",
        markup.line(markup.text(_unshown(plan))) if found and _unshown(plan) else "",
        markup.table(HEADS, texts, numbers=NUMBERS),
        markup.line(markup.text(hidden)) if hidden else "",
        markup.line(markup.text(_next(plan))),
    )


def written(columns: pd.DataFrame, plan: Mapping[str, Any]) -> str:
    """Return a plan as plain text; parameters as in `page`."""
    facts = _facts(columns, plan)
    width = max(len(label) for label, _ in facts)
    rows, hidden = _lines(columns)
    table = pd.DataFrame(rows, columns=list(HEADS)).to_string(index=False, max_colwidth=60)
    found = [f"  row {label}, {column}: {reason}" for label, column, reason in _findings(plan)]
    return "\n".join(
        [
            f"{_head(plan)} {_target(plan)}",
            *_verdict(plan),
            *_problems(plan),
            *(f"  {label.ljust(width)}  {text}" for label, text in facts),
            *found,
            *([f"  {_unshown(plan)}"] if found and _unshown(plan) else []),
            *table.splitlines(),
            *([hidden] if hidden else []),
            _next(plan),
        ]
    )


# ---- What is said of the upload ----


def _head(plan: Mapping[str, Any]) -> str:
    batches = plan["batches"]
    return (
        f"{counted(batches['points'], 'point')} in "
        f"{counted(batches['count'], 'batch', 'batches')} into {plan['collection']!r}"
    )


def _target(plan: Mapping[str, Any]) -> str:
    return f"at {plan['target']} ({plan['transport']}); nothing was sent"


def _verdict(plan: Mapping[str, Any]) -> Iterator[str]:
    problems = plan["problems"]
    if problems:
        yield f"{counted(len(problems), 'problem')}: the upload would refuse this"
    if plan["action"] == "replace":
        yield (
            f"The collection would be deleted first, with its {counted(plan['lost'], 'point')}, "
            "and made anew"
        )


def _problems(plan: Mapping[str, Any]) -> list[str]:
    return [f"{number}. {text}" for number, text in enumerate(plan["problems"], 1)]


def _next(plan: Mapping[str, Any]) -> str:
    if plan["problems"]:
        return "Next: mend what is named above, and plan again"
    return "Next: the same call, with .upload( in the place of .plan("


def _facts(columns: pd.DataFrame, plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a figure is, and the figure."""
    facts = [("rows", _rows(plan)), ("collection", _collection(plan))]
    vectors = list((plan["new"] or plan["existing"])["vectors"].items())
    facts += [(f"vector {_name(name)}", _vector(one)) for name, one in vectors[:SHOWN_NAMES]]
    if len(vectors) > SHOWN_NAMES:
        facts.append(("more vectors", f"{len(vectors) - SHOWN_NAMES:,}"))
    if plan["new"] and plan["new"]["settings"]:
        facts.append(("settings", ", ".join(f"{k}={v!r}" for k, v in _settings(plan))))
    facts.append(("ids", _short(_ids(columns))))
    of_payload = columns[columns["role"] == "payload"]["name"].drop_duplicates().tolist()
    facts.append(("payload", _listed(of_payload, "key")))
    unused = columns[columns["role"] == "unused"]["column"].tolist()
    if unused:
        facts.append(("not sent", _listed(unused, "column")))
    facts += [("batches", _batches(plan)), ("limits", _limits(plan))]
    if plan["strict_mode"]:
        strict = ", ".join(f"{name} {most:,}" for name, most in plan["strict_mode"].items())
        facts.append(("strict mode", strict))
    facts.append(("time", _time(plan)))
    return facts


def _rows(plan: Mapping[str, Any]) -> str:
    text = f"{counted(plan['rows'], 'row')}, {counted(plan['points'], 'point')}"
    if plan["bad_rows"]:
        text += f"; {counted(plan['bad_rows'], 'row')} cannot become points"
    if plan["resumed"]:
        left = plan["batches"]["points"]
        text += f"; {plan['resumed']:,} arrived in earlier runs, {left:,} are left"
    return text


def _collection(plan: Mapping[str, Any]) -> str:
    existing = plan["existing"]
    if plan["action"] == "create":
        return "there is none of this name, it will be made"
    holds = f"exists, with {counted(existing['points'], 'point')}"
    if plan["action"] == "add":
        return f"{holds}; these are added, those with the same id overwritten"
    if plan["action"] == "refuse":
        return f'{holds}, and if_exists="fail" refuses it'
    return f"{holds}; it will be deleted and made anew"


def _settings(plan: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(plan["new"]["settings"].items())[:SHOWN_NAMES]


def _vector(one: Mapping[str, Any]) -> str:
    parts = [one["kind"]]
    if one["size"]:
        parts.append(counted(one["size"], "number"))
    if one["distance"]:
        parts.append(one["distance"])
    parts += [f"{name}={value!r}" for name, value in one["settings"].items()]
    return ", ".join(parts)


def _name(name: str) -> str:
    return repr(name) if name else "(unnamed)"


def _ids(columns: pd.DataFrame) -> str:
    ids = columns[columns["role"] == "id"]
    beside = ids[ids["column"].isna()]
    row = (beside if len(beside) else ids).iloc[0]
    source = row["source"] if len(beside) else f"column {row['column']!r}"
    return f"{source}: {row['becomes']}"


def _listed(names: Sequence[str], noun: str) -> str:
    if not names:
        return "none"
    shown = ", ".join(map(_short, names[:SHOWN_NAMES]))
    more = f", and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
    return f"{counted(len(names), noun)}: {shown}{more}"


def _batches(plan: Mapping[str, Any]) -> str:
    batches = plan["batches"]
    if not batches["count"]:
        return "none, there is nothing to send"
    sizes = batches["bytes"]
    about = "" if sizes["exact"] else "about "
    text = f"{counted(batches['count'], 'batch', 'batches')}, {about}{size(sizes['sum'])}"
    if plan["transport"] == "embedded":
        text += " of vectors"
    if batches["count"] > 1:
        text += f"; the largest {size(sizes['largest'])}, the mean {size(sizes['mean'])}"
    return text


def _limits(plan: Mapping[str, Any]) -> str:
    points, most = plan["limits"]["points"], plan["limits"]["bytes"]
    return (
        f"{counted(points['most'], 'point')} in a batch ({points['from']}), "
        f"{size(most['most'])} ({most['from']})"
    )


def _time(plan: Mapping[str, Any]) -> str:
    found = plan["estimate"]
    parts = [f"{duration(found['encode_s'])} to encode"]
    if found["round_trip_s"] is not None:
        parts.append(f"{duration(found['round_trip_s'])} for an empty request")
    noun = "thread" if found["worker_kind"] == "thread" else "process"
    several = "threads" if noun == "thread" else "processes"
    parts.append(counted(found["workers"], noun, several))
    return f"about {duration(found['seconds'])} ({', '.join(parts)}), without {found['without']}"


def _findings(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the first bad rows: label, column, reason; none where a problem tells of them."""
    if any(REFUSED in text for text in plan["problems"]):
        return []
    return [
        (_short(finding["label"]), _short(finding["column"]), _short(finding["reason"]))
        for finding in plan["skipped"][:SHOWN_ROWS]
    ]


def _short(value: object) -> str:
    return cut(str(value), LONGEST)


def _unshown(plan: Mapping[str, Any]) -> str:
    more = plan["findings"] - SHOWN_ROWS
    return f"… and {counted(more, 'more finding')}" if more > 0 else ""


# ---- The columns ----


def _lines(columns: pd.DataFrame) -> tuple[list[list[str]], str]:
    """Return the rows of the table of columns, and what is said of those that are not shown."""
    runs: list[list[Mapping[Any, Any]]] = []
    for row in columns[list(COLUMNS)].to_dict("records"):
        if runs and _is_one_more(runs[-1][-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    hidden = sum(map(len, runs[SHOWN_COLUMNS:]))
    more = f"… and {counted(hidden, 'more row')}, in the frame that this shows"
    return [_line(run) for run in runs[:SHOWN_COLUMNS]], more if hidden else ""


def _is_one_more(before: Mapping[Any, Any], row: Mapping[Any, Any]) -> bool:
    """Whether a column is one more number of the same vector."""
    same = ("role", "name", "dtype", "becomes")
    return row["becomes"] == "one number of the vector" and all(
        before[name] == row[name] for name in same
    )


def _line(run: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Return one row of the table, for one column, or for several of one vector."""
    first, last = run[0], run[-1]
    name = first["source"] if pd.isna(first["column"]) else first["column"]
    if len(run) > 1:
        name = f"{name} … {last['column']} ({len(run):,} columns)"
    use = first["role"]
    if (use == "vector" and first["name"]) or (use == "payload" and first["name"] != name):
        use = f"{use} {first['name']!r}"
    becomes = first["becomes"]
    if len(run) > 1:
        becomes = "one number of the vector each"
    elif not pd.isna(first["size"]):
        becomes += f", size {first['size']:,}"
    known = [row["missing"] for row in run if not pd.isna(row["missing"])]
    return [
        _short(name),
        _short(use),
        _short(becomes),
        f"{sum(known):,}" if known else "",
        f"{max(row['bad_rows'] for row in run):,}",
        "" if pd.isna(first["dtype"]) else _short(first["dtype"]),
    ]
