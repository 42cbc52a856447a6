"""Any data sets as one parquet file, with all that is known of their images; and that file read back."""
