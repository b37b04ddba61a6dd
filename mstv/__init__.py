"""Multi-scale token video: long-consistent video world models with hierarchical tokens."""

__version__ = "0.1.0"
