"""The page without a server: the settings of the one that tests make."""

import destila

WINDOW = {"length": 64, "stride": 16, "max_answer_tokens": 10}
METADATA = {"window": WINDOW, "no_answer_threshold": 0.5, "source": {"model": "/home/somebody/secret"}}


def make(output, **settings):
    return destila.export(output=output, **{"format": "web"} | settings)
