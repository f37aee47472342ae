"""Segmentation.

`segmenter` is the way of a picture, `settings` all that decides a result, `query` the words, `pictures` the reading,
`prediction` the stages after the method.
"""
