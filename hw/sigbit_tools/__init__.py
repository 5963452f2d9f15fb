"""Below all other rooms: tool discovery, the cache of builds, and atomic file writes."""
