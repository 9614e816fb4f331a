"""A local web application: see what a model believes, and correct it.

`app.create_app` makes the application from a `ServedModel`, `Reviews` and a `LabelIndex`. What
people decide is kept by `Reviews`, which needs the standard library only, so that training can read
it anywhere.
"""
