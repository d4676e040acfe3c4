"""Pictures of coresets. matplotlib is imported when a picture is drawn."""

from ._plotting.coreset_display import CoresetDisplay
from ._plotting.explanation_display import ExplanationDisplay
from ._plotting.history_display import HistoryDisplay

__all__ = ["CoresetDisplay", "ExplanationDisplay", "HistoryDisplay"]
