"""
missing_facts
====================

To come.
"""

print("to come")
