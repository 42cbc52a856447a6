"""How the faces of a video are followed from frame to frame, and how that goes on after an interruption."""
