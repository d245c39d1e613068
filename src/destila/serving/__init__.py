"""Answers over HTTP.

`batching` shares the model, `service` answers, `gate` guards, `app` speaks HTTP, `page` is for people.
"""
