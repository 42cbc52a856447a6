"""Training on several data sets at once: their images, how often each is drawn, and the figures of each."""
