"""Readers in other forms: ONNX, OpenVINO, quantized, and as a static web page; and `destila.export`, which writes them.

This package is the public function, too: `destila.export(model, output)` has to work however much of the package has
been imported, and Python puts an imported package in the place of any function of its name.
"""

import sys
from types import ModuleType
from typing import Any


class _Export(ModuleType):
    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """See `destila.export.export.export`."""
        from destila.export.export import export

        return export(*arguments, **keywords)


sys.modules[__name__].__class__ = _Export
