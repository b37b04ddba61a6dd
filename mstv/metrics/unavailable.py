"""What a metric raises when something that it needs is not installed or not given."""


class MetricUnavailable(Exception):
    """A metric needs public weights or an optional package that is absent; the message names it and the fix."""
