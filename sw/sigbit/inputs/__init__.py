"""Loading and checking of users' inputs: networks, integer models, accelerators, Programs, samples,
images, arrays, labels.

Every function raises :class:`~sigbit.errors.UserError`, or another exception with a message for
users, for inputs that cannot be used.
"""
