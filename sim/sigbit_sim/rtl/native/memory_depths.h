// What the simulated memory accepts before it makes the master wait.

#pragma once

#include <cstddef>

namespace sigbit {

constexpr size_t MAX_WRITES = 8, MAX_WRITE_BEATS = 16; // bursts, beats

} // namespace sigbit
