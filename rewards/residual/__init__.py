"""The second exact scorer: distances between pictures and re-rendered right results.

It exists to disagree: an agent that has found a hole in `exact` meets other measures, other tolerances and
other code here. Shared with `exact` are the data (the fields of edits, targets, rules and turns; the words
and the list of all objects in scene.py), the renderer (`cell_pictures`, GROUND), the reward's weights, and
nothing else: no parser, no method of an edit, target or rule, no verdict. A test reads the imports and
attributes of this package to keep it so.
"""
