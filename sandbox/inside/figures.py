"""A matplotlib backend whose show() hands each open figure to the thread as a PNG.

A figure that the cell has already saved to a file is not shown again: the file is.
"""

from __future__ import annotations

import io
import os
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
    if get_ipython() is None:  # a script started from a cell: nowhere to show, as with Agg
        return
    try:
        for manager in Gcf.get_all_fig_managers():
            canvas = manager.canvas
            if getattr(canvas, "went_to_file", False) or not canvas.figure.get_axes():
                continue
            buffer = io.BytesIO()
            canvas.figure.savefig(buffer, format="png", bbox_inches="tight")
            display(Image(buffer.getvalue()))
    finally:
        Gcf.destroy_all()
