"""One module for each form of a data set; `fervit.data.loading` chooses among them."""
