"""Models that answer without torch: ONNX, OpenVINO, quantized, or in a web page."""
