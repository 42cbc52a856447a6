"""Anyone's Hugging Face model folders: which files are read, what their two JSON files may say, and what it means."""
