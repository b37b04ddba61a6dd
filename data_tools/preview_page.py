"""The HTML page of a preview: it works from file://, and loads nothing but the clips beside it."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from data_tools.episode_view import EpisodeView
from mstv.data.schema import MAKER

HERE = Path(__file__).parent / "templates"
PIXELATED_BELOW = 200
"""Frames narrower than this many pixels are enlarged without smoothing, so that one sees their pixels."""


def render_page(
    views: Sequence[EpisodeView], source: str, num_episodes: int, sharded: bool, clips: str, sheet: str
) -> str:
    """The page.

    Args:
        views: the episodes, in the order shown.
        source: name of the set.
        num_episodes: of the whole set, or of the splits that are shown.
        sharded: whether its splits are settled.
        clips: folder of the clips, relative to the page.
        sheet: file of the contact sheet, relative to the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("preview.html.jinja").render(
        views=views,
        source=source,
        num_episodes=num_episodes,
        sharded=sharded,
        any_actions=any(view.actions is not None for view in views),
        clips=clips,
        sheet=sheet,
        pixelated_below=PIXELATED_BELOW,
        maker=MAKER,
        data=[view.page_data() for view in views],
        style=_text("preview.css"),
        script=_text("preview.js"),
    )


def _text(name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))
