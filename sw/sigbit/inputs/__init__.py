"""What users name or have, loaded and checked: networks, integer models, accelerators, Programs,
samples, images, arrays, labels.

Every function raises :class:`~sigbit.errors.UserError`, or another exception written for people,
where something cannot be used.
"""
