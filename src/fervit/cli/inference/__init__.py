"""Commands of the run half: photos, videos, the webcam, the service."""
