"""Answers over HTTP.

`batching` shares the model, `service` answers, `middleware` guards, `app` speaks HTTP, `page` is for people.
"""
