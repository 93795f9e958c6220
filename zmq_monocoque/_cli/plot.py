"""The pictures of ``bench``, drawn by matplotlib, which the extra ``bench`` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench import Figures

#: One colour an engine, told apart by the colour-blind too (Okabe and Ito).
COLOURS = {"zmq_monocoque": "#0072B2", "pyzmq": "#E69F00", "pyomq": "#009E73"}


def draw(results: list[list[Figures]], about: dict[str, Any], path: str) -> None:
    """Bars: what the first engine does is 1, the others' rate (or inverse round trip) beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    engines = list(about["engines"])
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.28 * len(engines) * len(results)))
    height = 0.8 / len(engines)
    for i, engine in enumerate(engines):
        for j, group in enumerate(results):
            ours, this = group[0], group[i]
            share, said = compare(ours, this)
            place = j - 0.4 + (i + 0.5) * height
            label = f"{engine} {about['engines'][engine]}" if j == 0 else None
            axes.barh(place, share, height, color=COLOURS.get(engine), label=label)
            axes.text(share, place, f" {said}", va="center", fontsize=7)
    axes.set_yticks(range(len(results)), [group[0].workload for group in results])
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("speed, zmq_monocoque = 1 (messages a second; round trips: 1 / p50)")
    axes.set_title(
        f"{about['machine']}; processors: {about['processors']}; {about['Python']}", fontsize=8
    )
    axes.legend(loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)


def compare(ours: Figures, this: Figures) -> tuple[float, str]:
    """The length of a bar, and what is written behind it."""
    if this.rate is None or ours.rate is None:
        return 0.0, f"failed: {this.error}"
    if this.p50 and ours.p50:
        return ours.p50 / this.p50, f"{this.p50 * 1e6:.0f} us"
    return this.rate / ours.rate, f"{this.rate:,.0f}/s"
