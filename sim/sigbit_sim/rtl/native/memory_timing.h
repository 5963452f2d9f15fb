// When a simulated memory moves data: the same for the memory behind the RTL and for the cycle model.

#pragma once

#include <cstddef>
#include <cstdint>

namespace sigbit {

constexpr size_t MAX_WRITES = 8, MAX_WRITE_BEATS = 16; // accepted before the master waits: bursts, beats
constexpr int64_t RUN_BEGINS = 4; // cycles from the harness's `begin` to the first of the run

struct MemoryTiming {
    uint32_t latency;                        // cycles from the address (or the last write beat) to the first answer
    uint32_t beats, cycles;                  // bandwidth in each direction: at most `beats` data beats in `cycles`
    uint32_t refresh_period, refresh_cycles; // of every so many cycles, the last so many move no data; 0: never

    // Whether no data move in cycle `since` from `begin` on.
    bool refreshes(int64_t since) const {
        return refresh_period && since % refresh_period >= refresh_period - refresh_cycles;
    }
};

class Bandwidth { // a token bucket that is never deeper than one beat
public:
    void refill(const MemoryTiming& t) {
        credit_ += t.beats;
        const uint32_t most = t.beats + t.cycles - 1;
        if (credit_ > most) credit_ = most;
    }
    bool take(const MemoryTiming& t) {
        if (credit_ < t.cycles) return false;
        credit_ -= t.cycles;
        return true;
    }

private:
    uint32_t credit_ = 0;
};

} // namespace sigbit
