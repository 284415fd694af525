"""Small static plots by matplotlib, as SVG whose texts stay text and whose colours are the page's own.

The same figures give the same bytes. Names in a plot may be anybody's text: matplotlib gets a stand-in for each, so
that it neither reads formulas in them nor looks for their glyphs.
"""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.errors import CampaignError
from turbobatch.markup import Html, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 520  # user units, which are pixels at full size
_BAR, _MARGIN = 23, 4
_NAMES = 150  # units left of the bars for what they are called
_NOTES = 95  # units right of them
_NAME_LENGTH = 23  # characters
_PACE_HEIGHT = 180
_TEXT = 11.5

# matplotlib wants real colours: these stand for the tones until it has drawn.
_INK = "#010101"
_FAINT = "#020202"
_TONES = {"good": "#030303", "bad": "#040404", "doubt": "#050505", "plain": "#060606", "wait": "#070707"}
_FOR_STYLES = {_INK: "currentColor", _FAINT: "var(--line)"} | {
    sentinel: f"var(--{tone})" for tone, sentinel in _TONES.items()
}
_FOR_IMAGES = {_INK: "#808890", _FAINT: "#80889055"} | dict(
    zip(_TONES.values(), ("#2ea043", "#da3633", "#d29922", "#3b82d6", "#a0a8b0"), strict=True)
)

_SENTINEL = re.compile(r"#(0[1-7])\1\1\b")
_PLACE = re.compile(r"(?<=>)\[(\d+)\](?=<)")

_drawing = Lock()  # the settings that matplotlib draws by are the process' own


class Bar(NamedTuple):
    """One line of a bar plot: what it is called, its parts from left to right, and what is said at its end."""

    name: str
    parts: tuple[int, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing without the element around it, with stand-ins for colours and texts; `height` in units of WIDTH."""

    content: str
    texts: tuple[str, ...]
    height: float

    def inline(self, name: str, title: str, description: str) -> Html:
        """The element for a page that has the tones as CSS variables; `name` tells its parts' ids from others'."""
        return Html(
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-labelledby="{name}-title {name}-text">'
            f'<title id="{name}-title">{_escaped(title)}</title><desc id="{name}-text">{_escaped(description)}</desc>'
            f"{self._filled(_FOR_STYLES)}</svg>"
        )

    def image(self, title: str) -> Html:
        """The same as an `<img>` that holds its own data, in colours that do on light and on dark pages."""
        content = self._filled(_FOR_IMAGES)
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height:g}" '
            f'viewBox="0 0 {WIDTH} {self.height:g}" font-family="system-ui, sans-serif">{content}</svg>'
        )
        data = base64.b64encode(svg.encode()).decode()
        return Html(
            f'<img alt="{_escaped(title)}" style="max-width:100%;height:auto" src="data:image/svg+xml;base64,{data}">'
        )

    def _filled(self, colours: Mapping[str, str]) -> str:
        content = _SENTINEL.sub(lambda match: colours[match[0]], self.content)
        return _PLACE.sub(lambda match: _escaped(self.texts[int(match[1])]), content)  # last: a text may be anything


def is_there() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def check_there() -> None:
    """Find out before anything is drawn.

    Raises:
        CampaignError: matplotlib is missing.
    """
    if not is_there():
        raise CampaignError('a report page needs matplotlib: pip install "turbobatch-mail[report]"')


def bars(lines: Sequence[Bar], tones: Sequence[str]) -> Plot:
    """Horizontal bars, the first on top; a bar's parts have these tones (the keys of _TONES), in order."""
    height = _BAR * max(len(lines), 1) + 2 * _MARGIN
    texts = [text for line in lines for text in (_cut(line.name), line.note)]
    places = range(len(lines))

    def draw(axes: Axes) -> None:
        begins = [0] * len(lines)
        for part, tone in enumerate(tones):
            lengths = [line.parts[part] for line in lines]
            axes.barh(places, lengths, 0.62, begins, color=_TONES[tone], clip_on=False)
            begins = [begin + length for begin, length in zip(begins, lengths, strict=True)]
        axes.set(xlim=(0, max([*begins, 1])), ylim=(max(len(lines), 1) - 0.5, -0.5), xticks=[])
        axes.set_yticks(places, [_stand_in(2 * place) for place in places])
        for place, end in zip(places, begins, strict=True):
            axes.annotate(_stand_in(2 * place + 1), (end, place), (5, 0), textcoords="offset points",
                          va="center_baseline", fontsize=_TEXT, color=_INK, annotation_clip=False)  # fmt: skip

    return _drawn(draw, height, (_NAMES, _NOTES, _MARGIN, _MARGIN), texts)


def steps(values: Sequence[float], ticks: Sequence[tuple[float, str]], *, top: float, unit: str) -> Plot:
    """What happened over time: values in equal intervals, from 0 up to `top`.

    `ticks` are texts below the plot, by their place counted in intervals.
    """
    texts = [*(text for _, text in ticks), f"{top / 2:g}", f"{top:g}{unit}"]

    def draw(axes: Axes) -> None:
        axes.hlines([0, top / 2, top], 0, len(values), colors=_FAINT, linewidth=1, clip_on=False, zorder=0)
        axes.stairs(values, fill=True, color=_TONES["plain"], alpha=0.85, linewidth=0, clip_on=False)
        axes.set(xlim=(0, max(len(values), 1)), ylim=(0, top))
        axes.set_xticks([place for place, _ in ticks], [_stand_in(number) for number in range(len(ticks))])
        axes.set_yticks([top / 2, top], [_stand_in(len(ticks) + number) for number in range(2)])

    return _drawn(draw, _PACE_HEIGHT, (60, 30, 10, 24), texts)


def rounded_up(value: float) -> float:
    """The next number of few digits, as an axis' end; 1 for none."""
    if value <= 0:
        return 1.0
    whole, exponent = f"{value:.8e}".split("e")
    step = next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if float(whole) <= step)
    return float(f"{step}e{exponent}")


def _drawn(draw: Any, height: float, margins: tuple[float, float, float, float], texts: Sequence[str]) -> Plot:
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    left, right, above, below = margins
    # Neither what somebody has set nor the moment shows in the drawing.
    settings: list[Any] = ["default", {"svg.fonttype": "none", "svg.hashsalt": "turbobatch"}]
    file = io.StringIO()
    with _drawing, matplotlib.style.context(settings):
        figure: Figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        size = (WIDTH - left - right) / WIDTH, (height - above - below) / height
        axes = figure.add_axes((left / WIDTH, below / height, *size), frameon=False)
        axes.tick_params(length=0, pad=6, labelsize=_TEXT, labelcolor=_INK)
        draw(axes)
        figure.patch.set_visible(False)
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Plot(_content(file.getvalue()), tuple(texts), height)


def _content(svg: str) -> str:
    """What is inside matplotlib's element, without what a page has itself: styles, fonts, ids."""
    body = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r"font-family: [^;]*; ", "", body)
    body = re.sub(r"<g/>|<path d=\"[^\"]*\" style=\"fill: none\"/>", "", body)
    return re.sub(r"\s*\n\s*", " ", body).strip()


def _stand_in(number: int) -> str:
    return f"[{number}]"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _escaped(text: str) -> str:
    return html.escape(visible(text))
