"""Below all other rooms: tool discovery, the cache of builds, and files: written atomically, read
with limits."""
