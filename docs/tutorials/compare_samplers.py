"""
compare_samplers
====================

To come.
"""

print("to come")
