"""Images and videos in, expressions out: the centre of the run half, without PyTorch."""
