"""
own_sampler
====================

To come.
"""

print("to come")
