"""The randomised test of image and video inputs: a seed becomes a file, sound or damaged, and a worker reads it."""
