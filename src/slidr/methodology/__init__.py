"""Methodology: how a bundle filters clicks, described from what it holds, for auditors and for advertisers."""

from slidr.methodology.describing import View, describe

__all__ = ["View", "describe"]
