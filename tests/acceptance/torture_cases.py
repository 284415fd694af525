"""The cases of torture.py: small campaigns, what the vendor does to each row, and where the command is killed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from failpoint import CHUNK, POINTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOMENTS = ("start", "arrival")
"""Random moments to kill at: a delay after the start, or after this run's first POST has come to the vendor."""

FATES = {
    "ok": "sent", "429": "sent", "reject": "rejected", "500": "in_doubt", "503": "in_doubt",
    "reset-before": "in_doubt", "reset-after": "in_doubt", "close-after": "in_doubt", "garbage": "in_doubt",
    "truncated": "in_doubt", "hang": "in_doubt", "invalid": "invalid", "duplicate": "duplicate",
    "suppressed": "suppressed",
}  # fmt: skip
"""A row's fate → its status where no kill comes between."""

KEYED = {"column": ("key",), "digest": (), "group": ("key", "group_by"), "group-digest": ("group_by",)}
"""What tells a case's emails apart → the settings that name the column `id`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A failpoint and the passage that kills, or a moment.

    `delay`: how long after it, seconds; at a failpoint its thread stands still so long and the others go on.
    """

    point: str
    hit: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One campaign and how it is killed. `span`: about how long its POSTs take without a rate, seconds."""

    seed: int
    api: str = "v2"
    keyed: str = "column"
    concurrency: int = 4
    rate: str | None = None
    rows: int = 60
    ending: str = ".csv"
    span: float = 0.3
    faulty: bool = True
    hang: bool = False
    patience: float | None = None
    transport: str = "curl"
    kills: tuple[Kill, ...] = ()
    resend: bool = False  # each run after the first kill posts rows in doubt again
    outage: bool = False  # so does one that meets no vendor, after the first kill that leaves a doubt

    @classmethod
    def drawn(cls, seed: int) -> Self:
        """Draw a case: the same seed makes the same one."""
        dice = random.Random(seed)  # noqa: S311 - repeatable
        rows = dice.randint(30, 150)
        return cls(
            seed=seed,
            api=dice.choice(("v1", "v2")),
            keyed=dice.choice(("column", "column", "digest", "group", "group-digest")),
            concurrency=dice.choice((1, 4, 16)),
            rate=f"{rows + dice.randint(0, rows)}/second" if dice.random() < 0.3 else None,
            rows=rows,
            ending=dice.choice((".csv", ".parquet")),
            span=dice.uniform(0.1, 0.8),
            faulty=dice.random() < 0.6,
            hang=dice.random() < 0.1,
            kills=drawn_kills(dice, rows, dice.randint(1, 5)),
            transport=dice.choice(("curl", "requests")),
            resend=dice.random() < 0.3,
            outage=dice.random() < 0.3,
        )

    def __str__(self) -> str:
        kills = ", ".join(f"{kill.point}:{kill.hit}" for kill in self.kills)
        return f"case {self.seed} ({self.api} {self.keyed} x{self.concurrency} {self.ending}; {kills})"


def drawn_kills(dice: random.Random, rows: int, count: int) -> tuple[Kill, ...]:
    """Draw kills in the order in which a campaign passes them."""
    few, many = max(rows // 8, 1), max(rows // 3, 1)
    most = dict.fromkeys(POINTS, few) | {"mid-commit": many, "statement": 120, "before-close": 2}
    most |= dict.fromkeys(("before-post", "before-first-byte", "between-bytes", "after-last-byte", "answer-read"), many)
    most |= dict.fromkeys(("after-close", "journal-ready"), 2) | {"report-chunk": -(-rows // CHUNK)}
    most |= dict.fromkeys(
        ("before-link", "journal-made", "report-begun", "report-written", "before-rename", "after-rename"), 1
    )
    order = list(POINTS)
    found = []
    for _ in range(count):
        if dice.random() < 0.4:
            moment = dice.choice(("start", "arrival", "arrival", "arrival"))
            kill = Kill(moment, delay=dice.uniform(0.0, 1.2 if moment == "start" else 0.6))
            found.append((dice.uniform(0, len(order)), kill))
        else:
            point = dice.choice(order)
            found.append(
                (order.index(point), Kill(point, dice.randint(1, most[point]), dice.choice((0.0, 0.0, 0.02, 0.2))))
            )
    return tuple(kill for _, kill in sorted(found, key=lambda item: item[0]))


def make_table(case: Case) -> list[dict[str, str]]:
    """Draw the rows: `row` counts them and reaches no email, `id` travels with each email."""
    dice = random.Random(case.seed + 2)  # noqa: S311 - repeatable
    kinds = [kind for kind in FATES if kind not in ("ok", "hang", "429", "duplicate")]
    made: list[dict[str, str]] = []
    while len(made) < case.rows:
        # Faults stand apart: several in a row with no success between would be an outage.
        fate = dice.choice(kinds) if case.faulty and len(made) % 9 == 8 else "ok"
        if case.faulty and len(made) == 13:
            fate = "429"
        if case.hang and len(made) == case.rows // 2:
            fate = "hang"
        number = len(made)
        local = f"{fate}+{number}" if fate not in ("ok", "invalid") else f"r{number}"
        email = "nobody at all" if fate == "invalid" else f"{local}@example.org"
        made.append({"id": f"id-{number:04}", "name": f"Name {number}", "email": email, "fate": fate})
    if case.keyed.startswith("group"):
        made = [row for row in made for _ in range(dice.choice((1, 1, 2, 3)))]
        dice.shuffle(made)
        del made[case.rows :]
    else:
        for place in dice.sample(range(1, case.rows), case.rows // 20):
            made[place] = made[0] | {"fate": "duplicate"}
    return [{"row": str(number), **row} for number, row in enumerate(made)]


def write_campaign(case: Case, table: Iterable[dict[str, str]], folder: Path) -> None:
    """Write campaign.toml, the table, a template and a suppression list."""
    folder.mkdir()
    rows = list(table)
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (folder / "recipients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    suppressed = (row["email"] for row in rows if row["fate"] == "suppressed")
    (folder / "suppressed.csv").write_text("\n".join(["email", *suppressed]) + "\n", encoding="utf-8")
    (folder / "text.txt").write_text("Dear {{ name }},\n\nyour number is {{ id }}.\n", encoding="utf-8")
    settings = [
        'name = "torture"',
        "[recipients]",
        'path = "recipients.csv"',
        *(f'{name} = "id"' for name in KEYED[case.keyed]),
        "[message]",
        'from = "Acme <shop@acme.example>"',
        'to = "{{ name }} <{{ email }}>"',
        'subject = "For {{ name }}"',
        'text = "text.txt"',
        'headers = { "X-Key" = "{{ id }}" }',
        "[send]",
        f'api = "{case.api}"',
        f"concurrency = {case.concurrency}",
        'suppress = "suppressed.csv"',
        *([f'rate = "{case.rate}"'] if case.rate else []),
    ]
    (folder / "campaign.toml").write_text("\n".join(settings) + "\n", encoding="utf-8")
