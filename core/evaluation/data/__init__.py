"""The field's data sets as they lie on disk: `datasets` the layouts, `labels` the truth, `derive` what a data set lacks."""
