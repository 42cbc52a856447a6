"""Find faces in photos, and follow them through videos."""
