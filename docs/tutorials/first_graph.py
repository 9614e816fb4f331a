"""
Your first graph
================

From facts to answers.
"""

import sparring

predictor = sparring.fit("atlas", epochs=1, progress=False)
predictor
