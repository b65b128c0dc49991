"""A matplotlib backend whose show() hands each open figure to the thread as a PNG.

A figure that the cell has already saved to a file is not shown again: the file is. A script that a cell starts has
nowhere to show: there show() saves what it would show beside the script's other files, which the thread is shown.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
from typing import Any

from IPython import get_ipython
from IPython.display import Image, display
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


class FigureManager(FigureManagerBase):  # type: ignore[misc]
    """Shows by display event; there is no window."""

    @classmethod
    def pyplot_show(cls, *args: Any, **kwargs: Any) -> None:
        """What plt.show() does."""
        show_open_figures()

    def show(self) -> None:
        """What figure.show() does."""
        show_open_figures()


class FigureCanvas(FigureCanvasAgg):  # type: ignore[misc]
    """Remembers whether its figure went to a file."""

    manager_class = FigureManager
    went_to_file = False

    def print_figure(self, filename: Any, *args: Any, **kwargs: Any) -> Any:
        """Save the figure, noting a save to a path."""
        if isinstance(filename, str | os.PathLike):
            self.went_to_file = True
        return super().print_figure(filename, *args, **kwargs)


def show_open_figures() -> None:
    """Display every open figure that went to no file, and close all."""
    show = _save if get_ipython() is None else _display
    try:
        for manager in Gcf.get_all_fig_managers():
            canvas = manager.canvas
            if getattr(canvas, "went_to_file", False) or not canvas.figure.get_axes():
                continue
            buffer = io.BytesIO()
            canvas.figure.savefig(buffer, format="png", bbox_inches="tight")
            show(buffer.getvalue())
    finally:
        Gcf.destroy_all()


def _display(png: bytes) -> None:
    display(Image(png))


def _save(png: bytes) -> None:
    for number in itertools.count(1):
        name = f"figure-{number}.png"
        try:
            with open(name, "xb") as file:
                file.write(png)
        except FileExistsError:
            continue
        except OSError as error:  # as a folder that cannot be written to; the script goes on, as without a screen
            print(f"The figure could not be saved as {name}: {error}", file=sys.stderr)  # noqa: T201
        return
