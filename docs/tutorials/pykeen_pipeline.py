"""
pykeen_pipeline
====================

To come.
"""

print("to come")
