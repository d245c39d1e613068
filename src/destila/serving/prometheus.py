"""What the server counts, in Prometheus' format. Labels are taken from fixed lists: no text of a user becomes one."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Measures:
    """The counters of one server, apart from any other in this process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("destila_requests_total", "Requests done.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "destila_request_seconds", "Time of a request.", ["path"], buckets=SECONDS, registry=registry
        )
        self.pairs = Counter("destila_questions_total", "Questions answered, one for each context.", registry=registry)
        self.model_seconds = Histogram(
            "destila_model_seconds", "Time of a run of the model.", buckets=SECONDS, registry=registry
        )
        self.batch_windows = Histogram(
            "destila_batch_windows", "Model inputs of a run.", buckets=ROWS, registry=registry
        )
        self.batch_tokens = Histogram(
            "destila_batch_tokens", "Tokens of a run, with its padding.", buckets=TOKENS, registry=registry
        )
        self.stages = Histogram(
            "destila_stage_seconds", "Time of a request in a stage.", ["stage"], buckets=SECONDS, registry=registry
        )
        self.open = Gauge("destila_open_requests", "Requests in the server.", registry=registry)
        self.waiting = Gauge("destila_waiting_windows", "Model inputs that wait.", registry=registry)
        self.restarts = Gauge("destila_model_restarts", "Starts of the model after it died.", registry=registry)

    def observe_batch(self, windows: int, tokens: int, seconds: float) -> None:
        """Count one run of the model."""
        self.model_seconds.observe(seconds)
        self.batch_windows.observe(windows)
        self.batch_tokens.observe(tokens)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Count what a request spent in a stage: "tokenize", "queue", "model" or "decode"."""
        self.stages.labels(stage).observe(seconds)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Ask for the length of the queue whenever the metrics are read."""
        self.waiting.set_function(waiting)

    def watch_restarts(self, restarts: Callable[[], int]) -> None:
        """Ask how often the model was started again whenever the metrics are read."""
        self.restarts.set_function(restarts)

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)
