"""What computes: ONNX Runtime and OpenVINO behind one `Session`."""
