"""The charts of a mirror, as datasette-dashboards wants them told."""

from copy import deepcopy
from typing import Any

from semysync.mirror.reading.plots import FIGURES, PERCENTILES, PLOTS, Plot

COLOURS = ["#2c8c74", "#e2a03f", "#5f86c4", "#c4607a", "#98993f", "#8f73c4", "#4aa3a2", "#b0784a"]

LAYOUT = [
    ["verdict", "today", "waiting", "left"],
    ["hours", "hours", "days", "days"],
    ["delivery", "delivery", "failures", "failures"],
    ["battery", "battery", "activity", "activity"],
    ["plan", "plan", "queue", "queue"],
]

METRICS = {
    "verdict": ("State of the mirror", "verdict"),
    "today": ("Messages today (UTC)", "today"),
    "waiting": ("Drafts on their way", "waiting"),
    "left": ("Messages left in the plan", "messages_left"),
}

LINES = {"delivery", "battery", "plan"}

# The menu of a chart would offer an editor on another host.
OPTIONS = {
    "embedOptions": {
        "actions": {"export": True, "source": False, "compiled": False, "editor": False}
    }
}


def dashboard(database: str) -> dict[str, Any]:
    """Return the dashboard of a mirror."""
    charts: dict[str, Any] = {
        name: {
            "title": title,
            "db": database,
            "query": FIGURES.strip(),
            "library": "metric",
            "display": {"field": field},
        }
        for name, (title, field) in METRICS.items()
    }
    charts |= {plot.name: _chart(plot, database) for plot in PLOTS}
    return {
        "title": f"Charts of {database}",
        "description": "How the messages and the phones are doing. Days are those of UTC.",
        "layout": deepcopy(LAYOUT),
        "settings": {"autorefresh": 5},
        "charts": charts,
    }


def _chart(plot: Plot, database: str) -> dict[str, Any]:
    return {
        "title": plot.title,
        "db": database,
        "query": plot.sql.strip(),
        "library": "vega-lite",
        "display": {
            "height": 200,
            "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
            "mark": _mark(plot),
            "encoding": _encoding(plot),
            "config": {
                "background": "#00000000",
                "range": {"category": list(COLOURS)},
                "axis": {"grid": False, "labelColor": "#555", "titleColor": "#555"},
                "axisY": {"grid": True, "gridColor": "#eee"},
                "legend": {"title": None, "labelColor": "#555"},
            },
            "usermeta": deepcopy(OPTIONS),
        },
    }


def _mark(plot: Plot) -> dict[str, Any]:
    if plot.name in LINES:
        return {"type": "line", "tooltip": True, "point": True, "strokeWidth": 2}
    return {"type": "bar", "tooltip": True}


def _encoding(plot: Plot) -> dict[str, Any]:
    found = {"x": _along(plot), "y": _height(plot)}
    if plot.series:
        found["color"] = {"field": plot.series, "type": "nominal"} | _key(plot)
    else:
        found["color"] = {"value": COLOURS[0]}
    return found


def _along(plot: Plot) -> dict[str, Any]:
    """Return what is along the chart: a status, or a time."""
    if plot.x == "status":
        return {
            "field": plot.x,
            "type": "nominal",
            "title": None,
            "axis": {"labelAngle": 0},
            "sort": "-y",
        }
    is_by_day = plot.x == "day"
    clock = "" if is_by_day or plot.days > 7 else " %H:%M"
    along: dict[str, Any] = {
        "field": plot.x,
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc" if is_by_day else "time"} | _span(plot),
        "axis": {"format": f"%-d %b{clock}", "labelOverlap": True, "labelSeparation": 8},
    }
    if is_by_day:
        along["timeUnit"] = "utcyearmonthdate"
    elif plot.x == "hour":
        along["timeUnit"] = "yearmonthdatehours"
    return along


def _height(plot: Plot) -> dict[str, Any]:
    unit = f" ({plot.unit})" if plot.unit and plot.unit != "s" else ""
    title = f"{plot.y.replace('_', ' ')}{unit}"
    height: dict[str, Any] = {"field": plot.y, "type": "quantitative", "title": title}
    if plot.name == "delivery":
        height["scale"] = {"type": "sqrt"}
    elif plot.unit == "%":
        height["scale"] = {"domain": [0, 100]}
    if not plot.unit:  # a number of things
        height["axis"] = {"labelExpr": "datum.value % 1 ? '' : datum.label"}
    return height


def _key(plot: Plot) -> dict[str, Any]:
    """
    Return where the key to the colours is, and what is always in it.

    Below a chart it must not be empty: the library would make the chart endlessly high.
    """
    always = {"direction": ["received", "sent"], "percentile": list(PERCENTILES)}.get(
        plot.series or ""
    )
    if always is None:
        return {"legend": {"labelLimit": 100}}
    return {
        "sort": always,
        "scale": {"domain": {"unionWith": always}},
        "legend": {"orient": "bottom", "columns": 3},
    }


def _span(plot: Plot) -> dict[str, Any]:
    """Return how far a chart of a time reaches: over all of its days, also where little is in them."""
    step = 86_400_000 if plot.x == "day" else 3_600_000
    end = f"now() - now() % {step} + {step}"
    return {
        "domainMin": {"expr": f"{end} - {plot.days * 86_400_000}"},
        "domainMax": {"expr": end},
    }
