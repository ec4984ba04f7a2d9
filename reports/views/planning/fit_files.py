"""What configuration files say of a fine-tuning: what was read and from where, what the framework filled in, what was not read."""

from __future__ import annotations

from estimators.printable import cut
from estimators.tuning.job import TuningJob
from estimators.tuning.readers.job_files import COMMAND_LINE, ORDER, Reading
from estimators.tuning.readers.reading import possessive, shown
from reports.table import Column, Table, Value

MAX_LISTED = 100
"""Characters of a list on one screen; the table has all of it."""


def files_table(reading: Reading) -> Table:
    """Every setting with the key that it came from or whose default it is; what was overruled, and what was not read."""
    rows: list[dict[str, Value]] = [
        {"setting": each.setting, "value": shown(each.value), "how": "read", "key": each.key, "from": each.file} for each in reading.stated
    ]
    rows += [
        {"setting": each.setting, "value": shown(each.value), "how": "filled in", "key": each.source, "from": f"{each.framework} (default)"}
        for each in reading.filled()
    ]
    rows += [
        {
            "setting": each.stated.setting,
            "value": shown(each.stated.value),
            "how": f"overruled by {each.winner.key} of {each.winner.file}",
            "key": each.stated.key,
            "from": each.stated.file,
        }
        for each in reading.overruled
    ]
    rows += [
        {"setting": None, "value": None, "how": f"not read{f': {each.more}' if each.more else ''}", "key": each.key, "from": each.file}
        for each in reading.unread
    ]
    return Table(
        title="What the files say",
        conditions=[f"in this order: {', '.join(ORDER)}", "then the defaults of the framework"],
        columns=[
            Column(key="setting", header="setting"),
            Column(key="value", header="value"),
            Column(key="how", header=""),
            Column(key="key", header="key, or where the default stands"),
            Column(key="from", header="from"),
        ],
        rows=rows,
        notes=list(reading.notes),
        facts={
            "files": [{"file": file.file, "format": file.format} for file in reading.own_files],
            "unread": [each.key for each in reading.unread],
        },
        key="files",
    )


def files_lines(reading: Reading, job: TuningJob) -> list[str]:
    """The same in a few lines: how much was read of which file, what was filled in, overruled and not read, and what nobody says."""
    files = ", ".join(f"{file.file} ({file.format})" for file in reading.own_files)
    num_read = sum(each.file != COMMAND_LINE for each in reading.stated)
    lines = [f"read of {files}: {num_read} settings"]
    if filled := [f"{each.setting} {shown(each.value)}" for each in reading.filled()]:
        whose = dict.fromkeys(possessive(each.framework) for each in reading.filled())
        lines.append(f"{' and '.join(whose)} defaults: {_listed(filled)}")
    if "seq_len" not in reading.given():
        lines.append(f"nobody says how long the longest sample is: {job.seq_len:,} tokens are taken; --seq-len says it")
    if overruled := [
        f"{each.winner.key} {shown(each.winner.value)} goes before {each.stated.key} {shown(each.stated.value)} of {each.stated.file}"
        for each in reading.overruled
    ]:
        lines.append(_listed(overruled))
    if reading.unread:
        lines.append(f"not known, and not read: {_listed([each.key for each in reading.unread])}")
    return [*lines, *reading.notes]


def _listed(items: list[str]) -> str:
    """Items on one line, as many as there is room for, and how many more there are."""
    kept: list[str] = []
    for item in items:
        if kept and len(", ".join([*kept, item])) > MAX_LISTED:
            return f"{', '.join(kept)} and {len(items) - len(kept)} more (-v)"
        kept.append(cut(item, MAX_LISTED))
    return ", ".join(kept)
